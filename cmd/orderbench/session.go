package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// session is what all modes have in common: where the instance is, and how often to measure.
type session struct {
	data     string
	start    bool
	repeat   int
	seed     uint64
	jsonFile string
	out      io.Writer
}

// runFlags are the flags of a mode that measures one thing.
func (s *session) runFlags(cmd *cobra.Command) {
	s.flags(cmd, 1)
	cmd.Flags().StringVar(&s.jsonFile, "json", "", "also write the runs to this file")
}

// flags are those of all modes.
func (s *session) flags(cmd *cobra.Command, repeat int) {
	flags := cmd.Flags()
	flags.StringVar(&s.data, "data", ".data", "folder of the running development instance to measure")
	flags.BoolVar(&s.start, "start", false, "start an instance of its own in a temporary folder, without auxiliary systems, instead of --data")
	flags.IntVar(&s.repeat, "repeat", repeat, "measure so many times, show each, and show the median")
	flags.Uint64Var(&s.seed, "seed", 1, "of the orders: the same seed makes the same orders")
}

// measurement measures a target once.
type measurement func(ctx context.Context, t *target) (*report.Run, error)

// execute measures as often as asked, on the instance asked for.
func (s *session) execute(cmd *cobra.Command, measure measurement) error {
	s.out = cmd.OutOrStdout()
	var runs []*report.Run
	err := s.with(cmd.Context(), func(ctx context.Context, t *target) error {
		var err error
		runs, err = s.repeated(ctx, t, measure)
		return err
	})
	if err != nil {
		return err
	}
	if s.jsonFile != "" {
		if err := writeJSON(s.jsonFile, runs); err != nil {
			return err
		}
	}
	return faults(runs)
}

// with gives the instance, and stops it afterwards if it was started here.
func (s *session) with(ctx context.Context, do func(context.Context, *target) error) error {
	dir := s.data
	if s.start {
		own, err := startInstance(ctx)
		if err != nil {
			return err
		}
		defer own.stop()
		dir = own.data
	}
	t, err := connect(ctx, dir)
	if err != nil {
		return err
	}
	return do(ctx, t)
}

func (s *session) repeated(ctx context.Context, t *target, measure measurement) ([]*report.Run, error) {
	runs := make([]*report.Run, 0, s.repeat)
	for range max(s.repeat, 1) {
		run, err := measure(ctx, t)
		if err != nil {
			return runs, err
		}
		run.Print(s.out)
		runs = append(runs, run)
	}
	if len(runs) > 1 {
		median := report.Median(runs)
		fmt.Fprintf(s.out, "median of %d: %.0f orders/s, p50 %.2f ms, p99 %.2f ms\n", len(runs), median.Rate, median.P50(), median.P99())
	}
	return runs, nil
}

// errFaulty says that something went wrong that a run must not have.
var errFaulty = errors.New("not everything that was submitted was stored and heard of; the reasons are above")

func faults(runs []*report.Run) error {
	for _, run := range runs {
		if run.Errors.Total() > 0 {
			return errFaulty
		}
		for _, n := range run.Faults {
			if n > 0 {
				return errFaulty
			}
		}
	}
	return nil
}

// settle ends a run: it waits until all is level, and takes what was used.
func (t *target) settle(ctx context.Context, run *report.Run, meter *load.Meter) error {
	level, err := t.level(ctx)
	if err != nil {
		return err
	}
	run.Level = level.Seconds()
	run.Usage, err = meter.Stop()
	return err
}

// metered gives a meter that begins anew when the warm-up is over, so that Phases.Measuring may be its restart.
type metered struct {
	t     *target
	meter *load.Meter
	err   error
}

func (t *target) metered() (*metered, error) {
	m := &metered{t: t}
	m.restart()
	return m, m.err
}

func (m *metered) restart() {
	if meter, err := load.StartMeter(m.t.service, m.t.postmaster); err != nil {
		m.err = err
	} else {
		m.meter = meter
	}
}

func (m *metered) settle(ctx context.Context, run *report.Run) error {
	if m.err != nil {
		return m.err
	}
	return m.t.settle(ctx, run, m.meter)
}

func writeJSON(path string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, append(content, '\n'), 0o644) //nolint:gosec // a report is for all to read
}

func seconds(d time.Duration) string { return d.Round(time.Millisecond).String() }
