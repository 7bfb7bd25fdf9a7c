package broadcast

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	slotsInAll   = 16384 // attempts under way on one node; an endpoint has mostConcurrency of them at most
	readersInAll = 4     // looks into the read database at a time
	sessionRetry = 250 * time.Millisecond
	loadAtOnce   = 500 // subscriptions
)

// DispatcherConfig is what a dispatcher works with.
type DispatcherConfig struct {
	// Write is the primary. Its commits need not wait for the disk: what is lost in a crash is lost together with the position behind
	// it, so that it is delivered again.
	Write      *pgxpool.Pool
	Read       *pgxpool.Pool // the read database
	Live       *Live
	Sender     *webhook.Sender
	Schedule   webhook.Schedule      // the zero value: webhook.DefaultSchedule
	Circuit    webhook.CircuitConfig // likewise: five failures in a row, 30 s
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: nobody is shown the metrics

	DisableAfter time.Duration // of nothing but failures; 0: five days
	Retention    time.Duration // of recorded attempts; 0: seven days
	ParkedMost   int           // parked events of one subscription; beyond, it takes no more; 0: 10,000
	FlushEvery   time.Duration // between writes of what was done; 0: 100 ms
	LookEvery    time.Duration // between looks at which subscriptions there are; 0: 1 s
	Poll         time.Duration // between looks at the time of day while something is due by it; 0: 1 s
	StopWithin   time.Duration // for attempts under way, at a stop; 0: 5 s
	ReplayAgain  time.Duration // until replays that were passed over are looked for; 0: 5 s
}

const (
	defaultDisableAfter = 5 * 24 * time.Hour
	defaultRetention    = 7 * 24 * time.Hour
	defaultParked       = 10_000
	defaultFlush        = 100 * time.Millisecond
	defaultLook         = time.Second
	defaultStop         = 5 * time.Second
	circuitFailures     = 5
)

func (c *DispatcherConfig) setDefaults() {
	if len(c.Schedule.Delays) == 0 {
		c.Schedule = webhook.DefaultSchedule()
	}
	if c.Circuit.Failures == 0 {
		c.Circuit.Failures = circuitFailures
	}
	for _, d := range []struct {
		is *time.Duration
		by time.Duration
	}{
		{&c.DisableAfter, defaultDisableAfter},
		{&c.Retention, defaultRetention},
		{&c.FlushEvery, defaultFlush},
		{&c.LookEvery, defaultLook},
		{&c.Poll, time.Second},
		{&c.StopWithin, defaultStop},
		{&c.ReplayAgain, replayAgain},
	} {
		if *d.is <= 0 {
			*d.is = d.by
		}
	}
	if c.ParkedMost <= 0 {
		c.ParkedMost = defaultParked
	}
}

// Dispatcher delivers webhook subscriptions. Each node that runs one has a share of all subscriptions; a node's share goes to the others
// as soon as its connection to the primary ends.
type Dispatcher struct {
	cfg     DispatcherConfig
	live    *Live
	reader  *reader
	ledger  *ledger
	metrics *webhookMetrics
	slots   chan struct{}
	readers chan struct{}
	poked   chan struct{}

	stretches stretches
}

// NewDispatcher makes a dispatcher. It does nothing until Run.
func NewDispatcher(cfg DispatcherConfig) *Dispatcher {
	cfg.setDefaults()
	slots := make(chan struct{}, slotsInAll)
	return &Dispatcher{
		cfg: cfg, live: cfg.Live, reader: &reader{pool: cfg.Read, live: cfg.Live}, ledger: newLedger(),
		metrics: newWebhookMetrics(cfg.Registerer, slots), slots: slots, readers: make(chan struct{}, readersInAll), poked: make(chan struct{}, 1),
		stretches: stretches{reading: map[party]chan struct{}{}},
	}
}

// Name names the worker.
func (d *Dispatcher) Name() string { return "webhook dispatcher" }

// Changed says that subscriptions have changed, so that they are looked at now instead of a little later.
func (d *Dispatcher) Changed() {
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends; then attempts under way end, and what was done is stored. Without the primary nothing is delivered,
// since another node may hold this one's subscriptions: it goes on when the primary is back.
func (d *Dispatcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := d.deliver(ctx); err != nil && ctx.Err() == nil {
			d.cfg.Logger.WarnContext(ctx, "webhooks are delivered from the stored positions on", "cause", err)
			pause(ctx, sessionRetry)
		}
	}
	return nil
}
