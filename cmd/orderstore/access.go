package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// startAccess lets parties in to NATS and keeps their consumers.
func (n *node) startAccess(ctx context.Context) error {
	if n.nats == nil || !n.has(roleBroadcast) {
		return nil
	}
	keys, err := calloutKeys(ctx, n.identity)
	if err != nil {
		return err
	}
	keeper, err := broadcast.NewConsumerKeeper(broadcast.ConsumerKeeperConfig{NATS: n.nats, Pool: n.subscribed, Logger: n.log})
	if err != nil {
		return err
	}
	n.access = start(ctx, n.failed, keeper, broadcast.NewNATSAccess(broadcast.NATSAccessConfig{
		NATS: n.nats, Keys: keys, Logins: n.issuer, Tokens: n.authn, Consumers: broadcast.NewSubscriptionStore(n.subscribed),
		Life: n.cfg.NATSLogin, Logger: n.log,
	}))
	return nil
}

// calloutKeys are the keys by which parties are let in to NATS, the same on every node.
func calloutKeys(ctx context.Context, write *pgxpool.Pool) (*stream.CalloutKeys, error) {
	signing, err := auth.Secret(ctx, write, "nats-callout-issuer")
	if err != nil {
		return nil, err
	}
	sealing, err := auth.Secret(ctx, write, "nats-callout-xkey")
	if err != nil {
		return nil, err
	}
	return stream.NewCalloutKeys(signing, sealing)
}

// callout is what a server has to know of the keys in a database.
func callout(ctx context.Context, url string) (*stream.Callout, error) {
	pool, err := postgres.Open(ctx, url, postgres.PoolConfig{Name: "orderstore-callout", MaxConns: 1})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	keys, err := calloutKeys(ctx, pool)
	if err != nil {
		return nil, err
	}
	public := keys.Public()
	return &public, nil
}

func natsConfigCommand() *cobra.Command {
	var data, user, password string
	cmd := &cobra.Command{
		Use:   "nats-config",
		Short: "Print what the configuration of a NATS server has to say so that parties can log in to it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tell := func(ctx context.Context, cfg config) error {
				public, err := callout(ctx, cfg.PostgresWrite)
				if err != nil {
					return fmt.Errorf("read the callout's keys (orderstore migrate makes their table): %w", err)
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), stream.Accounts(user, password, public))
				return err
			}
			if data != "" {
				return withInstance(cmd.Context(), data, func(ctx context.Context, i *instance) error { return tell(ctx, i.cfg) })
			}
			cfg, err := readConfig() // the server that is asked about need not run yet
			if err != nil {
				return err
			}
			if cfg.PostgresWrite == "" {
				return errors.New("name an instance with --data, or the primary with ORDERSTORE_POSTGRES_WRITE")
			}
			return tell(cmd.Context(), cfg)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the folder of a development instance; without it, the URLs come from the environment")
	cmd.Flags().StringVar(&user, "user", stream.OwnUser, "the user that ORDERSTORE_NATS names")
	cmd.Flags().StringVar(&password, "password", "$NATS_PASSWORD", "its password, a bcrypt hash of it, or a variable of the server's environment")
	return cmd
}
