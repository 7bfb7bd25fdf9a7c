package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/telemetry"
	"github.com/orderstore/orderstore/migrations"
)

const (
	brokerWithin = 30 * time.Second // for NATS to answer at the start; later it is waited for
	systemConns  = 8
	logConns     = 2 // the primary is others' to use
)

// component is the part of the system whose role the systems act as.
const component = "auxiliary"

// process is what is open while the systems run.
type process struct {
	log    *slog.Logger
	aux    *pgxpool.Pool
	write  *pgxpool.Pool // nil: the log is not read
	guard  *postgres.Guard
	broker *nats.Conn
	keys   *customerkeys.Keys // nil: customers stay sealed
	runner *auxiliary.Runner
	health *healthServer
}

// serve runs the systems until ctx ends, then lets them finish what they have in hand.
func serve(ctx context.Context, cfg config) error {
	log, err := telemetry.NewLogger(telemetry.LogConfig{Format: cfg.LogFormat, Level: cfg.LogLevel}, os.Stderr)
	if err != nil {
		return err
	}
	slog.SetDefault(log)
	if err := lowerPriority(cfg.Nice); err != nil {
		log.WarnContext(ctx, "the priority stays as it is (ORDERSTORE_NICE)", "cause", err)
	}
	p := &process{log: log}
	defer p.close()
	if err := p.open(ctx, cfg); err != nil {
		return err
	}
	log.InfoContext(ctx, "auxiliary systems run", "version", version, "metrics", p.health.addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhealthy := make(chan error, 1)
	go func() {
		unhealthy <- p.health.serve()
		cancel()
	}()
	err = p.run(ctx)
	p.health.close()
	if served := <-unhealthy; err == nil {
		err = served
	}
	log.InfoContext(ctx, "auxiliary systems stopped")
	return err
}

// run runs the systems, and beside them what watches the primary whose log they read.
func (p *process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	if p.guard != nil {
		watching.Go(func() { _ = p.guard.Run(ctx) }) // ends with ctx alone
	}
	if p.keys != nil {
		watching.Go(func() { _ = p.keys.Run(ctx) }) // the same
	}
	defer watching.Wait()
	defer cancel()
	return p.runner.Run(ctx)
}

func (p *process) open(ctx context.Context, cfg config) error {
	if err := postgres.Migrate(ctx, cfg.PostgresAuxiliary, migrations.Auxiliary, "auxiliary"); err != nil {
		return err
	}
	login, err := postgres.ParseLogin(cfg.Login)
	if err != nil {
		return err
	}
	// The outbox flushes the commits that must not be lost; all others are computed again from the log.
	p.aux, err = postgres.Open(ctx, cfg.PostgresAuxiliary, postgres.PoolConfig{
		Name: "orderaux", MaxConns: systemConns, AsyncCommit: true, Component: component, Login: login, All: true,
	})
	if err != nil {
		return fmt.Errorf("the auxiliary database does not answer (ORDERSTORE_POSTGRES_AUXILIARY): %w", err)
	}
	orderLog, err := p.openLog(ctx, cfg, login)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, brokerWithin)
	defer cancel()
	if p.broker, err = stream.Connect(within, cfg.NATS, "orderaux", cfg.NATSTLS.NATSOptions()...); err != nil {
		return fmt.Errorf("NATS does not answer (ORDERSTORE_NATS): %w", err)
	}
	js, err := jetstream.New(p.broker)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	replenishment, err := cfg.replenishment()
	if err != nil {
		return err
	}
	hooks, err := cfg.hooks()
	if err != nil {
		return err
	}
	registry := telemetry.NewRegistry()
	p.runner, err = auxiliary.Wire(auxiliary.Deps{
		Pool: p.aux, JS: js, Log: orderLog, Logger: p.log, Clock: time.Now, Metrics: registry,
		Mail: cfg.mail(), Replenishment: replenishment, Hooks: hooks, Keys: p.keys,
		Busy: telemetry.NewPressure().Busy,
	})
	if err != nil {
		return err
	}
	p.health, err = newHealthServer(ctx, cfg.Metrics, registry, p)
	return err
}

// openLog opens what the systems need of the primary, where it is given: the log, and the keys of customers. Without, the log is nil.
func (p *process) openLog(ctx context.Context, cfg config, login postgres.Login) (*stream.Log, error) {
	if cfg.PostgresWrite == "" {
		return nil, nil
	}
	var err error
	p.write, err = postgres.Open(ctx, cfg.PostgresWrite, postgres.PoolConfig{
		Name: "orderaux-log", MaxConns: logConns, Component: component, Login: login,
	})
	if err != nil {
		return nil, fmt.Errorf("the write database does not answer (ORDERSTORE_POSTGRES_WRITE): %w", err)
	}
	p.guard = postgres.NewGuard(postgres.GuardConfig{Pool: p.write, Logger: p.log})
	if err := p.guard.Look(ctx); err != nil && !errors.Is(err, postgres.ErrUnsafeSettings) {
		return nil, err
	}
	given, err := customerkeys.ReadMaster(cfg.MasterKey, cfg.MasterKeyFile)
	if err != nil {
		return nil, err
	}
	master, err := customerkeys.Establish(ctx, p.write, given)
	if err != nil {
		return nil, err
	}
	p.keys = customerkeys.New(customerkeys.Config{Pool: p.write, Master: master, Now: time.Now, Logger: p.log})
	return stream.NewLog(p.write).Behind(p.guard), nil
}

func (p *process) close() {
	if p.health != nil {
		p.health.close()
	}
	if p.broker != nil {
		p.broker.Close()
	}
	for _, pool := range []*pgxpool.Pool{p.write, p.aux} {
		if pool != nil {
			pool.Close()
		}
	}
}
