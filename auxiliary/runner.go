package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what the runner works with.
type Config struct {
	Pool *pgxpool.Pool // the auxiliary database
	// NewFollower opens a reader of the log for a system, behind a position whose digest is given.
	NewFollower func(system string, after int64, digest [32]byte) Source
	Systems     []System
	Logger      *slog.Logger
	Clock       func() time.Time
	Metrics     prometheus.Registerer // nil: none
	Pace        Pace                  // zero fields mean the defaults
	// QuietTo is where a system that never ran starts to have outside effects. 0 is right unless the auxiliary database was
	// lost: then it is the log's position of that time, so that nobody is told twice.
	QuietTo int64
}

// Pace holds the runner's limits and waits.
type Pace struct {
	Batch       int           // events a transaction: 500
	Linger      time.Duration // after a batch that was not full, so that the next is worth its commit: 40 ms
	Retry       Backoff       // while the database is away: 100 ms to 5 s
	StoppedWait time.Duration // before a stopped system tries its event again: 30 s
	Senders     int           // effects made at a time: 4
	InHand      int           // effects claimed and not yet settled: 32; at least the senders
	Attempts    int           // after which an effect is parked: 16, which takes about five hours
	Resend      Backoff       // between attempts of one effect: 1 s to 1 h
	TargetRetry Backoff       // between attempts of any, while the target is away: 1 s to 30 s
	Claim       time.Duration // an effect in hand for longer is taken for lost with its sender: 1 min
	Look        time.Duration // between looks for effects that became due: 1 s
}

// Backoff doubles a wait from First to Most.
type Backoff struct{ First, Most time.Duration }

func (b Backoff) after(failures int) time.Duration {
	wait := b.First
	for range failures - 1 {
		if wait >= b.Most {
			break
		}
		wait *= 2
	}
	return min(wait, b.Most)
}

func (p Pace) withDefaults() Pace {
	or := func(have *time.Duration, d time.Duration) {
		if *have == 0 {
			*have = d
		}
	}
	for n, d := range map[*int]int{&p.Batch: 500, &p.Senders: 4, &p.InHand: 32, &p.Attempts: 16} {
		if *n == 0 {
			*n = d
		}
	}
	p.InHand = max(p.InHand, p.Senders)
	or(&p.Linger, 40*time.Millisecond)
	or(&p.Retry.First, 100*time.Millisecond)
	or(&p.Retry.Most, 5*time.Second)
	or(&p.StoppedWait, 30*time.Second)
	or(&p.Resend.First, time.Second)
	or(&p.Resend.Most, time.Hour)
	or(&p.TargetRetry.First, time.Second)
	or(&p.TargetRetry.Most, 30*time.Second)
	or(&p.Claim, time.Minute)
	or(&p.Look, time.Second)
	return p
}

// Runner runs the systems, each by itself.
type Runner struct {
	workers []*worker
	senders []*sender
}

// New makes a runner. It touches nothing until Run.
func New(cfg Config) (*Runner, error) {
	var faults []error
	if cfg.Pool == nil || cfg.NewFollower == nil || cfg.Logger == nil || cfg.Clock == nil || len(cfg.Systems) == 0 {
		faults = append(faults, errors.New("pool, follower, logger, clock and a system are needed"))
	}
	cfg.Pace = cfg.Pace.withDefaults()
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		faults = append(faults, err)
	}
	names := map[string]bool{}
	r := &Runner{}
	for _, system := range cfg.Systems {
		if names[system.Name()] {
			faults = append(faults, fmt.Errorf("two systems are called %q", system.Name()))
		}
		names[system.Name()] = true
		w := &worker{cfg: &cfg, system: system, metrics: m, wake: func() {}}
		w.state.Name = system.Name()
		if outward, ok := system.(Outward); ok {
			s := newSender(&cfg, outward, m)
			w.wake = s.wake
			w.waiting = s.waiting
			r.senders = append(r.senders, s)
		}
		r.workers = append(r.workers, w)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("auxiliary systems: %w", err)
	}
	return r, nil
}

// Name is the worker's name.
func (r *Runner) Name() string { return "auxiliary" }

// Run runs all systems until ctx ends, then waits for transactions and sendings under way.
func (r *Runner) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, w := range r.workers {
		all.Go(func() { w.run(ctx) })
	}
	for _, s := range r.senders {
		all.Go(func() { s.run(ctx) })
	}
	for _, w := range r.workers {
		if b, ok := w.system.(besides); ok {
			all.Go(func() { b.Beside(ctx) })
		}
	}
	all.Wait()
	var faults []error
	for _, w := range r.workers {
		if c, ok := w.system.(io.Closer); ok {
			faults = append(faults, c.Close())
		}
	}
	return errors.Join(faults...)
}

// Status is how one system is doing.
type Status struct {
	Name     string `json:"system"`
	Position int64  `json:"position"`          // the last event it has handled
	Stopped  string `json:"stopped,omitempty"` // why it stands at the event after that; it tries again by itself
	Waiting  string `json:"waiting,omitempty"` // what it waits for to come back: the database, another process
	Queued   int64  `json:"queued"`            // outside effects to be made, as of a second ago
	Dead     int64  `json:"dead"`              // outside effects given up
	// TargetAway is what the effects' target said, empty while it takes them.
	TargetAway string `json:"target_away,omitempty"`
}

// Status tells how each system is doing.
func (r *Runner) Status() []Status {
	all := make([]Status, len(r.workers))
	for i, w := range r.workers {
		all[i] = w.status()
	}
	return all
}

// Reached waits until a system has handled a position.
func (r *Runner) Reached(ctx context.Context, system string, position int64) error {
	for _, w := range r.workers {
		if w.system.Name() == system {
			return w.tip.Wait(ctx, position)
		}
	}
	return fmt.Errorf("no system is called %q", system)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
