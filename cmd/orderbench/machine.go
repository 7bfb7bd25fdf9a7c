package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// machine says what is measured, and on what.
func (t *target) machine(ctx context.Context) ([]report.Fact, error) {
	facts := []report.Fact{
		{Name: "processors", Value: fmt.Sprintf("%d, %s", runtime.NumCPU(), runtime.GOARCH)},
		{Name: "system", Value: runtime.GOOS},
	}
	for _, fact := range load.Host() {
		facts = append(facts, report.Fact{Name: fact[0], Value: fact[1]})
	}
	conn, err := pgx.Connect(ctx, t.at.PostgresWrite)
	if err != nil {
		return nil, fmt.Errorf("connect to the write database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var postgres string
	const settings = `SELECT current_setting('server_version') || ', fsync ' || current_setting('fsync') || ', full_page_writes ' ||
		current_setting('full_page_writes') || ', synchronous_commit ' || current_setting('synchronous_commit') ||
		', shared_buffers ' || current_setting('shared_buffers')`
	if err := conn.QueryRow(ctx, settings).Scan(&postgres); err != nil {
		return nil, fmt.Errorf("ask Postgres for its settings: %w", err)
	}
	nc, err := nats.Connect(t.at.NATS, nats.Name("orderbench"))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	defer nc.Close()
	return append(facts,
		report.Fact{Name: "orderstore", Value: version},
		report.Fact{Name: "Go", Value: runtime.Version()},
		report.Fact{Name: "Postgres", Value: postgres},
		report.Fact{Name: "NATS", Value: nc.ConnectedServerVersion()},
	), nil
}
