package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/orderstore/orderstore/internal/stream"
)

// watch is what the relay looks at beside publishing: whether it still has the lease, whether the stream is still there and as it
// was, and what the scrubber has found.
type watch struct {
	r       *Relay
	lease   *lease
	second  time.Time // of the last look at the stream's bounds
	minute  time.Time // of the last look at its configuration and front
	found   chan int64
	endScan context.CancelFunc
	ended   chan struct{}
}

// watch starts one. The scrubber runs where the lease is: one of many relays reads all of the stream.
func (r *Relay) watch(ctx context.Context, l *lease) *watch {
	now := time.Now()
	w := &watch{r: r, lease: l, second: now, minute: now, found: make(chan int64, 1), ended: make(chan struct{})}
	ctx, w.endScan = context.WithCancel(ctx)
	if !l.mine {
		close(w.ended)
		return w
	}
	s := &scrubber{
		js: r.js, rows: r.rows, published: r.published, pace: r.pace, metrics: r.metrics, logger: r.cfg.Logger, found: w.found,
		passed: func(to int64) {
			r.setHealth("the same as the log up to %d at %s", to, time.Now().UTC().Format(time.RFC3339))
		},
	}
	go func() {
		defer close(w.ended)
		s.run(ctx)
	}()
	return w
}

func (w *watch) stop() {
	w.endScan()
	<-w.ended
}

// look is called after each batch, and does something once a second. It says false when the lease is lost.
func (w *watch) look(ctx context.Context, last int64) (mine bool, err error) {
	if time.Since(w.second) < leaseEvery {
		return true, nil
	}
	w.second = time.Now()
	if !w.lease.held(ctx) {
		return false, nil
	}
	select {
	case at := <-w.found:
		w.r.suspect = at
		return true, fmt.Errorf("position %d of the stream differs from the log", at)
	default:
	}
	bounds, err := w.r.stillThere(ctx, last)
	if err != nil || time.Since(w.minute) < w.r.pace.look {
		return true, err
	}
	w.minute = time.Now()
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	if err := w.r.mend(ctx); err != nil {
		return true, err
	}
	return true, w.r.examineFront(ctx, bounds)
}

// stillThere checks that the stream ends where this relay left it, and has all before it: one that was lost is refilled without waiting for
// an event. What is found is looked at again before anything is done.
func (r *Relay) stillThere(ctx context.Context, last int64) (stream.Bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	bounds, err := stream.BoundsOf(ctx, r.js)
	switch {
	case err != nil:
		return bounds, err
	case bounds.Last != last:
		return bounds, fmt.Errorf("the stream ends at %d, it was at %d", bounds.Last, last)
	case bounds.Holes() > 0:
		return bounds, fmt.Errorf("the stream lacks %d positions", bounds.Holes())
	case bounds.First > 1 && r.cfg.Limits.MaxAge == 0 && r.cfg.Limits.MaxBytes == 0:
		return bounds, fmt.Errorf("the stream begins at %d", bounds.First)
	}
	return bounds, nil
}
