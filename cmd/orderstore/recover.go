package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

func recoverCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Bring back from the stream what a log that was restored to an older point has lost",
		Long: `Append to the log what the stream still holds after the log's end: the same events at the same positions, with the same digests, each checked
against the one before it. Orders, tasks, results, the registry and deadlines follow. Run it beside nodes that refuse to write, or on stopped ones. Interrupted
at any time, it goes on where it was when it is started again; with nothing to bring back it changes nothing. What is not in the log is not in the stream:
clients, subscriptions, idempotency keys and the audit trail stay as they were restored.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd.Context(), data, func(ctx context.Context, i *instance) error {
				return bringBack(ctx, i, cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the folder of a development instance, running or stopped; without it, the URLs come from the environment")
	return cmd
}

func bringBack(ctx context.Context, i *instance, out io.Writer) error {
	if i.nats == nil {
		return errors.New("name the broker with ORDERSTORE_NATS: what the log has lost is in its stream")
	}
	pool, err := postgres.Open(ctx, i.cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-recover", MaxConns: 2})
	if err != nil {
		return err
	}
	defer pool.Close()
	js, err := jetstream.New(i.nats)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	position, digest, err := command.End(ctx, pool)
	if err != nil {
		return err
	}
	tail, err := stream.OpenTail(ctx, js, position, digest)
	switch {
	case errors.Is(err, stream.ErrNoTail):
		return fmt.Errorf("%w, and the log ends at %d: restore a later backup of the log first", err, position)
	case errors.Is(err, stream.ErrDiverged):
		return fmt.Errorf("%w: the log was written to after it was restored, and cannot be joined with the stream; "+
			"restore the backup again and recover before any node writes", err)
	case err != nil:
		return err
	}
	if tail.Last() <= position {
		fmt.Fprintf(out, "nothing to bring back: the log ends at %d, the stream at %d\n", position, tail.Last())
		return nil
	}
	done, err := command.Recover(ctx, pool, tail, func(at int64) { fmt.Fprintf(out, "brought back to %d of %d\n", at, tail.Last()) })
	switch {
	case done == nil:
		return err
	case err != nil && done.To > done.From:
		return fmt.Errorf("brought back to %d of %d; the same command goes on from here: %w", done.To, tail.Last(), err)
	case err != nil:
		return err
	}
	fmt.Fprintf(out, "recovered  positions %d..%d, %d changes of orders; the log ends at %d with digest %x…, as the stream does\n",
		done.From+1, done.To, done.Orders, done.To, done.Digest[:6])
	return nil
}
