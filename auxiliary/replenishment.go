package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	Every time.Duration // runs are at the multiples of it since 1970, so a day is midnight UTC; 0: never, but where a tenant says so
	Raise RaiseRun      // nil: there are no runs
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

	schedules []schedule // as they were at the last look
}

func (r *runs) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.logger.WarnContext(ctx, "the replenishment run is put off", "cause", err)
		}
		pause(ctx, max(min(r.soonest()/10, runLook), runPoll))
	}
}

// schedule is a tenant's own time between runs; 0: none.
type schedule struct {
	tenant string
	every  time.Duration
}

const selectSchedules = `SELECT tenant, every FROM replenishment_schedules ORDER BY tenant`

func readSchedules(ctx context.Context, from querier) ([]schedule, error) {
	rows, err := from.Query(ctx, selectSchedules)
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (schedule, error) {
		var s schedule
		var seconds int64
		err := row.Scan(&s.tenant, &seconds)
		s.every = time.Duration(seconds) * time.Second
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	return all, nil
}

// soonest is the shortest time between runs of anybody; as long as it takes to hear of a new schedule where there are none.
func (r *runs) soonest() time.Duration {
	soonest := 10 * runLook
	if r.Every > 0 {
		soonest = r.Every
	}
	for _, s := range r.schedules {
		if s.every > 0 {
			soonest = min(soonest, s.every)
		}
	}
	return soonest
}

// runID names the run that is due now; empty where there is none.
func (r *runs) runID(every time.Duration) string {
	if every == 0 {
		return ""
	}
	return r.now().UTC().Truncate(every).Format("20060102T150405Z")
}

// A tenant with a schedule of its own has the run that the schedule says, all others the installation's.
const selectDueRuns = `
SELECT s.tenant, count(DISTINCT s.vendor_id), count(*), d.run_id
FROM stock s
LEFT JOIN unnest($2::text[], $3::text[]) AS o (tenant, run_id) ON o.tenant = s.tenant
CROSS JOIN LATERAL (SELECT coalesce(o.run_id, $1) AS run_id) d
WHERE s.listed AND NOT s.discontinued AND s.on_hand - s.reserved + s.on_order <= s.reorder_level
    AND s.target_level > s.on_hand - s.reserved + s.on_order AND d.run_id <> ''
    AND NOT EXISTS (SELECT FROM replenishment_runs r WHERE r.tenant = s.tenant AND r.run_id = d.run_id)
GROUP BY s.tenant, d.run_id`

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
	var err error
	if r.schedules, err = readSchedules(ctx, r.pool); err != nil {
		return err
	}
	var tenants, ids []string
	for _, s := range r.schedules {
		tenants, ids = append(tenants, s.tenant), append(ids, r.runID(s.every))
	}
	if !slices.ContainsFunc(append(ids, r.runID(r.Every)), func(id string) bool { return id != "" }) {
		return nil // nobody has runs
	}
	position, err := r.level(ctx)
	if err != nil {
		return err
	}
	rows, err := r.pool.Query(ctx, selectDueRuns, r.runID(r.Every), tenants, ids)
	if err != nil {
		return fmt.Errorf("look for products to be bought: %w", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (dueRun, error) {
		d := dueRun{run: events.ReplenishmentRun{Position: position}}
		err := row.Scan(&d.tenant, &d.run.Vendors, &d.run.Lines, &d.run.RunID)
		return d, err
	})
	if err != nil {
		return fmt.Errorf("look for products to be bought: %w", err)
	}
	for i := range due {
		if err := r.Raise(ctx, due[i].tenant, &due[i].run); err != nil {
			return fmt.Errorf("raise replenishment of %s: %w", due[i].tenant, err)
		}
		if _, err := r.pool.Exec(ctx, insertRun, due[i].tenant, due[i].run.RunID, due[i].run.Lines, r.now().UTC()); err != nil {
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
