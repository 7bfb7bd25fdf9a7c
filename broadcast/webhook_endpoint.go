package broadcast

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	window      = 512                    // events of one subscription that were taken and are not done
	probeWindow = 16                     // likewise, while the endpoint does not work
	idleEvery   = 5 * time.Second        // between the stored positions of a subscription for which nothing comes
	readRetry   = 250 * time.Millisecond // after trouble with the read database
	crowdedFor  = 20 * time.Millisecond  // until there may be room again
	beatEvery   = 10 * time.Second       // between stored signs of an endpoint that works
)

// endpoint delivers one subscription. Run is its only goroutine that knows its state; each attempt, and each look into a database, has
// one of its own, whose outcome comes back by a channel.
//
// Of an order, one event is under way at a time. Events are taken in the order of positions into lanes, one for each order. One that
// fails is parked, and its lane is held: what follows is parked behind it, until it is delivered or given up. Other lanes go on.
type endpoint struct {
	house *Dispatcher
	delivered

	waiter   *waiter
	scanned  int64   // what was taken goes up to here
	position int64   // done up to here, as the ledger knows
	taken    []*item // by position; done ones at the front are dropped
	undone   int
	lanes    map[string]*lane
	ready    []*lane
	parked   int // events that are parked
	due      dueHeap
	replays  replays

	inFlight int
	reading  bool
	results  chan result
	reads    chan batch
	stopping bool
	stopped  chan struct{} // closed by the dispatcher: no new attempts
	probes   int

	circuit   *webhook.Circuit
	limiter   *rate.Limiter // nil: no limit
	throttled int           // in a row
	pausedTo  time.Time
	health    healthRow
	state     string // of the circuit, as last seen
	beat      time.Time
	idleAt    time.Time
	doneTo    atomic.Int64 // the position, for others to see
	wakeAt    wakeTime
}

// delivered is what a subscription is delivered by: read when its endpoint starts, and not changed.
type delivered struct {
	sub      Subscription
	settings webhookSettings
	schedule webhook.Schedule
	keys     []webhook.Term
	moves    int64
	requests int64 // of its party, as far as they are known here
	whose    party
	who      auth.Identity
}

// item is an event that was taken.
type item struct {
	told  *told
	body  []byte // what is sent
	lane  *lane
	tries int // attempts that were made and do not count
	done  bool
}

// lane is what there is of one order.
type lane struct {
	order  string // the order's id; empty where the events are of none
	key    string
	busy   bool // an attempt is under way
	queued bool // it is among the ready ones
	queue  []*item
	held   *held // nil: nothing is parked
}

// held is an order's parked events. They are read again when they are tried.
type held struct {
	lane      *lane
	positions []int64
	marked    map[int64]bool // those that the party asked for again
	attempts  int            // of the first
	extra     int            // attempts with it that do not count
	nextAt    time.Time
	index     int // in the heap; -1: not there
}

// batch is what a look into the read database gave.
type batch struct {
	found   []*item
	scanned int64
	again   bool // nothing: it is time to look once more
}

// result is what came of an attempt.
type result struct {
	from    source
	lane    *lane
	item    *item   // of fresh events and replays
	replay  *replay // of replays
	event   *told   // nil: it could not be read
	told    func(*webhook.Attempt)
	probe   bool
	attempt webhook.Attempt
}

// source is where an event that is sent comes from.
type source int

const (
	fresh source = iota
	retried
	replayed
)

func newEndpoint(h *Dispatcher, by delivered, stored healthRow) *endpoint {
	e := &endpoint{
		house: h, delivered: by, scanned: by.sub.Position, position: by.sub.Position, lanes: map[string]*lane{},
		results: make(chan result, mostConcurrency+1), reads: make(chan batch, 1), stopped: make(chan struct{}),
		circuit: webhook.NewCircuit(h.cfg.Circuit), health: stored, pausedTo: stored.throttledTill,
	}
	e.state = e.circuit.State()
	e.doneTo.Store(e.position)
	if e.health.circuit != e.state {
		e.health.circuit = e.state
		e.feels()
	}
	e.replays.init()
	if r := by.settings.Rate; r > 0 {
		e.limiter = rate.NewLimiter(rate.Limit(r), max(1, int(r/10)))
	}
	return e
}

// run delivers until the dispatcher says stop and what is under way has ended, or ctx ends, which breaks that off.
func (e *endpoint) run(ctx context.Context) {
	e.waiter = e.house.live.join(e.whose, e.sub.Filter)
	defer e.house.live.leave(e.whose, e.waiter)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer func() { e.house.metrics.parked.Sub(float64(e.parked)) }()
	stopped := e.stopped
	for {
		e.wakeAt.reset(idleEvery)
		e.take(ctx)
		e.start(ctx)
		e.settle()
		if e.stopping && e.inFlight == 0 && !e.reading {
			return
		}
		timer.Reset(e.wakeAt.left())
		select {
		case <-e.waiter.wake:
		case b := <-e.reads:
			e.accept(b)
		case r := <-e.results:
			e.finish(r)
			e.finishMore()
		case page := <-e.replays.pages:
			e.replays.add(e, page)
		case <-timer.C:
		case <-stopped:
			e.stopping, stopped = true, nil
		}
	}
}

// finishMore takes all outcomes that are there, so that positions and room are seen to once for all of them.
func (e *endpoint) finishMore() {
	for {
		select {
		case r := <-e.results:
			e.finish(r)
		default:
			return
		}
	}
}

// room is how many events may be taken now.
func (e *endpoint) room() int {
	most := window
	if e.state != circuitClosed {
		most = probeWindow
	}
	left := most - e.undone
	switch {
	case e.stopping || e.reading || left <= 0 || e.parked >= e.house.cfg.ParkedMost:
		return 0
	case e.house.ledger.crowded():
		e.wakeAt.in(crowdedFor)
		return 0
	}
	return left
}

// take takes what may be taken: from memory where it is there, else from the database.
func (e *endpoint) take(ctx context.Context) {
	for {
		left := e.room()
		if left == 0 {
			return
		}
		found, scanned, ok := e.house.live.next(e.waiter, e.whose, e.scanned, left)
		if !ok {
			e.read(ctx, nil)
			return
		}
		if e.sub.IncludeOrder && len(found) > 0 {
			e.read(ctx, &batch{found: itemsOf(found), scanned: scanned})
			return
		}
		e.accept(batch{found: itemsOf(found), scanned: scanned})
		if len(found) < left {
			return
		}
	}
}

func itemsOf(found []*told) []*item {
	all := make([]item, len(found))
	items := make([]*item, len(found))
	for i, one := range found {
		all[i] = item{told: one, body: one.json}
		items[i] = &all[i]
	}
	return items
}

// read looks into the read database: for what comes next, or for the orders of what was found in memory. Where that gives nothing,
// because the database is away or not as far as the one that was read before, it is tried again after a while.
func (e *endpoint) read(ctx context.Context, found *batch) {
	e.reading = true
	after := e.scanned
	go func() {
		b := batch{scanned: after}
		if found != nil {
			b = *found
		}
		err := e.house.reading(ctx, func() error {
			if found == nil {
				stretch, reached, err := e.house.stretches.after(ctx, e.house.reader, e.whose, after)
				if err != nil {
					return err
				}
				b.scanned = max(after, reached)
				b.found = itemsOf(wanted(e.sub.Filter, stretch))
			}
			return e.house.enrich(ctx, &e.delivered, b.found)
		})
		if err != nil || b.scanned == after {
			if err != nil && ctx.Err() == nil {
				e.house.cfg.Logger.WarnContext(ctx, "events for a webhook cannot be read", "subscription", e.sub.ID, "cause", err)
			}
			pause(ctx, readRetry)
			b = batch{scanned: after, again: true}
		}
		e.reads <- b
	}()
}

func wanted(f Filter, found []*told) []*told {
	var kept []*told // what was found is others' too
	for _, one := range found {
		if f.Matches(one.notice.Type, one.notice.BusinessType) {
			kept = append(kept, one)
		}
	}
	return kept
}

// accept puts events into their lanes.
func (e *endpoint) accept(b batch) {
	e.reading = false
	if b.again {
		e.house.live.again(e.waiter)
		return
	}
	for _, it := range b.found {
		e.admit(it)
	}
	e.scanned = max(e.scanned, b.scanned)
}

func (e *endpoint) admit(it *item) {
	it.lane = e.lane(it.told)
	e.taken = append(e.taken, it)
	e.undone++
	it.lane.queue = append(it.lane.queue, it)
	if it.lane.held != nil {
		if e.state == circuitClosed {
			e.parkQueue(it.lane)
		}
		return
	}
	e.offer(it.lane)
}

// laneKey tells which events are not to be under way together: those of an order, and of those without one each type's.
func laneKey(order, kind string) string {
	if order != "" {
		return order
	}
	return "type " + kind
}

func (e *endpoint) lane(one *told) *lane {
	return e.laneOf(one.notice.Subject, string(one.notice.Type))
}

func (e *endpoint) laneOf(order, kind string) *lane {
	name := laneKey(order, kind)
	l := e.lanes[name]
	if l == nil {
		l = &lane{order: order, key: name}
		e.lanes[name] = l
	}
	return l
}

// offer makes a lane ready if it has something to send, and forgets one that has nothing at all.
func (e *endpoint) offer(l *lane) {
	switch {
	case l.busy || l.queued || l.held != nil:
	case len(l.queue) > 0:
		l.queued = true
		e.ready = append(e.ready, l)
	default:
		delete(e.lanes, l.key)
	}
}

// complete ends an item: it was delivered, or it is parked.
func (e *endpoint) complete(it *item) {
	it.done = true
	e.undone--
	it.body = nil
}

// settle tells the ledger up to where all is done.
func (e *endpoint) settle() {
	drop := 0
	for drop < len(e.taken) && e.taken[drop].done {
		e.taken[drop] = nil
		drop++
	}
	e.taken = e.taken[drop:]
	at := e.scanned
	if len(e.taken) > 0 && !seeded.On(seeded.WebhookMovedEarly) {
		at = e.taken[0].told.notice.Position - 1
	}
	if at <= e.position {
		return
	}
	if drop == 0 && !e.stopping && time.Since(e.idleAt) < idleEvery {
		return
	}
	e.idleAt = time.Now()
	e.position = at
	e.doneTo.Store(at)
	e.house.ledger.moved(e.sub.ID, progress{position: at, moves: e.moves})
}

// wakeTime is when a loop has to look again by itself.
type wakeTime struct{ at time.Time }

func (w *wakeTime) reset(most time.Duration) { w.at = time.Now().Add(most) }

func (w *wakeTime) in(d time.Duration) {
	if at := time.Now().Add(d); at.Before(w.at) {
		w.at = at
	}
}

func (w *wakeTime) left() time.Duration { return max(time.Until(w.at), 0) }

func random() float64 { return rand.Float64() } //nolint:gosec // it spreads attempts, and is no secret
