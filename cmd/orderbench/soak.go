package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

type soak struct {
	session
	requests    int64
	connections int
	tasks       bool
}

func soakCommand() *cobra.Command {
	o := &soak{}
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "A long run that counts every error with its status and reason",
		Long: `Submits so many single orders (closed loop), shows each error's status and reason with its number, and at the end
compares how many orders were answered with how many the database holds more than before. Nothing else may submit meanwhile.`,
		Example: "  orderbench soak --start --requests 10000000",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	cmd.Flags().Int64Var(&o.requests, "requests", 100_000, "requests in all")
	cmd.Flags().IntVar(&o.connections, "connections", 256, "connections")
	cmd.Flags().BoolVar(&o.tasks, "tasks", true, "orders that one provider serves; --tasks=false: orders that nobody serves")
	return cmd
}

// soakWithin bounds a run, so that a store that answers nothing does not hold it for ever.
const soakWithin = 12 * time.Hour

func (o *soak) run(ctx context.Context, t *target) (*report.Run, error) {
	before, err := t.stored(ctx)
	if err != nil {
		return nil, err
	}
	meter, err := t.metered()
	if err != nil {
		return nil, err
	}
	sender, err := t.sender(o.connections)
	if err != nil {
		return nil, err
	}
	kind, perOrder := "", 2.0
	if !o.tasks {
		kind, perOrder = load.Unserved, 1
	}
	numbers := o.progress(ctx)
	phases := load.Phases{Measure: soakWithin, Limit: o.requests}
	got := load.Closed(ctx, o.connections, phases, &numbers.count, submissions(sender, load.NewMix(o.seed, t.reference(), kind)))
	numbers.stop()
	run := report.FromOutcome(fmt.Sprintf("%d requests, %d connections, %s", got.Sent, o.connections, seconds(got.Took)), got, "sent -> answer")
	run.Events = run.Rate * perOrder
	if err := meter.settle(ctx, run); err != nil {
		return nil, err
	}
	after, err := t.stored(ctx)
	if err != nil {
		return nil, err
	}
	run.Faults = map[string]int64{"answered but not stored": max(got.Done-(after-before), 0)}
	run.Notes = append(run.Notes, fmt.Sprintf("%d of %d requests went wrong: %.5f %%; the store holds %d orders more",
		got.Errors.Total(), got.Sent, float64(got.Errors.Total())/float64(max(got.Sent, 1))*100, after-before))
	if len(got.Errors) > 0 {
		run.Notes = append(run.Notes, "reasons: "+strings.ReplaceAll(got.Errors.String(), ", ", "; "))
	}
	return run, nil
}
