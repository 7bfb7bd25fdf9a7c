package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// convoy takes the systems that stand at the same position along the log: one reading, one decoding and one transaction for all of
// them. Each has its own checkpoint all the same. One that cannot go on with the others is set down, goes on alone from where they
// all stood, and is taken along again when it has caught up.
type convoy struct {
	cfg      *Config
	boarding chan *member
	leaving  chan *member
	position atomic.Int64 // where it is, for others to look at; nowhere while nobody goes with it

	here    checkpoint // position and digest
	members []*member  // that are there
	ahead   []*member  // that are a little further, and wait for it
}

const nowhere = -1

const (
	// A system that is no more batches away is waited for, or waits.
	nearBatches = 2
	// How long the others wait at most for what it lacks to be read.
	joinWithin = time.Second
)

// convoyName is the convoy's in log lines.
const convoyName = "auxiliary systems"

func newConvoy(cfg *Config) *convoy {
	c := &convoy{cfg: cfg, boarding: make(chan *member), leaving: make(chan *member)}
	c.position.Store(nowhere)
	return c
}

// near tells whether a system at a position may go with the convoy.
func (c *convoy) near(position int64) bool {
	at := c.position.Load()
	return at == nowhere || max(at-position, position-at) <= nearBatches*int64(c.cfg.Pace.Batch)
}

// ride takes a system along until it is set down or ctx ends, and gives where it is then. An error means that its stored position has
// to be looked at before it goes on.
func (c *convoy) ride(ctx context.Context, w *worker, at checkpoint) (checkpoint, setDown) {
	m := &member{w: w, at: at, down: make(chan setDown, 1)}
	select {
	case c.boarding <- m:
	case <-ctx.Done():
		return at, setDown{err: ctx.Err()}
	}
	select {
	case d := <-m.down:
		return m.at, d
	case <-ctx.Done():
	}
	select {
	case c.leaving <- m:
	case <-m.down:
	}
	return m.at, setDown{err: ctx.Err()}
}

func (c *convoy) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.boarding:
			c.here, c.members = m.at, []*member{m}
			c.position.Store(c.here.position)
			err := c.gather(ctx, c.cfg.Pace.Linger)
			if err == nil {
				err = c.travel(ctx)
			}
			c.position.Store(nowhere)
			for _, m := range append(c.members, c.ahead...) {
				m.down <- setDown{err: err}
			}
			c.members, c.ahead = nil, nil
		}
	}
}

// gather lets systems on and off for a while.
func (c *convoy) gather(ctx context.Context, d time.Duration) error {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-c.boarding:
			c.board(ctx, m)
		case m := <-c.leaving:
			c.leave(m)
		case <-over.C:
			return nil
		}
	}
}

// travel goes on until nobody is left, or something happens that is no system's fault.
func (c *convoy) travel(ctx context.Context) error {
	reading, cancel := context.WithCancel(ctx)
	source := c.cfg.NewFollower(convoyName, c.here.position, c.here.digest)
	in := newIntake(c.cfg.Pace.Batch)
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		in.fill(reading, source)
	}()
	defer func() {
		cancel()
		<-filled
		source.Close()
	}()
	for len(c.members) > 0 {
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case m := <-c.boarding:
			c.board(ctx, m)
		case m := <-c.leaving:
			c.leave(m)
		case <-in.arrived:
			err = c.drain(ctx, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *convoy) leave(m *member) {
	gone := func(have *member) bool { return have == m }
	c.members, c.ahead = slices.DeleteFunc(c.members, gone), slices.DeleteFunc(c.ahead, gone)
}

// board takes a system along: at once, when the convoy has reached it, or after what it lacks.
func (c *convoy) board(ctx context.Context, m *member) {
	switch gap := m.at.position - c.here.position; {
	case !c.near(m.at.position):
		m.down <- setDown{alone: m.at.position + 1}
		return
	case gap > 0:
		c.ahead = append(c.ahead, m)
		return
	case gap < 0:
		if down := c.catchUp(ctx, m); down != nil {
			m.down <- *down
			return
		}
	}
	c.join(m)
}

// join takes a system along that is where the convoy is. One that comes from another log finds that out alone.
func (c *convoy) join(m *member) {
	if m.at.digest != c.here.digest {
		m.down <- setDown{alone: m.at.position + 1}
		return
	}
	c.members = append(c.members, m)
}

// catchUp gives a system what it lacks. The others wait for that.
func (c *convoy) catchUp(ctx context.Context, m *member) *setDown {
	source := c.cfg.NewFollower(m.w.system.Name(), m.at.position, m.at.digest)
	defer source.Close()
	within, cancel := context.WithTimeout(ctx, joinWithin)
	defer cancel()
	for m.at.position < c.here.position {
		records, err := source.Next(within, int(min(c.here.position-m.at.position, int64(c.cfg.Pace.Batch))))
		if err != nil && ctx.Err() == nil && within.Err() != nil {
			return &setDown{alone: m.at.position + 1}
		}
		if err == nil {
			err = together(ctx, c.cfg, lockCheckpoints, []*member{m}, newReading(records))
		}
		if err != nil {
			down := setDownFor(err, c.here.position)
			return &down
		}
	}
	return nil
}

// setDownFor lets a system that cannot apply one of the events up to a position find out alone which it is, or wait alone for who
// holds what it needs.
func setDownFor(err error, to int64) setDown {
	var b *blame
	switch {
	case !errors.As(err, &b):
		return setDown{err: err}
	case contentFault(b.err):
		return setDown{alone: to}
	}
	return setDown{err: b.err}
}

// drain applies what waits. Systems that cannot have it are set down, and the others have it without them.
func (c *convoy) drain(ctx context.Context, in *intake) error {
	records, err := in.take(c.room())
	if err != nil {
		return fmt.Errorf("read on after %d: %w", c.here.position, err)
	}
	if len(records) == 0 {
		return nil
	}
	began := time.Now()
	last, r := &records[len(records)-1], newReading(records)
	for len(c.members) > 0 {
		err := together(ctx, c.cfg, lockCheckpoints, c.members, r)
		if err == nil {
			c.arrived(checkpoint{position: last.Position, digest: last.Digest})
			return c.gather(ctx, c.cfg.breath(time.Since(began), len(records) == c.cfg.Pace.Batch))
		}
		var b *blame
		if !errors.As(err, &b) || ctx.Err() != nil {
			return err
		}
		c.leave(b.member)
		b.member.down <- setDownFor(err, last.Position)
	}
	return nil
}

// room is how many events the convoy may take: it stops where a system waits for it.
func (c *convoy) room() int {
	room := int64(c.cfg.Pace.Batch)
	for _, m := range c.ahead {
		room = min(room, m.at.position-c.here.position)
	}
	return int(room)
}

func (c *convoy) arrived(here checkpoint) {
	c.here = here
	c.position.Store(here.position)
	waiting := c.ahead
	c.ahead = nil
	for _, m := range waiting {
		if m.at.position == here.position {
			c.join(m)
			continue
		}
		c.ahead = append(c.ahead, m)
	}
}
