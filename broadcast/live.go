package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sort"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
)

const (
	liveBatch  = 2000                   // events read in one query
	liveEvents = 16384                  // of the newest kept in memory
	liveBytes  = 16 << 20               // of their JSON, at most
	liveRetry  = 200 * time.Millisecond // after trouble with the database
	liveBehind = 2 * time.Millisecond   // until the orders are as far as the timeline
)

// Tip tells how far the read side is.
type Tip interface {
	Position() int64
	Changed() <-chan struct{}
}

// told is an event as it is told to everybody: read, encoded and kept once, however many hear it.
type told struct {
	notice events.Notice
	json   []byte // of the notice, without data
}

// Live is the newest events of the read side in memory, and wakes those who wait for more. There is one reader of the timeline for
// all: who keeps up reads from memory, and whoever is older than what is kept reads the database alone until it has caught up. So a
// slow listener costs no memory.
type Live struct {
	pool   *pgxpool.Pool
	tip    Tip
	logger *slog.Logger
	open   func(ctx context.Context, documents [][]byte) // opens what is sealed in orders, in place; nil: nothing is

	mu      sync.Mutex
	ring    []*told // by position, with gaps where an event is nobody's
	bytes   int
	from    int64 // nothing after this position is missing from the ring
	reached int64 // up to here the ring goes
	waiting map[party]map[*waiter]struct{}
	joined  chan struct{} // holds one signal: somebody has begun to wait
}

// waiter is one who waits. Its channel holds one wake-up, so that none is lost between looking and waiting.
type waiter struct {
	wake  chan struct{}
	want  Filter
	idle  bool  // it has heard all, and nothing that it wants has come since
	quiet int64 // up to here nothing that it wants came while it was idle
}

// Opening has the orders that are sent along with events opened, in place. It comes before anything is read.
func (l *Live) Opening(open func(ctx context.Context, documents [][]byte)) *Live {
	l.open = open
	return l
}

// opened opens the customers of orders, in place.
func (l *Live) opened(ctx context.Context, orders map[string]json.RawMessage) {
	if l.open == nil {
		return
	}
	ids, documents := make([]string, 0, len(orders)), make([][]byte, 0, len(orders))
	for id, document := range orders {
		ids, documents = append(ids, id), append(documents, document)
	}
	l.open(ctx, documents)
	for i, id := range ids {
		orders[id] = documents[i]
	}
}

// NewLive makes it on the read database, whose timeline is as far as the tip says.
func NewLive(pool *pgxpool.Pool, tip Tip, logger *slog.Logger) *Live {
	return &Live{pool: pool, tip: tip, logger: logger, waiting: map[party]map[*waiter]struct{}{}, joined: make(chan struct{}, 1)}
}

// Name names the worker.
func (l *Live) Name() string { return "live" }

// Run follows the read side until ctx ends. While the database is away it wakes nobody; who waits asks again at the end of the wait.
func (l *Live) Run(ctx context.Context) error {
	l.restart(l.tip.Position())
	for ctx.Err() == nil {
		changed := l.tip.Changed()
		tip, reached := l.tip.Position(), l.Reached()
		switch {
		case tip < reached:
			l.restart(tip) // the read database is an older one now
			continue
		case tip == reached:
			await(ctx, changed, time.Minute)
			continue
		case !l.wanted():
			l.restart(tip) // nobody listens: what is told meanwhile is in the database
			l.awaitListener(ctx, changed)
			continue
		}
		more, next, err := readTold(ctx, l.pool, liveBatch, selectAll, reached, liveBatch)
		if err != nil {
			if ctx.Err() == nil {
				l.logger.WarnContext(ctx, "nobody is woken", "position", reached, "cause", err)
			}
			pause(ctx, liveRetry)
			continue
		}
		if next <= reached {
			pause(ctx, liveBehind)
			continue
		}
		l.add(more, next)
	}
	return nil
}

// Reached is up to where events are in memory.
func (l *Live) Reached() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reached
}

func (l *Live) wanted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

func (l *Live) awaitListener(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-changed:
	case <-l.joined:
	case <-ctx.Done():
	}
}

// restart forgets what is in memory and goes on from a position. Everybody is woken: what they wait for may be in the database.
func (l *Live) restart(position int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.bytes, l.from, l.reached = nil, 0, position, position
	for _, all := range l.waiting {
		for w := range all {
			w.idle = false
			w.signal()
		}
	}
}

// tell makes what is told of an event.
func tell(position int64, body []byte) (*told, error) {
	e, _, err := events.DecodeHeader(position, body)
	if err != nil {
		return nil, err
	}
	one := &told{notice: events.NoticeOf(&e)}
	if one.json, err = json.Marshal(&one.notice); err != nil {
		return nil, fmt.Errorf("encode notice: %w", err)
	}
	return one, nil
}

// add takes over what was read and wakes those whom it is for.
func (l *Live) add(found []*told, reached int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring = append(l.ring, found...)
	for _, one := range found {
		l.bytes += len(one.json)
	}
	l.reached = reached
	l.trim()
	for _, one := range found {
		n := &one.notice
		l.wake(party{tenant: n.Tenant}, n)
		l.wake(party{provider: n.Provider}, n)
		l.wake(party{}, n)
		if n.Subject != "" {
			l.wake(party{tenant: n.Tenant, order: n.Subject}, n)
			l.wake(party{provider: n.Provider, order: n.Subject}, n)
			l.wake(party{order: n.Subject}, n)
		}
	}
}

// trim drops the oldest once a quarter more is kept than need be, so that what stays is moved seldom.
func (l *Live) trim() {
	if len(l.ring) <= liveEvents+liveEvents/4 && l.bytes <= liveBytes+liveBytes/4 {
		return
	}
	drop := 0
	for len(l.ring)-drop > liveEvents || l.bytes > liveBytes {
		l.bytes -= len(l.ring[drop].json)
		drop++
	}
	l.from = l.ring[drop-1].notice.Position
	kept := copy(l.ring, l.ring[drop:])
	clear(l.ring[kept:])
	l.ring = l.ring[:kept]
}

func (l *Live) wake(p party, n *events.Notice) {
	for w := range l.waiting[p] {
		if w.want.Matches(n.Type, n.BusinessType) {
			if w.idle {
				w.idle, w.quiet = false, n.Position-1
			}
			w.signal()
		}
	}
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// after gives up to limit of a party's events after a position, as far as scanned. It says no where memory does not reach back to it,
// and, to one who asks for all there is now, where it does not reach up to the read side's end. Only who has joined may ask.
func (l *Live) after(p party, want Filter, position int64, limit int, all bool) (found []*told, scanned int64, ok bool) {
	tip := l.tip.Position()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.look(p, want, position, limit, all, tip)
}

// next is after for one who reads on and on from where the last look ended. What came since and is not wanted is not looked at, so
// whoever wants next to nothing stays in memory however much comes for others.
func (l *Live) next(w *waiter, p party, position int64, limit int) (found []*told, scanned int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.idle {
		return nil, max(position, l.reached), true
	}
	found, scanned, ok = l.look(p, w.want, max(position, w.quiet), limit, false, 0)
	w.idle = ok && len(found) < limit
	return found, scanned, ok
}

// again is for one who could not use what next gave: it goes on from the same position.
func (l *Live) again(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.idle = false
}

func (l *Live) look(p party, want Filter, position int64, limit int, all bool, tip int64) (found []*told, scanned int64, ok bool) {
	if position < l.from || position > l.reached || all && l.reached < tip {
		return nil, position, false
	}
	begin := sort.Search(len(l.ring), func(i int) bool { return l.ring[i].notice.Position > position })
	for _, one := range l.ring[begin:] {
		if !p.hears(&one.notice) || !want.Matches(one.notice.Type, one.notice.BusinessType) {
			continue
		}
		found = append(found, one)
		if len(found) == limit {
			return found, one.notice.Position, true
		}
	}
	return found, l.reached, true
}

// join starts waiting. It is called before looking, so that what comes after the look wakes.
func (l *Live) join(p party, want Filter) *waiter {
	w := &waiter{wake: make(chan struct{}, 1), want: want}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting[p] == nil {
		l.waiting[p] = map[*waiter]struct{}{}
	}
	l.waiting[p][w] = struct{}{}
	select {
	case l.joined <- struct{}{}:
	default:
	}
	return w
}

func (l *Live) leave(p party, w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting[p], w)
	if len(l.waiting[p]) == 0 {
		delete(l.waiting, p)
	}
}
