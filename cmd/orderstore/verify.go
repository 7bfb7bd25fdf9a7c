package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/projection"
)

// errDiffers says that verify found a difference, which it has printed.
var errDiffers = errors.New("log, stream and views differ")

// levelWithin is how long verify waits for a running system to copy what was in the log when it began.
const levelWithin = 10 * time.Second

func verifyCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that log, stream and views agree; exit status 1 on any difference",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd.Context(), data, func(ctx context.Context, i *instance) error {
				return verify(ctx, i, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the folder of a development instance, running or stopped; without it, the URLs come from the environment")
	return cmd
}

// verification compares the stores one after the other and prints what it finds.
type verification struct {
	i     *instance
	out   io.Writer
	write *pgxpool.Pool
	log   *stream.Log
	to    int64 // the log's end when verify began
	first string
}

func verify(ctx context.Context, i *instance, out io.Writer) error {
	v := &verification{i: i, out: out}
	var err error
	if v.write, err = postgres.Open(ctx, i.cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-verify", MaxConns: 4}); err != nil {
		return err
	}
	defer v.write.Close()
	v.log = stream.NewLog(v.write)
	for _, step := range []func(context.Context) error{v.verifyLog, v.verifyStream, v.verifyViews, v.verifyAuxiliary} {
		err := step(ctx)
		if err != nil && v.first == "" {
			return err
		}
		if err != nil { // nothing can be compared with a log that is broken
			fmt.Fprintln(out, "the rest was not looked at:", err)
			break
		}
	}
	if v.first != "" {
		fmt.Fprintf(out, "verify: DIFFERENT: %s\n", v.first)
		return errDiffers
	}
	fmt.Fprintln(out, "verify: log = stream = views")
	return nil
}

// found prints a stage's line and keeps the first difference.
func (v *verification) found(stage string, at int64, difference, format string, args ...any) {
	fmt.Fprintf(v.out, "%-10s %s\n", stage, fmt.Sprintf(format, args...))
	if difference == "" {
		return
	}
	fmt.Fprintf(v.out, "%-10s position %d: %s\n", "", at, difference)
	if v.first == "" {
		v.first = fmt.Sprintf("%s at position %d: %s", stage, at, difference)
	}
}

func (v *verification) verifyLog(ctx context.Context) error {
	r, err := command.Verify(ctx, v.write, func(int64) {})
	if err != nil {
		return err
	}
	v.to = r.Position
	v.found("log", r.At, r.Difference, "%d events at positions 1..%d, digest %x…; %d orders equal their fold", r.Events, r.Position, r.Digest[:6], r.Orders)
	return nil
}

// verifyStream gives a running relay time to copy what it is about to.
func (v *verification) verifyStream(ctx context.Context) error {
	if v.i.nats == nil {
		v.found("stream", 0, "", "not looked at: no NATS URL was given")
		return nil
	}
	js, err := jetstream.New(v.i.nats)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	if v.i.cluster == nil {
		v.level(ctx, func() (int64, error) {
			bounds, err := stream.BoundsOf(ctx, js)
			return bounds.Last, err
		})
	}
	r, err := broadcast.Verify(ctx, js, v.log, v.to, func(int64) {})
	if err != nil {
		return err
	}
	v.found("stream", r.At, r.Difference, "%d messages at sequences %d..%d, each the log's row", r.Messages, r.Bounds.First, r.Bounds.Last)
	return nil
}

// level waits, beside a running system, until a stage is where the log was.
func (v *verification) level(ctx context.Context, position func() (int64, error)) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	over := time.After(levelWithin)
	for {
		if at, err := position(); err != nil || at >= v.to {
			return // an error shows again, and is told, in the comparison
		}
		select {
		case <-ticker.C:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

const selectBehind = `SELECT coalesce(min(position), 0) FROM checkpoints WHERE stopped = ''`

// verifyViews compares every row of every view with a fresh fold of the log. A view that is behind a log that stands still, or
// that is stopped, differs.
func (v *verification) verifyViews(ctx context.Context) error {
	if v.i.cfg.PostgresRead == "" {
		v.found("views", 0, "", "not looked at: no URL was given")
		return nil
	}
	pool, err := postgres.Open(ctx, v.i.cfg.PostgresRead, postgres.PoolConfig{Name: "orderstore-verify", MaxConns: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	if v.i.cluster == nil {
		v.level(ctx, func() (at int64, err error) { return at, pool.QueryRow(ctx, selectBehind).Scan(&at) })
	}
	r, err := projection.Verify(ctx, pool, v.log, func(int64) {})
	if err != nil {
		return err
	}
	for i := range r.Views {
		view := &r.Views[i]
		at, difference := view.At, view.Difference
		switch {
		case difference != "":
		case view.Stopped != "":
			at, difference = view.Position+1, "the view is stopped: "+view.Stopped
		case view.Position < v.to:
			at, difference = view.Position+1, fmt.Sprintf("the view ends at %d, the log at %d", view.Position, v.to)
		}
		skipped := ""
		if view.Skipped > 0 {
			skipped = fmt.Sprintf(", without %d events that were skipped", view.Skipped)
		}
		v.found("view", at, difference, "%s at position %d: %d rows equal the fold%s", view.View, view.Position, view.Rows, skipped)
	}
	for _, a := range r.Audit {
		v.found("audit", 0, "", "%s %s %s %s at position %d: %s", a.At.UTC().Format(time.RFC3339), a.Who, a.Action, a.View, a.Position, a.Reason)
	}
	return nil
}

func (v *verification) verifyAuxiliary(ctx context.Context) error {
	if v.i.cfg.PostgresAuxiliary == "" {
		v.found("auxiliary", 0, "", "not looked at: no URL was given")
		return nil
	}
	pool, err := postgres.Open(ctx, v.i.cfg.PostgresAuxiliary, postgres.PoolConfig{Name: "orderstore-verify", MaxConns: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := v.keys(ctx)
	if err != nil {
		return err
	}
	r, err := auxiliary.Verify(ctx, pool, v.log, keys)
	if err != nil {
		return err
	}
	difference := ""
	if !r.Clean() {
		difference = fmt.Sprintf("%d differences, the first: %s", r.Differences, r.Details[0])
	}
	v.found("auxiliary", r.Position, difference, "%s at position %d: %d orders, %d notices, %d sent", r.System, r.Position, r.Orders, r.Notices, r.Sent)
	for _, system := range auxiliary.Folds() {
		r, err := auxiliary.VerifyFold(ctx, pool, v.log, system)
		if err != nil {
			return err
		}
		difference := ""
		if !r.Clean() {
			difference = fmt.Sprintf("%d differences, the first: %s", r.Differences, r.Details[0])
		}
		v.found("auxiliary", r.Position, difference, "%s at position %d: %d orders equal a fresh fold", r.System, r.Position, r.Orders)
	}
	return v.verifyStock(ctx, pool)
}

// keys tell whom the notices went to; nil where the operator has the master key and it was not given.
func (v *verification) keys(ctx context.Context) (*customerkeys.Keys, error) {
	keys, err := v.i.cfg.customerKeys(ctx, v.write, slog.New(slog.DiscardHandler))
	if errors.Is(err, customerkeys.ErrNoMaster) {
		return nil, nil
	}
	return keys, err
}

func (v *verification) verifyStock(ctx context.Context, pool *pgxpool.Pool) error {
	r, err := auxiliary.VerifyStock(ctx, pool, v.log)
	if err != nil {
		return err
	}
	difference := ""
	if !r.Clean() {
		difference = fmt.Sprintf("%d differences, the first: %s", r.Differences, r.Details[0])
	}
	v.found("auxiliary", r.Position, difference, "%s at position %d: %d items, %d open orders", auxiliary.StockName, r.Position, r.Items, r.Orders)
	return nil
}
