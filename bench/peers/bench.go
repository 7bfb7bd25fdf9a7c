package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// bench is what the peers are measured with.
type bench struct {
	connections int
	phases      load.Phases
	drain       time.Duration
	seed        uint64
	dir         string
	log         *slog.Logger
	cluster     *postgres.Cluster
}

// poolSize is how many connections a peer has to Postgres: more do not help two to eight cores.
const poolSize = 24

func (b *bench) pool(ctx context.Context, database, schema string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(b.cluster.URL(database))
	if err != nil {
		return nil, fmt.Errorf("parse url: %w", err)
	}
	cfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	if _, err := pool.Exec(ctx, schema); err != nil {
		pool.Close()
		return nil, fmt.Errorf("create schema: %w", err)
	}
	return pool, nil
}

// subject is the peers' only one, and the name of its stream.
const subject = "orders"

// broker starts an embedded NATS with a stream on files, as the store's own.
func (b *bench) broker(ctx context.Context, name string) (*nats.Conn, jetstream.JetStream, func(), error) {
	server, err := stream.StartServer(stream.ServerConfig{Dir: filepath.Join(b.dir, "nats-"+name), Log: b.log})
	if err != nil {
		return nil, nil, nil, err
	}
	nc, err := server.Connect(ctx)
	if err != nil {
		server.Shutdown()
		return nil, nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	stop := func() {
		nc.Close()
		server.Shutdown()
	}
	js, err := jetstream.New(nc)
	if err != nil {
		stop()
		return nil, nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: subject, Subjects: []string{subject}, Storage: jetstream.FileStorage})
	if err != nil {
		stop()
		return nil, nil, nil, fmt.Errorf("create stream: %w", err)
	}
	return nc, js, stop, nil
}

func (b *bench) mix() *load.Mix { return load.NewMix(b.seed, "peer", "") }

// mark travels with an order, so that who receives it can tell what is missing, what came twice, and what came out of order.
type mark struct {
	Number     int64 `json:"number"`
	Connection int   `json:"connection"`
	Sent       int64 `json:"sent"` // Unix time in ns
}

// envelope is what the peers store and send.
type envelope struct {
	Mark  mark            `json:"mark"`
	Order json.RawMessage `json:"order"`
}

// arrivals counts what arrived. Of the orders of one connection each was stored before the next was sent, so one that comes after a
// later one of its connection is out of order without any doubt.
type arrivals struct {
	mu         sync.Mutex
	from, to   time.Time
	seen       map[int64]bool
	last       map[int]int64
	inWindow   int64
	duplicates int64
	disordered int64
	latency    *load.Histogram
}

func newArrivals() *arrivals {
	return &arrivals{seen: map[int64]bool{}, last: map[int]int64{}, latency: load.NewHistogram()}
}

// begin says that the load begins now: what arrives between the end of its warm-up and its end is counted.
func (a *arrivals) begin(phases load.Phases) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.from = time.Now().Add(phases.Warm)
	a.to = a.from.Add(phases.Measure)
}

func (a *arrivals) note(m mark) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[m.Number] {
		a.duplicates++
		return
	}
	a.seen[m.Number] = true
	if m.Number < a.last[m.Connection] {
		a.disordered++
	}
	a.last[m.Connection] = max(a.last[m.Connection], m.Number)
	if now.After(a.from) && now.Before(a.to) {
		a.inWindow++
		a.latency.Record(now.Sub(time.Unix(0, m.Sent)))
	}
}

func (a *arrivals) count() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(len(a.seen))
}

// stored are the numbers of the orders that were answered.
type stored struct {
	mu      sync.Mutex
	numbers []int64
}

func (s *stored) add(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.numbers = append(s.numbers, n)
}

// missing is how many stored orders did not arrive.
func (a *arrivals) missing(s *stored) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var n int64
	for _, number := range s.numbers {
		if !a.seen[number] {
			n++
		}
	}
	return n
}

// conclude waits until all that was stored has arrived, or for b.drain, and makes a run of it. stage names what an arrival is.
func (b *bench) conclude(ctx context.Context, name string, got *load.Outcome, a *arrivals, s *stored, stage string) (*report.Run, error) {
	run := report.FromOutcome(name, got, "sent -> stored")
	ended := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for time.Since(ended) < b.drain && a.count() < int64(len(s.numbers)) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	late := a.missing(s)
	if late == 0 {
		run.Level = time.Since(ended).Seconds()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	run.Events = float64(a.inWindow) / b.phases.Measure.Seconds()
	run.Stages = append(run.Stages, report.Stage{Name: stage, Latency: a.latency.Summary()})
	run.Faults = map[string]int64{
		fmt.Sprintf("not arrived %s after the last answer", b.drain): late, "arrived twice": a.duplicates, "out of order": a.disordered,
	}
	return run, nil
}
