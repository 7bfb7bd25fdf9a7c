// Package broadcast tells parties what happened: it copies the log to the stream and serves what parties subscribe to.
package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	relayBatch   = 1000                   // records read and published at once
	relayPoll    = 25 * time.Millisecond  // between looks at the log, when nobody wakes the relay
	relayHold    = 500 * time.Millisecond // for which a commit of this process may keep it from looking at the log
	relayRetry   = 250 * time.Millisecond // after trouble with broker or database
	relayHalted  = 5 * time.Second        // between looks at a stream that is not a copy of the log
	ackWithin    = 10 * time.Second       // for the broker to acknowledge a batch
	leaseEvery   = time.Second            // between tries for the lease
	raceAfter    = 3 * time.Second        // a stream that stands still for so long is raced for without the lease
	brokerAnswer = 5 * time.Second
)

// Nothing is published until an operator has looked.
var (
	// ErrNotACopy says that the stream holds what the log does not.
	ErrNotACopy = errors.New("the stream is not a copy of the log")
	// ErrTakesNothing says that the stream is configured so that nothing can be published, and that the broker does not change that.
	ErrTakesNothing = errors.New("the stream takes nothing")
)

// Log is what the relay reads.
type Log interface {
	Read(ctx context.Context, after int64, limit int) ([]stream.Record, error)
	Head(ctx context.Context) (position int64, digest [32]byte, err error)
	Digest(ctx context.Context, position int64) (digest [32]byte, ok bool, err error)
}

// Waker wakes the relay when the log has grown in this process.
type Waker interface{ Changed() <-chan struct{} }

// RelayConfig is what a relay works with.
type RelayConfig struct {
	NATS   *nats.Conn
	Pool   *pgxpool.Pool  // of the primary: the log and the lease
	Waker  Waker          // nil: the log is polled only
	Recent *stream.Recent // what this process has appended; nil: all is read from the log
	Gate   stream.Gate    // that what is read from the log has to pass before it is published; nil: none
	Limits stream.Limits
	Logger *slog.Logger
	// Registerer takes the relay's metrics; nil: nobody sees them.
	Registerer prometheus.Registerer
}

// Relay copies the log to the stream, in order, each position once. The broker itself refuses a hole or a duplicate, since each
// message names the sequence before it. Several relays may run: a lease lets one of them work, and races are safe.
type Relay struct {
	cfg       RelayConfig
	on        RelayParts
	log       Log // what may be published
	rows      Log // the same without the gate, to compare with
	js        jetstream.JetStream
	published *stream.Tip
	metrics   *metrics
	pace      pacing
	halted    atomic.Pointer[string]
	drift     atomic.Pointer[[]string]
	health    atomic.Pointer[string]
	looked    time.Time // when the log was last read
	dry       bool      // nothing was in it then
	flush     flush     // how the broker stores
	ahead     *ahead    // what is being read meanwhile
	suspect   int64     // a position that the scrubber found to differ; 0: none
	rebuilt   time.Time // when the stream was last made again

	unacknowledged unacknowledged
}

// NewRelay makes a relay. It does nothing until Run.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	js, err := jetstream.New(cfg.NATS)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	rows := stream.NewLog(cfg.Pool)
	return NewRelayOn(cfg, RelayParts{
		JS: js, Connection: natsConnection{cfg.NATS}, Log: rows.Behind(cfg.Gate), Rows: rows, Kept: rows.Kept,
		Lock: &advisory{pool: cfg.Pool, key: leaseKey},
	}), nil
}

// RelayParts are what a relay works on, in place of a NATS connection and a pool.
type RelayParts struct {
	JS         jetstream.JetStream
	Connection Connection
	Log        Log // what may be published
	Rows       Log // all, to compare with
	// Kept is the first position that a stream with these limits would keep at a time.
	Kept func(ctx context.Context, limits stream.Limits, now time.Time) (int64, error)
	Lock Lock // lets one of many relays work
}

// NewRelayOn makes a relay of its parts. Of the configuration, what the parts stand for is not looked at.
func NewRelayOn(cfg RelayConfig, on RelayParts) *Relay {
	r := &Relay{cfg: cfg, on: on, log: on.Log, rows: on.Rows, js: on.JS, published: &stream.Tip{}, pace: usualPacing()}
	r.metrics = newMetrics(r)
	return r
}

// Name names the worker.
func (r *Relay) Name() string { return "relay" }

// Published is how far the stream is, as this relay knows.
func (r *Relay) Published() *stream.Tip { return r.published }

// Halted says why nothing is published; empty while the relay works.
func (r *Relay) Halted() string {
	if why := r.halted.Load(); why != nil {
		return *why
	}
	return ""
}

// Drift are the settings of the stream that are not as wanted and that the broker does not change.
func (r *Relay) Drift() []string {
	if all := r.drift.Load(); all != nil {
		return *all
	}
	return nil
}

// Health says what comparing the stream with the log came to; empty before it has come to anything.
func (r *Relay) Health() string {
	if what := r.health.Load(); what != nil {
		return *what
	}
	return ""
}

func (r *Relay) setHealth(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	r.health.Store(&what)
}

// Run copies until ctx ends. Trouble is waited out. A stream that is damaged is made again from the log; one that holds what the log does
// not halts the relay until it no longer does.
func (r *Relay) Run(ctx context.Context) error {
	lease := &lease{lock: r.on.Lock}
	defer lease.release(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		if !r.mayWork(ctx, lease) {
			r.halted.Store(nil) // it is another relay's to say
			pause(ctx, leaseEvery)
			continue
		}
		err := r.wedged(r.copy(ctx, lease))
		if damage, ok := errors.AsType[*damageError](err); ok && ctx.Err() == nil {
			err = r.rebuild(ctx, lease, damage)
			if err == nil {
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
		case halts(err):
			r.halt(ctx, err)
			pause(ctx, relayHalted)
		case err != nil:
			r.cfg.Logger.WarnContext(ctx, "relay starts again", "published", r.published.Position(), "cause", err)
			pause(ctx, relayRetry)
		}
	}
	return nil
}

// wedged takes a stream that can be read and has acknowledged nothing for a while for damaged: a server whose block of messages is corrupt
// goes on like that for ever.
func (r *Relay) wedged(err error) error {
	at := r.published.Position()
	switch {
	case !errors.Is(err, errNoAck):
		if err == nil || at != r.unacknowledged.at {
			r.unacknowledged = unacknowledged{}
		}
		return err
	case at != r.unacknowledged.at || r.unacknowledged.since.IsZero():
		r.unacknowledged = unacknowledged{at: at, since: time.Now()}
		return err
	case time.Since(r.unacknowledged.since) < wedgedAfter:
		return err
	}
	r.unacknowledged = unacknowledged{}
	return &damageError{at: at, what: fmt.Sprintf("it has taken nothing for %s", wedgedAfter)}
}

// unacknowledged is where the stream ended when the broker did not acknowledge what was to follow, and since when that is so.
type unacknowledged struct {
	at    int64
	since time.Time
}

// wedgedAfter is how long a stream that answers reads may acknowledge nothing. A broker that is only slow has acknowledged something by then.
const wedgedAfter = 30 * time.Second

// halts says whether trying again at once is of no use.
func halts(err error) bool {
	_, damaged := errors.AsType[*damageError](err)
	return damaged || errors.Is(err, ErrNotACopy) || errors.Is(err, ErrTakesNothing)
}

func (r *Relay) halt(ctx context.Context, err error) {
	why := err.Error()
	if r.halted.Swap(&why) == nil {
		r.cfg.Logger.ErrorContext(ctx, "relay halted", "cause", err)
	}
}

// copy publishes from where the stream is until something goes wrong or the lease is lost.
func (r *Relay) copy(ctx context.Context, lease *lease) error {
	last, err := r.tail(ctx)
	if err != nil {
		return err
	}
	if known := r.published.Position(); known > 0 && seeded.On(seeded.RelayFromMemory) {
		last = known
	}
	r.halted.Store(nil)
	r.published.Set(last)
	out, err := newPublisher(r.on.Connection, &r.flush)
	if err != nil {
		return err
	}
	defer out.close()
	watch := r.watch(ctx, lease)
	defer watch.stop()
	defer r.forget()
	for ctx.Err() == nil {
		var changed <-chan struct{}
		if r.cfg.Waker != nil {
			changed = r.cfg.Waker.Changed()
		}
		records, err := r.next(ctx, last)
		if err != nil {
			return err
		}
		if err := out.publish(ctx, records); err != nil {
			if refused, ok := errors.AsType[*refusedError](err); ok {
				r.suspect = refused.position
			}
			return err
		}
		last += int64(len(records))
		r.published.Advance(last)
		if mine, err := watch.look(ctx, last); err != nil || !mine {
			return err
		}
		if len(records) == 0 {
			await(ctx, changed, relayPoll)
		}
	}
	return ctx.Err()
}

// next gives the records after a position: those that this process has just committed from memory, others from the log. While a
// commit of its own is on its way the log is left alone for a time: what is in it already, the committer is about to hand over.
func (r *Relay) next(ctx context.Context, last int64) ([]stream.Record, error) {
	if r.cfg.Recent != nil {
		if records := r.cfg.Recent.After(last, relayBatch); len(records) > 0 {
			return records, nil
		}
		if r.heldBack(time.Since(r.looked)) {
			return nil, nil
		}
	}
	r.looked = time.Now()
	records, err := r.read(ctx, last)
	r.dry = len(records) == 0
	return records, err
}

// heldBack says whether it is too early to look at the log again: after a look that found nothing, and while this process is about to
// hand over what it would find. Memory is looked at each time.
func (r *Relay) heldBack(since time.Duration) bool {
	return r.dry && since < relayPoll || r.cfg.Recent.Appending() && since < relayHold
}

// tail finds where the stream is, after making sure that its end is the log's row at that position.
func (r *Relay) tail(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	if err := r.Ensure(ctx); err != nil {
		return 0, err
	}
	bounds, err := stream.BoundsOf(ctx, r.js)
	if err != nil || bounds.Last == 0 {
		return 0, err
	}
	return bounds.Last, r.examine(ctx, bounds)
}

// Ensure makes the stream where there is none, beginning with the first position that its limits would keep, and mends its
// configuration. It returns ErrTakesNothing (test with errors.Is) where that cannot be mended and keeps all out.
func (r *Relay) Ensure(ctx context.Context) error {
	_, err := stream.EnsureFrom(ctx, r.js, r.cfg.Limits, func(ctx context.Context) (int64, error) {
		return r.on.Kept(ctx, r.cfg.Limits, time.Now())
	})
	if err != nil {
		return err
	}
	return r.mend(ctx)
}

// mend changes the stream's configuration back, and tells once of what it cannot.
func (r *Relay) mend(ctx context.Context) error {
	drift, err := stream.Mend(ctx, r.js, r.cfg.Limits)
	for _, d := range drift.Mended {
		r.metrics.mended.Inc()
		r.cfg.Logger.WarnContext(ctx, "the stream's configuration was changed back", "setting", d.Setting, "was", d.Have, "is", d.Want)
	}
	if err != nil {
		return err
	}
	left := make([]string, len(drift.Left))
	for i, d := range drift.Left {
		left[i] = d.String()
	}
	r.metrics.drift.Set(float64(len(left)))
	if before := r.drift.Swap(&left); len(left) > 0 && (before == nil || !slices.Equal(*before, left)) {
		r.cfg.Logger.ErrorContext(ctx, "the stream is not configured as wanted", "settings", left)
	}
	for _, d := range drift.Left {
		if d.Stops {
			return fmt.Errorf("%w: %s", ErrTakesNothing, d)
		}
	}
	return nil
}

func await(ctx context.Context, changed <-chan struct{}, atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func pause(ctx context.Context, d time.Duration) { await(ctx, nil, d) }
