package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/telemetry"
	"github.com/orderstore/orderstore/internal/tlsfiles"
)

// devOptions are the flags of dev.
type devOptions struct {
	data   string
	http   string
	nats   string
	demo   bool
	exit   bool
	orders int

	auxiliary bool
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev --data DIR --http HOST:PORT",
		Short: "Run the whole system on stores of its own: a private Postgres, an embedded NATS, every role and the auxiliary systems",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return dev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", ".data", "folder for everything the instance stores")
	flags.StringVar(&o.http, "http", "127.0.0.1:8080", "address to serve on")
	flags.StringVar(&o.nats, "nats", "127.0.0.1:0", "address for parties that are told of events by NATS")
	flags.BoolVar(&o.demo, "demo", false, "push sample orders through and show what came of them, then go on serving")
	flags.BoolVar(&o.exit, "exit-after-demo", false, "with --demo: stop when it is over")
	flags.IntVar(&o.orders, "demo-orders", defaultDemoOrders, "with --demo: how many sample orders")
	flags.BoolVar(&o.auxiliary, "auxiliary", true, "run the auxiliary systems too; without them orderaux may be started beside it")
	return cmd
}

// dev runs a development instance until it is told to stop.
func dev(ctx context.Context, o devOptions, out io.Writer) error {
	env, err := readConfig()
	if err != nil {
		return err
	}
	if err := env.validateTLS(); err != nil {
		return err
	}
	log, err := devLogger(env)
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	listener, err := listen(ctx, "--http", o.http)
	if err != nil {
		return err
	}
	i, err := openInstance(ctx, o.data, o.nats, tlsfiles.Server(env.NATSServerTLS), log, forParties)
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer i.close()
	d := &development{options: o, env: env, instance: i, log: log, out: out}
	return d.run(ctx, listener)
}

// devLogger logs warnings in plain text, unless the environment says otherwise.
func devLogger(cfg config) (*slog.Logger, error) {
	return telemetry.NewLogger(telemetry.LogConfig{
		Format: cmp.Or(cfg.LogFormat, "text"), Level: cmp.Or(cfg.LogLevel, "warn"),
	}, os.Stderr)
}

func listen(ctx context.Context, setting, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, addressFault(setting, address, err)
	}
	return l, nil
}

type development struct {
	options  devOptions
	env      config
	instance *instance
	log      *slog.Logger
	out      io.Writer
	node     *node
	systems  *crew
}

func (d *development) run(ctx context.Context, listener net.Listener) error {
	cfg, err := d.config(listener)
	if err != nil {
		_ = listener.Close()
		return err
	}
	d.node, err = startNode(ctx, cfg, allRoles(), d.instance.nats, listener, d.log)
	if err != nil {
		return err
	}
	if err := d.ready(ctx, cfg); err != nil {
		d.stop(false)
		return err
	}
	err = d.live(ctx)
	d.stop(err == nil)
	return err
}

// config prepares the stores and says how the node reaches them.
func (d *development) config(listener net.Listener) (config, error) {
	cfg := d.env
	stores := d.instance.cfg
	cfg.PostgresWrite, cfg.PostgresRead, cfg.PostgresAuxiliary, cfg.NATS = stores.PostgresWrite, stores.PostgresRead, stores.PostgresAuxiliary, stores.NATS
	cfg.HTTP = listener.Addr().String()
	cfg.Metrics = "127.0.0.1:0"
	cfg.Issuer = cfg.scheme() + cfg.HTTP
	cfg.StreamReplicas = 1
	cfg.allowLoopback()
	ctx := context.Background()
	known, err := readCredentials(d.options.data)
	if err != nil {
		return cfg, err
	}
	pool, err := postgres.Open(ctx, cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-dev", MaxConns: 1})
	if err != nil {
		return cfg, err
	}
	defer pool.Close()
	if cfg.Logins, err = makeLogins(ctx, pool); err != nil {
		return cfg, err
	}
	return cfg, known.register(ctx, auth.NewStore(pool))
}

// ready starts the auxiliary systems and tells where everything is.
func (d *development) ready(ctx context.Context, cfg config) error {
	if d.options.auxiliary {
		if err := d.startSystems(ctx, cfg); err != nil {
			return err
		}
	}
	return d.tell(cfg)
}

func (d *development) startSystems(ctx context.Context, cfg config) error {
	hooks, err := cfg.webhookTargets()
	if err != nil {
		return err
	}
	pool, log, err := openSystems(ctx, cfg)
	if err != nil {
		return err
	}
	closeAll := func() {
		pool.Close()
		log.Close()
	}
	runner, err := auxiliary.Wire(auxiliary.Deps{
		Pool: pool, JS: d.node.js, Log: stream.NewLog(log).Behind(d.node.guard), Recent: &d.node.recent, Logger: d.log, Clock: time.Now, Metrics: d.node.registry,
		Mail: auxiliary.MailConfig{
			From: d.env.MailFrom, SMTPURL: d.env.SMTPURL, Dir: cmp.Or(d.env.MailDir, filepath.Join(d.options.data, "mail")),
		},
		Replenishment: auxiliary.ReplenishmentConfig{Every: cfg.ReplenishmentEvery, Raise: d.raise},
		Hooks:         hooks,
		Busy:          telemetry.NewPressure().Busy,
		Keys:          d.node.keys,
	})
	if err != nil {
		closeAll()
		return err
	}
	d.systems = start(ctx, d.node.failed, &closing{worker: runner, close: closeAll})
	return nil
}

// openSystems opens the auxiliary database for the systems, and the log for where the stream does not reach back.
func openSystems(ctx context.Context, cfg config) (systems, log *pgxpool.Pool, err error) {
	systems, err = cfg.openAs(ctx, componentAuxiliary, cfg.PostgresAuxiliary, postgres.PoolConfig{
		Name: "orderstore-systems", MaxConns: 6, AsyncCommit: true, All: true,
	})
	if err != nil {
		return nil, nil, err
	}
	log, err = cfg.openAs(ctx, componentAuxiliary, cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-systems-log", MaxConns: 2})
	if err != nil {
		systems.Close()
		return nil, nil, err
	}
	return systems, log, nil
}

// raise puts the event of a replenishment run into the log.
func (d *development) raise(ctx context.Context, tenant string, run *events.ReplenishmentRun) error {
	fact, err := command.RaiseReplenishment(tenant, run, "")
	if err != nil {
		return err
	}
	_, err = d.node.committer.Submit(ctx, fact, nil)
	return err
}

// tell writes where everything is.
func (d *development) tell(cfg config) error {
	e := endpoints{
		HTTP: cfg.scheme() + cfg.HTTP, Metrics: "http://" + d.node.metrics.Addr().String(), NATS: cfg.NATS,
		PostgresWrite: cfg.PostgresWrite, PostgresRead: cfg.PostgresRead, PostgresAuxiliary: cfg.PostgresAuxiliary,
	}
	if err := writeJSON(filepath.Join(d.options.data, endpointsFile), e); err != nil {
		return folderFault(d.options.data, err)
	}
	fmt.Fprintf(d.out, "orderstore serves %s\n  data, endpoints.json and credentials.json are in %s\n", e.HTTP, d.options.data)
	return nil
}

// closing closes a worker's pool once the worker has ended.
type closing struct {
	worker
	close func()
}

func (c *closing) Run(ctx context.Context) error {
	defer c.close()
	return c.worker.Run(ctx)
}

// live serves, and runs the demonstration first if it is asked for.
func (d *development) live(ctx context.Context) error {
	finished := make(chan error, 1)
	if d.options.demo {
		go func() { finished <- d.demonstrate(ctx) }()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.node.failed:
			return err
		case <-d.instance.cluster.Exited():
			return d.instance.cluster.Ended()
		case err := <-finished:
			if err != nil && ctx.Err() == nil {
				return err
			}
			if d.options.exit {
				return nil
			}
			finished = nil
		}
	}
}

// stop ends everything that stands on the stores; in good order, what was committed goes on to the stream and the views first.
func (d *development) stop(inOrder bool) {
	stopCrew(d.systems)
	d.node.stop(inOrder)
	if err := os.Remove(filepath.Join(d.options.data, endpointsFile)); err != nil && !os.IsNotExist(err) {
		d.log.Warn("endpoints.json is left behind", "cause", err)
	}
}
