package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// openSlots is how many orders of an open loop may be under way at once. More wait, and their wait is counted.
const openSlots = 256

type latency struct {
	session
	rate          int
	warm, measure time.Duration
}

func latencyCommand() *cobra.Command {
	o := &latency{}
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "How long an order takes at a fixed rate: until it is answered, heard of, and pulled by its provider",
		Long: `Submits orders at a fixed rate (open loop: the next one does not wait for the one before) and follows each of them on
NATS and on the provider's event stream (SSE); the provider pulls each order at the announced position.

All times are taken from the moment at which an order was DUE to be sent, not from when it was: an order that had to wait because
the one before was slow counts its wait. So a stall is seen by all whom it would have kept waiting, and "coordinated omission" is
impossible (Gil Tene, "How NOT to Measure Latency"; the README of HdrHistogram).`,
		Example: "  orderbench latency --start --rate 300 --for 30s",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().IntVar(&o.rate, "rate", 300, "orders a second")
	cmd.Flags().DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting")
	cmd.Flags().DurationVar(&o.measure, "for", 20*time.Second, "how long to count")
	return cmd
}

func (o *latency) run(ctx context.Context, t *target) (*report.Run, error) {
	meter, err := t.metered()
	if err != nil {
		return nil, err
	}
	phases := load.Phases{Warm: o.warm, Measure: o.measure, Measuring: meter.restart}
	run, err := followed(ctx, t, o.rate, phases, load.NewMix(o.seed, t.reference(), load.Probes))
	if err != nil {
		return nil, err
	}
	run.Name = fmt.Sprintf("at %d orders/s for %s", o.rate, o.measure)
	return run, meter.settle(ctx, run)
}

// followed submits orders at a fixed rate and follows each.
func followed(ctx context.Context, t *target, rate int, phases load.Phases, mix *load.Mix) (*report.Run, error) {
	run, histograms, err := followedHistograms(ctx, t, rate, phases, mix)
	if err != nil {
		return nil, err
	}
	run.Stages = histograms.report("", 3)
	return run, nil
}

// followedHistograms does the same, and leaves the latencies for the caller to merge with others.
func followedHistograms(ctx context.Context, t *target, rate int, phases load.Phases, mix *load.Mix) (*report.Run, *stages, error) {
	if rate < 1 {
		return nil, nil, fmt.Errorf("a rate of %d: must be at least one order a second", rate)
	}
	f, err := t.follow(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer f.stop()
	sender, err := t.sender(openSlots)
	if err != nil {
		return nil, nil, err
	}
	phases.Start = time.Now()
	got := load.Open(ctx, rate, openSlots, phases, &atomic.Int64{}, f.submissions(sender, mix, phases.Start.Add(phases.Warm)))
	if err := f.arrived(ctx); err != nil {
		return nil, nil, err
	}
	run := report.FromOutcome("", got, "")
	run.Notes = append(run.Notes, fmt.Sprintf("%d of %d orders left more than 1 ms after they were due", got.Late, got.Done))
	histograms := newStages()
	histograms.add("due -> answer", got.Latency)
	f.measured(histograms)
	run.Faults = f.faults()
	return run, histograms, nil
}
