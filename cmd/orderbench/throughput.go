package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// probeSlots is how many followed orders may be under way at once beside a closed loop.
const probeSlots = 64

type throughput struct {
	session
	connections   int
	tasks         bool
	probes        int
	warm, measure time.Duration
}

func throughputCommand() *cobra.Command {
	o := &throughput{}
	cmd := &cobra.Command{
		Use:   "throughput",
		Short: "How many single orders a second: many connections, each sends its next order when the last is answered",
		Long: `Submits single orders from a fixed number of connections (closed loop: each sends its next order when the one before is
answered), then waits until stream and views are level with the log. Beside them a few orders a second (--probes) are sent at a
fixed rate and followed: how long until a provider has heard of each and has pulled it, while the store is under full load.

With --tasks each order is offered to a provider: two events. Without, the orders are of a kind that nobody serves: one event.`,
		Example: "  orderbench throughput --start\n  orderbench throughput --data .data --connections 64 --tasks=false --repeat 3",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().IntVar(&o.connections, "connections", 256, "connections")
	cmd.Flags().BoolVar(&o.tasks, "tasks", true, "orders that one provider serves; --tasks=false: orders that nobody serves")
	cmd.Flags().IntVar(&o.probes, "probes", 20, "followed orders a second; 0: none")
	cmd.Flags().DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting")
	cmd.Flags().DurationVar(&o.measure, "for", 10*time.Second, "how long to count")
	return cmd
}

func (o *throughput) run(ctx context.Context, t *target) (*report.Run, error) {
	sender, err := t.sender(o.connections)
	if err != nil {
		return nil, err
	}
	kind, name, perOrder := "", "single orders with one task each", 2.0
	if !o.tasks {
		kind, name, perOrder = load.Unserved, "single orders without a task", 1
	}
	meter, err := t.metered()
	if err != nil {
		return nil, err
	}
	phases := load.Phases{Warm: o.warm, Measure: o.measure, Measuring: meter.restart}
	probing, err := o.probing(ctx, t, phases)
	if err != nil {
		return nil, err
	}
	mix := load.NewMix(o.seed, t.reference(), kind)
	got := load.Closed(ctx, o.connections, phases, &atomic.Int64{}, submissions(sender, mix))
	run := report.FromOutcome(fmt.Sprintf("%s, %d connections, %s", name, o.connections, seconds(got.Took)), got, "sent -> answer")
	run.Events = run.Rate * perOrder
	if err := meter.settle(ctx, run); err != nil {
		return nil, err
	}
	return run, probing(run)
}

// probing submits and follows orders beside the load. The returned function waits for them and adds them to the run.
func (o *throughput) probing(ctx context.Context, t *target, phases load.Phases) (func(*report.Run) error, error) {
	if o.probes == 0 {
		return func(*report.Run) error { return nil }, nil
	}
	f, err := t.follow(ctx)
	if err != nil {
		return nil, err
	}
	sender, err := t.sender(probeSlots)
	if err != nil {
		f.stop()
		return nil, err
	}
	phases.Measuring, phases.Start = nil, time.Now()
	var got *load.Outcome
	var sent sync.WaitGroup
	mix := load.NewMix(o.seed, t.reference(), load.Probes)
	sent.Go(func() {
		got = load.Open(ctx, o.probes, probeSlots, phases, &atomic.Int64{}, f.submissions(sender, mix, phases.Start.Add(phases.Warm)))
	})
	return func(run *report.Run) error {
		defer f.stop()
		sent.Wait()
		if err := f.arrived(ctx); err != nil {
			return err
		}
		run.Errors.Merge(got.Errors)
		run.Errors.Merge(got.WarmTally)
		histograms := newStages()
		histograms.add("due -> answer", got.Latency)
		f.measured(histograms)
		run.Stages = append(run.Stages, histograms.report("followed: ", 0)...)
		run.Faults = f.faults()
		return nil
	}, nil
}
