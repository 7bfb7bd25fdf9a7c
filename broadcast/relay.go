// Package broadcast tells parties what happened: it copies the log to the stream and serves what parties subscribe to.
package broadcast

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// ErrNotACopy says that the stream holds what the log does not: nothing is published until an operator has looked.
var ErrNotACopy = errors.New("the stream is not a copy of the log")

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
}

// Relay copies the log to the stream, in order, each position once. The broker itself refuses a hole or a duplicate, since each
// message names the sequence before it. Several relays may run: a lease lets one of them work, and races are safe.
type Relay struct {
	cfg       RelayConfig
	log       Log
	js        jetstream.JetStream
	published *stream.Tip
	halted    atomic.Pointer[string]
	looked    time.Time // when the log was last read
	dry       bool      // nothing was in it then
}

// NewRelay makes a relay. It does nothing until Run.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	js, err := jetstream.New(cfg.NATS)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return &Relay{cfg: cfg, log: stream.NewLog(cfg.Pool).Behind(cfg.Gate), js: js, published: &stream.Tip{}}, nil
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

// Run copies until ctx ends. Trouble is waited out; a stream that is not a copy of the log halts the relay until it is one.
func (r *Relay) Run(ctx context.Context) error {
	lease := &lease{pool: r.cfg.Pool, key: leaseKey}
	defer lease.release(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		if !r.mayWork(ctx, lease) {
			pause(ctx, leaseEvery)
			continue
		}
		err := r.copy(ctx, lease)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, ErrNotACopy):
			r.halt(ctx, err)
			pause(ctx, relayHalted)
		case err != nil:
			r.cfg.Logger.WarnContext(ctx, "relay starts again", "published", r.published.Position(), "cause", err)
			pause(ctx, relayRetry)
		}
	}
	return nil
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
	r.halted.Store(nil)
	r.published.Set(last)
	out, err := newPublisher(r.cfg.NATS)
	if err != nil {
		return err
	}
	defer out.close()
	checked := time.Now()
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
			return err
		}
		last += int64(len(records))
		r.published.Advance(last)
		if time.Since(checked) > leaseEvery {
			checked = time.Now()
			if !lease.held(ctx) {
				return nil
			}
			if err := r.stillThere(ctx, last); err != nil {
				return err
			}
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
	records, err := r.log.Read(ctx, last, relayBatch)
	r.dry = len(records) == 0
	return records, err
}

// heldBack says whether it is too early to look at the log again: after a look that found nothing, and while this process is about to
// hand over what it would find. Memory is looked at each time.
func (r *Relay) heldBack(since time.Duration) bool {
	return r.dry && since < relayPoll || r.cfg.Recent.Appending() && since < relayHold
}

// stillThere checks that the stream ends where this relay left it: one that was lost is refilled without waiting for an event.
func (r *Relay) stillThere(ctx context.Context, last int64) error {
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	at, err := r.last(ctx)
	if err != nil {
		return err
	}
	if at != last {
		return fmt.Errorf("the stream ends at %d, it was at %d", at, last)
	}
	return nil
}

// tail finds where the stream is, after making sure that its end is the log's row at that position.
func (r *Relay) tail(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	if _, err := stream.Ensure(ctx, r.js, r.cfg.Limits); err != nil {
		return 0, err
	}
	bounds, err := stream.BoundsOf(ctx, r.js)
	if err != nil || bounds.Last == 0 {
		return 0, err
	}
	digest, ok, err := r.log.Digest(ctx, bounds.Last)
	if err != nil {
		return 0, err
	}
	if !ok {
		head, _, err := r.log.Head(ctx)
		if err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%w: it ends at %d, the log at %d", ErrNotACopy, bounds.Last, head)
	}
	copied, err := stream.Message(ctx, r.js, bounds.Last)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return bounds.Last, nil
	case err != nil && !errors.Is(err, stream.ErrDiverged):
		return 0, err
	case err != nil || copied.Digest != digest:
		return 0, fmt.Errorf("%w: position %d differs", ErrNotACopy, bounds.Last)
	}
	return bounds.Last, nil
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
