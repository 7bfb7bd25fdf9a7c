package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what the runner works with.
type Config struct {
	Pool *pgxpool.Pool // the auxiliary database
	// NewFollower opens a reader of the log for a system, or for those that go together, behind a position whose digest is given.
	NewFollower func(name string, after int64, digest [32]byte) Source
	Systems     []System
	// Busy tells whether others wait for this machine's processors; nil: nobody does.
	Busy func() bool
	// End gives the last position there is, to tell how far behind a system is; nil: that is not told.
	End     func(ctx context.Context) (int64, error)
	Logger  *slog.Logger
	Clock   func() time.Time
	Metrics prometheus.Registerer // nil: none
	Pace    Pace                  // zero fields mean the defaults
	// QuietTo is where a system that never ran starts to have outside effects. 0 is right unless the auxiliary database was
	// lost: then it is the log's position of that time, so that nobody is told twice.
	QuietTo int64
}

// Pace holds the runner's limits and waits.
type Pace struct {
	Batch       int           // events a transaction at most: 2,000
	Linger      time.Duration // after a batch that was not full, so that the next is worth its commit: 40 ms
	Retry       Backoff       // while the database is away: 100 ms to 5 s
	StoppedWait time.Duration // before a stopped system tries its event again: 30 s
	Senders     int           // effects made at a time: 4
	Rest        int           // after making effects, so many times what they took, while others wait for the machine: 0
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

// over gives the pace with what is not set taken from another.
func (p Pace) over(other Pace) Pace {
	for have, n := range map[*int]int{
		&p.Batch: other.Batch, &p.Senders: other.Senders, &p.InHand: other.InHand, &p.Attempts: other.Attempts,
		&p.Rest: other.Rest,
	} {
		if *have == 0 {
			*have = n
		}
	}
	p.InHand = max(p.InHand, p.Senders)
	for have, d := range map[*time.Duration]time.Duration{
		&p.Linger: other.Linger, &p.Retry.First: other.Retry.First, &p.Retry.Most: other.Retry.Most, &p.StoppedWait: other.StoppedWait,
		&p.Resend.First: other.Resend.First, &p.Resend.Most: other.Resend.Most, &p.TargetRetry.First: other.TargetRetry.First,
		&p.TargetRetry.Most: other.TargetRetry.Most, &p.Claim: other.Claim, &p.Look: other.Look,
	} {
		if *have == 0 {
			*have = d
		}
	}
	return p
}

func (p Pace) withDefaults() Pace {
	return p.over(Pace{
		Batch: 2000, Linger: 40 * time.Millisecond, Retry: Backoff{First: 100 * time.Millisecond, Most: 5 * time.Second},
		StoppedWait: 30 * time.Second, Senders: 4, InHand: 32, Attempts: 16, Resend: Backoff{First: time.Second, Most: time.Hour},
		TargetRetry: Backoff{First: time.Second, Most: 30 * time.Second}, Claim: time.Minute, Look: time.Second,
	})
}

const (
	// longestBreath bounds what a busy machine adds to how late a system is.
	longestBreath = time.Second
	// busyRest is how many times what it took a system leaves the machine to others, while they wait for it.
	busyRest = 4
)

// breath is how long to leave the machine to others after work that took so long. Where they wait for its processors orders come first,
// and a system makes up for it in larger batches and when they no longer do. One that has a backlog waits for nothing else.
func (c *Config) breath(took time.Duration, behind bool) time.Duration {
	switch {
	case c.Busy():
		return max(c.Pace.Linger, min(busyRest*took, longestBreath))
	case behind:
		return 0
	}
	return c.Pace.Linger
}

// Runner runs the systems: together where they stand at the same position, each by itself where they do not.
type Runner struct {
	cfg     Config
	metrics *metrics
	convoy  *convoy
	workers []*worker
	senders []*sender
	end     atomic.Int64 // the last position there is, as of a second ago; -1: not known
}

// New makes a runner. It touches nothing until Run.
func New(cfg Config) (*Runner, error) {
	var faults []error
	if cfg.Pool == nil || cfg.NewFollower == nil || cfg.Logger == nil || cfg.Clock == nil || len(cfg.Systems) == 0 {
		faults = append(faults, errors.New("pool, follower, logger, clock and a system are needed"))
	}
	cfg.Pace = cfg.Pace.withDefaults()
	if cfg.Busy == nil {
		cfg.Busy = func() bool { return false }
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		faults = append(faults, err)
	}
	names := map[string]bool{}
	r := &Runner{cfg: cfg, metrics: m, convoy: newConvoy(&cfg)}
	r.end.Store(-1)
	for _, system := range cfg.Systems {
		if names[system.Name()] {
			faults = append(faults, fmt.Errorf("two systems are called %q", system.Name()))
		}
		names[system.Name()] = true
		w := &worker{cfg: &cfg, system: system, metrics: m, convoy: r.convoy, needless: needless(system), wake: func() {}}
		w.state.Name = system.Name()
		if outward, ok := system.(Outward); ok {
			own := sendersOf(&cfg, outward, m)
			w.wake = func() {
				for _, s := range own {
					s.wake()
				}
			}
			w.waiting = func() Status { return waitingOf(own) }
			r.senders = append(r.senders, own...)
		}
		r.workers = append(r.workers, w)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("auxiliary systems: %w", err)
	}
	return r, nil
}

// sendersOf makes one sender, or one a channel.
func sendersOf(cfg *Config, system Outward, m *metrics) []*sender {
	laned, ok := system.(Laned)
	if !ok {
		return []*sender{newSender(cfg, system, "", m)}
	}
	var all []*sender
	for _, lane := range laned.Lanes() {
		own := *cfg
		own.Pace = lane.Pace.over(cfg.Pace)
		all = append(all, newSender(&own, system, lane.Channel, m))
	}
	return all
}

// waitingOf adds up what the senders of one system say.
func waitingOf(all []*sender) Status {
	var sum Status
	var away []string
	for _, s := range all {
		one := s.waiting()
		sum.Queued, sum.Dead = sum.Queued+one.Queued, sum.Dead+one.Dead
		if one.TargetAway != "" {
			away = append(away, one.TargetAway)
		}
	}
	slices.Sort(away)
	sum.TargetAway = strings.Join(away, "; ")
	return sum
}

// Name is the worker's name.
func (r *Runner) Name() string { return "auxiliary" }

// Run runs all systems until ctx ends, then waits for transactions and sendings under way.
func (r *Runner) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { r.convoy.run(ctx) })
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
	if r.cfg.End != nil {
		all.Go(func() { r.measure(ctx) })
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

// measure looks where the log ends.
func (r *Runner) measure(ctx context.Context) {
	for ctx.Err() == nil {
		if end, err := r.cfg.End(ctx); err == nil {
			r.end.Store(end)
			for _, s := range r.Status() {
				r.metrics.behind(s.Name, s.Lag)
			}
		}
		pause(ctx, r.cfg.Pace.Look)
	}
}

// Status is how one system is doing.
type Status struct {
	Name     string `json:"system"`
	Position int64  `json:"position"`          // the last event it has handled
	Lag      int64  `json:"lag"`               // events that there are and it has not handled, as of a second ago
	Paused   bool   `json:"paused,omitempty"`  // by a person: it handles nothing and makes no outside effects
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
		all[i].Lag = max(r.end.Load()-all[i].Position, 0)
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
