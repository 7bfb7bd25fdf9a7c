package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func throughputCommand() *cobra.Command {
	var data string
	t := &throughput{answered: newHistogram()}
	cmd := &cobra.Command{
		Use:   "throughput",
		Short: "Submit from many connections as fast as answers come, and measure the rate",
		Long: `Submits single orders from a fixed number of connections (closed loop: each sends its next order when the one before is
answered), then waits until stream and views have caught up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return t.run(cmd.Context(), data) },
	}
	cmd.Flags().StringVar(&data, "data", ".data", "folder of a running development instance")
	cmd.Flags().IntVar(&t.connections, "connections", 256, "connections")
	cmd.Flags().DurationVar(&t.duration, "for", 10*time.Second, "how long to submit")
	return cmd
}

type throughput struct {
	connections int
	duration    time.Duration
	parties     *parties
	next        atomic.Int64
	failures    atomic.Int64
	answered    *histogram
}

func (t *throughput) run(ctx context.Context, data string) error {
	var err error
	if t.parties, err = connect(ctx, data); err != nil {
		return err
	}
	began := time.Now()
	t.submitAll(ctx)
	took := time.Since(began)
	stored := t.next.Load() - t.failures.Load()
	caughtUp, err := t.level(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d connections for %s: %.0f orders/s, %d stored, %d failed\n",
		t.connections, took.Round(time.Millisecond), float64(stored)/took.Seconds(), stored, t.failures.Load())
	fmt.Println("submit -> answer ", t.answered)
	fmt.Printf("stream and views level with the log %s after the last answer\n", caughtUp.Round(time.Millisecond))
	if t.failures.Load() > 0 {
		return errors.New("not every order was stored")
	}
	return nil
}

func (t *throughput) submitAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, t.duration)
	defer cancel()
	made := newOrders()
	var workers sync.WaitGroup
	for range t.connections {
		workers.Go(func() {
			for ctx.Err() == nil {
				order := made.make(int(t.next.Add(1)))
				begin := time.Now()
				if _, err := t.parties.user.SubmitOrder(context.WithoutCancel(ctx), order); err != nil {
					t.failures.Add(1)
					continue
				}
				t.answered.record(time.Since(begin))
			}
		})
	}
	workers.Wait()
}

// level waits until all stages are where the log is.
func (t *throughput) level(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	for {
		lag, err := t.parties.operator.Lag(ctx)
		var problem *client.Problem
		if err != nil && (!errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable) {
			return 0, err
		}
		if err == nil && levelled(lag) {
			return time.Since(began), nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// levelled says whether stream and views are where the log is; auxiliary systems may lag.
func levelled(lag client.Lag) bool {
	behind := int64(0)
	if lag.Stream != nil {
		behind = lag.Stream.Lag
	}
	for _, view := range lag.Views {
		behind = max(behind, view.Lag)
	}
	return behind == 0
}
