package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/projection"
)

func skipCommand() *cobra.Command {
	var data, reason string
	cmd := &cobra.Command{
		Use:   "skip VIEW POSITION --reason TEXT",
		Short: "Let a view go past the event that it is stopped at; the audit keeps who and why",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			position, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || position < 1 {
				return fmt.Errorf("%q is no position", args[1])
			}
			r := projection.SkipRequest{View: args[0], Position: position, Who: operatorName(), Reason: reason, At: time.Now().UTC()}
			return withInstance(cmd.Context(), data, func(ctx context.Context, i *instance) error {
				if err := skip(ctx, i, r); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s goes past event %d; verify reports it\n", r.View, r.Position)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the folder of a development instance, running or stopped; without it, the URLs come from the environment")
	cmd.Flags().StringVar(&reason, "reason", "", "why; the audit keeps it")
	return cmd
}

func skip(ctx context.Context, i *instance, r projection.SkipRequest) error {
	if i.cfg.PostgresRead == "" {
		return errors.New("name the read database with ORDERSTORE_POSTGRES_READ")
	}
	pool, err := postgres.Open(ctx, i.cfg.PostgresRead, postgres.PoolConfig{Name: "orderstore-skip", MaxConns: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	return projection.Skip(ctx, pool, r)
}
