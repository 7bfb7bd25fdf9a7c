package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// RaiseRun puts replenishment.due into the log, once for each tenant and run id.
type RaiseRun func(ctx context.Context, tenant string, run *events.ReplenishmentRun) error

// ReplenishmentConfig says when it is looked for products to be bought.
type ReplenishmentConfig struct {
	Every time.Duration // runs are at the multiples of it since 1970, so a day is midnight UTC; 0: never
	Raise RaiseRun
}

// ShortestRun is the shortest time between runs.
const ShortestRun = time.Second

// Validate names what is missing or wrong.
func (c ReplenishmentConfig) Validate() error {
	switch {
	case c.Every != 0 && c.Every < ShortestRun:
		return fmt.Errorf("the time between runs must be at least %v", ShortestRun)
	case c.Every != 0 && c.Raise == nil:
		return errors.New("there is no way to raise an event")
	}
	return nil
}

const (
	runLook   = 20 * time.Second // between looks for a run that is due, at most
	runWithin = 30 * time.Second // for one look
	runPoll   = 100 * time.Millisecond
)

// runs raises an event for each tenant with products to be bought, once a run. What is to be bought is read at the event's dataref.
type runs struct {
	ReplenishmentConfig
	pool   *pgxpool.Pool
	js     jetstream.JetStream
	logger *slog.Logger
	now    func() time.Time
}

func (r *runs) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "the replenishment run is put off", "cause", err)
		}
		pause(ctx, max(min(r.Every/10, runLook), runPoll))
	}
}

const selectDueRuns = `
SELECT s.tenant, count(DISTINCT s.vendor_id), count(*)
FROM stock s
WHERE s.listed AND NOT s.discontinued AND s.on_hand - s.reserved + s.on_order <= s.reorder_level
    AND s.target_level > s.on_hand - s.reserved + s.on_order
    AND NOT EXISTS (SELECT FROM replenishment_runs r WHERE r.tenant = s.tenant AND r.run_id = $1)
GROUP BY s.tenant`

const insertRun = `
INSERT INTO replenishment_runs (tenant, run_id, lines, told_at) VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, run_id) DO NOTHING`

type dueRun struct {
	tenant string
	run    events.ReplenishmentRun
}

// look raises what the current run has to raise and has not. An event that is raised and not noted is raised again, under its id.
func (r *runs) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, runWithin)
	defer cancel()
	position, err := r.level(ctx)
	if err != nil {
		return err
	}
	id := r.now().UTC().Truncate(r.Every).Format("20060102T150405Z")
	rows, err := r.pool.Query(ctx, selectDueRuns, id)
	if err != nil {
		return fmt.Errorf("look for products to be bought: %w", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (dueRun, error) {
		d := dueRun{run: events.ReplenishmentRun{RunID: id, Position: position}}
		err := row.Scan(&d.tenant, &d.run.Vendors, &d.run.Lines)
		return d, err
	})
	if err != nil {
		return fmt.Errorf("look for products to be bought: %w", err)
	}
	for i := range due {
		if err := r.Raise(ctx, due[i].tenant, &due[i].run); err != nil {
			return fmt.Errorf("raise replenishment of %s: %w", due[i].tenant, err)
		}
		if _, err := r.pool.Exec(ctx, insertRun, due[i].tenant, id, due[i].run.Lines, r.now().UTC()); err != nil {
			return fmt.Errorf("note run: %w", err)
		}
	}
	return nil
}

// level waits until the stock is where the stream was: during a rebuild everything would seem to lack.
func (r *runs) level(ctx context.Context) (int64, error) {
	bounds, err := stream.BoundsOf(ctx, r.js)
	if err != nil {
		return 0, fmt.Errorf("end of the stream: %w", err)
	}
	for {
		cp, err := scanCheckpoint(r.pool.QueryRow(ctx, selectCheckpoint, StockName))
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return 0, err
		case err == nil && cp.position >= bounds.Last:
			return cp.position, nil
		}
		if pause(ctx, runPoll); ctx.Err() != nil {
			return 0, fmt.Errorf("the stock is at %d, the stream at %d", cp.position, bounds.Last)
		}
	}
}
