package broadcast

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

// pacing is how fast the scrubber reads, and how often the rest is looked at.
type pacing struct {
	recent int64         // messages at the end that are compared at once at the start
	batch  int64         // messages compared between pauses
	idle   time.Duration // pause while the relay has nothing to do
	busy   time.Duration // the same while it has: it published more than a batch meanwhile
	every  time.Duration // from the begin of one look through the whole stream to the next

	look    time.Duration // between looks at the stream's configuration and its front
	rebuild time.Duration // at most so often: whoever writes to the stream beside the relay would have it made again all the time
}

// 2,000 messages/s, 200 under load: a million in eight minutes.
func usualPacing() pacing {
	return pacing{
		recent: 10_000, batch: 500, idle: 250 * time.Millisecond, busy: 2500 * time.Millisecond, every: 10 * time.Minute,
		look: time.Minute, rebuild: time.Minute,
	}
}

// scrubber compares the stream with the log, message by message, slowly and for ever: a look at the last sequence does not see a hole in
// the middle, or bytes that have changed on disk. It runs beside the relay that holds the lease.
type scrubber struct {
	js        jetstream.JetStream
	rows      Log
	published *stream.Tip
	pace      pacing
	metrics   *metrics
	logger    *slog.Logger
	found     chan<- int64 // takes one position that differs
	passed    func(to int64)
}

// run compares until ctx ends or a difference was found.
func (s *scrubber) run(ctx context.Context) {
	last := s.published.Position()
	ok := s.pass(ctx, last-s.pace.recent, last, func() {})
	for ok && ctx.Err() == nil {
		began := time.Now()
		to := s.published.Position()
		if ok = s.pass(ctx, 0, to, func() { s.rest(ctx) }); ok && ctx.Err() == nil {
			s.metrics.passes.Inc()
			s.passed(to)
			pause(ctx, time.Until(began.Add(s.pace.every)))
		}
	}
}

// rest keeps out of the relay's way.
func (s *scrubber) rest(ctx context.Context) {
	before := s.published.Position()
	pause(ctx, s.pace.idle)
	if s.published.Position()-before > s.pace.batch {
		pause(ctx, s.pace.busy-s.pace.idle)
	}
}

// pass compares what comes after a position, up to another one. It says false once it has found a difference.
func (s *scrubber) pass(ctx context.Context, after, to int64, rest func()) bool {
	for after < to && ctx.Err() == nil {
		at, err := s.stretch(ctx, max(after, 0), to, rest)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errDiffers):
			s.logger.ErrorContext(ctx, "the stream differs from the log", "position", at+1, "cause", err)
			s.metrics.damage.Inc()
			s.found <- at + 1
			return false
		case err != nil:
			s.logger.InfoContext(ctx, "comparing stream and log waits", "position", at, "cause", err)
			pause(ctx, leaseEvery)
		}
		after = at
	}
	return true
}

var errDiffers = errors.New("difference")

// stretch compares with one consumer of the broker, until it is through or the broker fails. What the limits drop meanwhile is no hole.
// It returns the last position that was compared; errDiffers (test with errors.Is) says that the next one differs.
func (s *scrubber) stretch(ctx context.Context, after, to int64, rest func()) (int64, error) {
	bounds, err := stream.BoundsOf(ctx, s.js)
	if err != nil {
		return after, err
	}
	after = max(after, bounds.First-1)
	c := &scan{
		v: &Verification{}, log: s.rows, position: after, to: min(to, bounds.Last),
		progress: func(n int64) { s.metrics.scrubbed.Add(float64(n)) },
	}
	if c.position >= c.to {
		return to, nil // the rest is gone: the relay's own look at the end sees to that
	}
	if err := c.open(ctx, s.js); err != nil {
		return after, err
	}
	for c.position < c.to && ctx.Err() == nil {
		at := c.position
		if err := c.step(ctx, s.pace.batch); errors.Is(err, stream.ErrDiverged) {
			return s.firstMissing(ctx, at, err)
		} else if err != nil {
			return at, err
		}
		if c.v.Difference != "" && !seeded.On(seeded.ScrubberBlind) {
			return s.confirm(ctx, c.v)
		}
		rest()
	}
	return c.position, nil
}

// firstMissing finds which row after a position the log lacks.
func (s *scrubber) firstMissing(ctx context.Context, after int64, cause error) (int64, error) {
	for at := after; ; at++ {
		if _, ok, err := s.rows.Digest(ctx, at+1); err != nil || !ok {
			return at, errors.Join(errDiffers, cause, err)
		}
	}
}

// confirm lets pass what the limits have dropped since.
func (s *scrubber) confirm(ctx context.Context, v *Verification) (int64, error) {
	bounds, err := stream.BoundsOf(ctx, s.js)
	if err != nil || v.At < bounds.First {
		return v.At - 1, err
	}
	return v.At - 1, errors.Join(errDiffers, errors.New(v.Difference))
}
