package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

type stall struct {
	session
	rate       int
	held, warm time.Duration
	cycles     int
}

func stallCommand() *cobra.Command {
	o := &stall{}
	cmd := &cobra.Command{
		Use:   "stall",
		Short: "Whether a foreign write transaction that stays open holds anything up",
		Long: `Submits orders at a fixed rate, as latency does, while another client's transaction that has written something in the
write database stays open. Compares the latencies inside with those just before and after. A store that orders its events by the
oldest running transaction (pg_snapshot_xmin, xmin horizon) stands still for as long as that transaction is open.`,
		Example: "  orderbench stall --start --held 5s",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().IntVar(&o.rate, "rate", 300, "orders a second")
	cmd.Flags().DurationVar(&o.held, "held", 5*time.Second, "how long the transaction stays open, and how long is measured without it")
	cmd.Flags().IntVar(&o.cycles, "cycles", 2, "how often it is opened")
	cmd.Flags().DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting")
	return cmd
}

func (o *stall) run(ctx context.Context, t *target) (_ *report.Run, err error) {
	other, err := openForeign(ctx, t.at.PostgresWrite)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, other.close(context.WithoutCancel(ctx))) }()
	outside, inside := newStages(), newStages()
	run := &report.Run{Name: fmt.Sprintf("at %d orders/s, a foreign transaction open for %s", o.rate, o.held), Errors: load.Tally{}, Faults: map[string]int64{}}
	for cycle := range o.cycles {
		warm := time.Duration(0)
		if cycle == 0 {
			warm = o.warm
		}
		if err := o.phase(ctx, t, run, outside, warm); err != nil {
			return nil, err
		}
		if err := other.hold(ctx, func() error { return o.phase(ctx, t, run, inside, 0) }); err != nil {
			return nil, err
		}
	}
	if err := o.phase(ctx, t, run, outside, 0); err != nil {
		return nil, err
	}
	run.Stages = append(outside.report("outside: ", 1), inside.report("inside: ", 1)...)
	run.Notes = compare(outside, inside)
	level, err := t.level(ctx)
	run.Level = level.Seconds()
	return run, err
}

// phase submits for as long as the transaction is held, and adds what was measured.
func (o *stall) phase(ctx context.Context, t *target, run *report.Run, to *stages, warm time.Duration) error {
	got, histograms, err := followedHistograms(ctx, t, o.rate, load.Phases{Warm: warm, Measure: o.held}, load.NewMix(o.seed, t.reference(), load.Probes))
	if err != nil {
		return err
	}
	run.Stored += got.Stored
	run.Rate = float64(o.rate)
	run.Errors.Merge(got.Errors)
	for name, n := range got.Faults {
		run.Faults[name] += n
	}
	to.merge(histograms)
	return nil
}

// stages are the histograms of several phases, by the stage's name and in its order.
type stages struct {
	names []string
	of    map[string]*load.Histogram
}

func newStages() *stages { return &stages{of: map[string]*load.Histogram{}} }

func (s *stages) add(name string, h *load.Histogram) {
	if s.of[name] == nil {
		s.names = append(s.names, name)
		s.of[name] = load.NewHistogram()
	}
	s.of[name].Merge(h)
}

func (s *stages) merge(other *stages) {
	for _, name := range other.names {
		s.add(name, other.of[name])
	}
}

// report lists the stages; those after the first few are left out of plots.
func (s *stages) report(prefix string, drawn int) []report.Stage {
	listed := make([]report.Stage, 0, len(s.names))
	for i, name := range s.names {
		listed = append(listed, report.Stage{Name: prefix + name, Latency: s.of[name].Summary(), Aside: i >= drawn})
	}
	return listed
}

// compare says by how much the 99th percentiles inside differ from those outside.
func compare(outside, inside *stages) []string {
	var notes []string
	for _, name := range outside.names {
		before, during := outside.of[name].Quantile(99), inside.of[name].Quantile(99)
		change := math.NaN()
		if before > 0 {
			change = (float64(during)/float64(before) - 1) * 100
		}
		notes = append(notes, fmt.Sprintf("p99 %s: %s outside, %s inside (%+.0f %%)", name, before, during, change))
	}
	return notes
}

// foreign is another client of the write database with a table of its own.
type foreign struct{ conn *pgx.Conn }

const (
	makeForeign = `CREATE SCHEMA IF NOT EXISTS orderbench; CREATE TABLE IF NOT EXISTS orderbench.foreign_writes (at timestamptz NOT NULL)`
	dropForeign = `DROP SCHEMA orderbench CASCADE`
	useForeign  = `INSERT INTO orderbench.foreign_writes VALUES (now())`
)

func openForeign(ctx context.Context, url string) (*foreign, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect to the write database: %w", err)
	}
	if _, err := conn.Exec(ctx, makeForeign); err != nil {
		return nil, errors.Join(fmt.Errorf("make a foreign table: %w", err), conn.Close(ctx))
	}
	return &foreign{conn}, nil
}

// hold keeps a transaction that has written open while something is done.
func (f *foreign) hold(ctx context.Context, do func() error) error {
	return pgx.BeginFunc(ctx, f.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, useForeign); err != nil {
			return fmt.Errorf("write in a foreign transaction: %w", err)
		}
		return do()
	})
}

func (f *foreign) close(ctx context.Context) error {
	_, err := f.conn.Exec(ctx, dropForeign)
	return errors.Join(err, f.conn.Close(ctx))
}
