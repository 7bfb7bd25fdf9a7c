package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/telemetry"
	"github.com/orderstore/orderstore/migrations"
)

func serveCommand() *cobra.Command {
	var names []string
	migrate := true
	cmd := &cobra.Command{
		Use:   "serve --roles ROLE,…",
		Short: "Serve some or all roles, with the URLs of databases and broker from the environment",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), names, migrate)
		},
	}
	cmd.Flags().StringSliceVar(&names, "roles", roleNames(), "what this process does")
	cmd.Flags().BoolVar(&migrate, "migrate", true, "bring the databases up to date first")
	return cmd
}

func roleNames() []string {
	var names []string
	for _, r := range allRoles() {
		names = append(names, string(r))
	}
	return names
}

func serve(ctx context.Context, names []string, migrate bool) error {
	roles, err := parseRoles(names)
	if err != nil {
		return err
	}
	cfg, err := readConfig()
	if err != nil {
		return err
	}
	if err := cfg.validate(roles); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(telemetry.LogConfig{Format: cfg.LogFormat, Level: cfg.LogLevel}, os.Stderr)
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	if migrate {
		if err := migrateAll(ctx, cfg); err != nil {
			return err
		}
	}
	nc, err := connectBroker(ctx, cfg)
	if err != nil {
		return err
	}
	if nc != nil {
		defer nc.Close()
	}
	listener, err := listen(ctx, "ORDERSTORE_HTTP", cfg.HTTP)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, cfg, roles, nc, listener, log)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "serving", "roles", names, "address", n.address())
	return n.wait(ctx)
}

// wait serves until the process is told to stop, or a part of it ends by itself.
func (n *node) wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
		n.log.InfoContext(ctx, "stopping")
	case err = <-n.failed:
		n.log.ErrorContext(ctx, "stopping, a part has ended", "cause", err)
	}
	n.stop(err == nil)
	return err
}

func connectBroker(ctx context.Context, cfg config) (*nats.Conn, error) {
	if cfg.NATS == "" {
		return nil, nil
	}
	nc, err := stream.Connect(ctx, cfg.NATS, "orderstore", cfg.NATSTLS.NATSOptions()...)
	if err != nil {
		return nil, fmt.Errorf("NATS does not answer (ORDERSTORE_NATS): %w", err)
	}
	return nc, nil
}

func migrateCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the databases up to date",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInstance(cmd.Context(), data, func(ctx context.Context, i *instance) error {
				if err := migrateAll(ctx, i.cfg); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the databases are up to date")
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "the folder of a development instance; without it, the URLs come from the environment")
	return cmd
}

// migrateAll migrates the databases that are named.
func migrateAll(ctx context.Context, cfg config) error {
	for _, db := range databases(cfg) {
		if db.url == "" {
			continue
		}
		if err := postgres.Migrate(ctx, db.url, db.files, db.name); err != nil {
			return err
		}
	}
	return nil
}

type database struct {
	name  string
	url   string
	files migrationFiles
}

func databases(cfg config) []database {
	return []database{
		{"write", cfg.PostgresWrite, migrations.Write},
		{"read", cfg.PostgresRead, migrations.Read},
		{"auxiliary", cfg.PostgresAuxiliary, migrations.Auxiliary},
	}
}

// addressFault says in one sentence why an address cannot be listened on.
func addressFault(setting, address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the address %s is taken by another program: stop it, or choose another with %s", address, setting)
	}
	return fmt.Errorf("cannot listen on %s, see %s: %w", address, setting, err)
}

// stopTimeout bounds how long Postgres and NATS may take to stop.
const stopTimeout = 60 * time.Second
