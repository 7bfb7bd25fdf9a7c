package client

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// acknowledger stores a subscription's position beside its loop: after so many events, or so long after the first that is not stored.
type acknowledger struct {
	client  *Client
	id      string
	version int64
	every   int
	within  time.Duration

	begun chan struct{} // something is to be stored
	full  chan struct{} // so much that it is stored at once
	stop  context.CancelFunc
	ended chan struct{}

	mu      sync.Mutex
	handled int64
	stored  int64
	waiting int // events that are not stored

	storing sync.Mutex // one request at a time
}

// acknowledge begins to store what is noted. fail is called with an error that no waiting mends.
func acknowledge(ctx context.Context, s *reading, fail func(error)) *acknowledger {
	ctx, stop := context.WithCancel(ctx)
	a := &acknowledger{
		client: s.client, id: s.id, version: s.subscription.Version, every: s.options.ackEvery, within: s.options.ackWithin,
		begun: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: stop, ended: make(chan struct{}),
		handled: s.subscription.Position, stored: s.subscription.Position,
	}
	go func() {
		defer close(a.ended)
		a.run(ctx, fail)
	}()
	return a
}

func (a *acknowledger) run(ctx context.Context, fail func(error)) {
	look := time.NewTicker(a.client.look)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			// Nothing is acknowledged where nothing comes: who is paused or moved meanwhile would not hear of it.
			if s, err := a.client.GetSubscription(ctx, a.id); err == nil && s.Version != a.known() {
				fail(errMoved)
				return
			}
			continue
		case <-a.begun:
		}
		late := time.NewTimer(a.within)
		select {
		case <-ctx.Done():
		case <-a.full:
		case <-late.C:
		}
		late.Stop()
		if ctx.Err() != nil {
			return
		}
		err := a.store(ctx)
		switch {
		case err == nil:
		case passing(err):
			a.client.log.WarnContext(ctx, "position is stored later", slog.String("subscription", a.id), slog.Any("cause", err))
			signal(a.begun)
		case ctx.Err() == nil:
			fail(err)
			return
		}
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// note says that all up to a position is dealt with.
func (a *acknowledger) note(position int64, events int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if position <= a.handled {
		return
	}
	a.handled = position
	a.waiting += events
	signal(a.begun)
	if a.waiting >= a.every {
		signal(a.full)
	}
}

// now stores a position without waiting for others.
func (a *acknowledger) now(ctx context.Context, position int64) error {
	a.note(position, 0)
	return a.store(ctx)
}

// store stores what has been noted.
func (a *acknowledger) store(ctx context.Context) error {
	a.storing.Lock()
	defer a.storing.Unlock()
	a.mu.Lock()
	position, stored := a.handled, a.stored
	a.waiting = 0
	a.mu.Unlock()
	if position <= stored {
		return nil
	}
	_, err := a.client.AckSubscription(ctx, a.id, position, IfVersion(a.version))
	if HasCode(err, CodeVersion) {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stored = position
	return nil
}

// position is up to where all is dealt with, as far as it was noted.
func (a *acknowledger) position() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.handled
}

func (a *acknowledger) known() int64 {
	a.storing.Lock()
	defer a.storing.Unlock()
	return a.version
}

// moved says that the reader has moved its subscription itself.
func (a *acknowledger) moved(version int64) {
	a.storing.Lock()
	defer a.storing.Unlock()
	a.version = version
}

// close stores what is left. What cannot be stored comes again.
func (a *acknowledger) close(ctx context.Context) {
	a.stop()
	<-a.ended
	ctx, cancel := context.WithTimeout(ctx, lastAckWithin)
	defer cancel()
	if err := a.store(ctx); err != nil {
		a.client.log.WarnContext(ctx, "position is not stored", slog.String("subscription", a.id), slog.Any("cause", err))
	}
}
