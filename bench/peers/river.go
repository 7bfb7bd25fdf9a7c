package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/orderstore/orderstore/bench/report"
)

const riverSchema = `CREATE TABLE orders (external_ref text PRIMARY KEY, body jsonb NOT NULL)`

const (
	riverWorkers  = 1_000
	riverCooldown = 2 * time.Millisecond
)

// placed is the job of one order.
type placed struct {
	Mark  mark            `json:"mark"`
	Order json.RawMessage `json:"order"`
}

// Kind is the job's name.
func (placed) Kind() string { return "placed" }

// hears notes each job that it works on, and has nothing else to do.
type hears struct {
	river.WorkerDefaults[placed]
	arrivals *arrivals
}

// Work does one job.
func (w *hears) Work(_ context.Context, job *river.Job[placed]) error {
	w.arrivals.note(job.Args.Mark)
	return nil
}

// riverJobs inserts a job in the order's transaction and lets River work on it. There is neither HTTP nor a broker nor a view.
func riverJobs(ctx context.Context, b *bench) (*report.Run, error) {
	pool, err := b.pool(ctx, "river", riverSchema)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	worker := &hears{arrivals: newArrivals()}
	client, err := startRiver(ctx, pool, worker)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.StopAndCancel(context.WithoutCancel(ctx)) }()
	worker.arrivals.begin(b.phases)
	var done stored
	got := b.transactions(ctx, &done, func(ctx context.Context, m mark, body []byte) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO orders VALUES ($1, $2)`, fmt.Sprint(m.Number), body); err != nil {
				return fmt.Errorf("insert order: %w", err)
			}
			_, err := client.InsertTx(ctx, tx, placed{m, body}, nil)
			return err
		})
	})
	run, err := b.conclude(ctx, fmt.Sprintf("River, neither HTTP nor a view, %d connections", b.connections), got, worker.arrivals, &done, "sent -> worked on")
	if err != nil {
		return nil, err
	}
	run.Notes = append(run.Notes, "River promises no order of its jobs")
	return run, nil
}

func startRiver(ctx context.Context, pool *pgxpool.Pool, worker *hears) (*river.Client[pgx.Tx], error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return nil, fmt.Errorf("make migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("create River's schema: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
		FetchCooldown: riverCooldown, Workers: workers, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return client, client.Start(ctx)
}
