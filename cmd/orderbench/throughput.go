package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
)

func throughputCommand() *cobra.Command {
	o := &throughputOptions{}
	cmd := &cobra.Command{
		Use:   "throughput",
		Short: "Submit from many connections as fast as answers come, and measure the rate",
		Long: `Submits single orders from a fixed number of connections (closed loop: each sends its next order when the one before is
answered), then waits until stream and views have caught up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return throughput(cmd.Context(), o, cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&o.data, "data", ".data", "folder of a running development instance")
	cmd.Flags().IntVar(&o.connections, "connections", 256, "connections")
	cmd.Flags().BoolVar(&o.tasks, "tasks", true, "orders that one provider serves, in two events; false: orders that nobody serves, in one")
	cmd.Flags().DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting")
	cmd.Flags().DurationVar(&o.measure, "for", 10*time.Second, "how long to count")
	cmd.Flags().Uint64Var(&o.seed, "seed", 1, "of the orders; the same seed makes the same orders")
	return cmd
}

type throughputOptions struct {
	data          string
	connections   int
	tasks         bool
	warm, measure time.Duration
	seed          uint64
}

func throughput(ctx context.Context, o *throughputOptions, out io.Writer) error {
	t, err := connect(ctx, o.data)
	if err != nil {
		return err
	}
	sender, err := t.sender(o.connections)
	if err != nil {
		return err
	}
	kind := ""
	if !o.tasks {
		kind = load.Unserved
	}
	var numbers atomic.Int64
	got := load.Closed(ctx, o.connections, load.Phases{Warm: o.warm, Measure: o.measure}, &numbers, submissions(sender, load.NewMix(o.seed, t.run, kind)))
	lag, err := t.level(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d connections for %s: %.0f orders/s, %d stored, errors: %s\n", o.connections, got.Took.Round(time.Millisecond), got.Rate(), got.Done, got.Errors)
	fmt.Fprintln(out, "submit -> answer ", got.Latency.Summary())
	fmt.Fprintf(out, "stream and views level with the log %s after the last answer\n", lag.Round(time.Millisecond))
	if got.Errors.Total() > 0 {
		return errors.New("not every order was stored")
	}
	return nil
}
