package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/time/rate"

	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	replayPage  = 200             // replays read at once
	replayMost  = 1000            // orders whose replay has failed; beyond, no more are read
	replayRate  = 200             // replays a second
	replayAgain = 5 * time.Second // until those that were left out are looked for
)

const selectReplays = `SELECT position, order_id, event_type, attempts, next_at FROM deliveries
WHERE subscription_id = $1 AND state = 'replay' AND position > $2 ORDER BY position LIMIT $3`

// replays sends what its party asked for again, page by page, each order's events in order. They go when nothing else does.
type replays struct {
	queue    []*replay
	failed   map[string]*replay // by order: it is tried again later
	blocked  map[string]bool    // orders of which one has failed: its later replays stay in the store until the next pass
	cursor   int64
	left     bool // some that may go now were left out: another pass is needed
	ended    bool // nothing more is in the store
	loading  bool
	inFlight int
	again    time.Time
	pages    chan replayedPage
	limiter  *rate.Limiter
}

// replay is an event that is sent again.
type replay struct {
	position int64
	lane     *lane
	item     *item
	attempts int
	extra    int
	nextAt   time.Time
}

// replayedPage is a page of them as it is read.
type replayedPage struct {
	rows   []replayRow
	events map[int64]*item
	last   int64 // up to where it goes
	more   bool
	err    error
}

type replayRow struct {
	Position int64
	Order    string
	Kind     string
	Attempts int
	NextAt   *time.Time
}

func (r *replays) init() {
	r.failed, r.blocked = map[string]*replay{}, map[string]bool{}
	r.pages = make(chan replayedPage, 1)
	r.limiter = rate.NewLimiter(replayRate, replayRate/10)
}

// start begins as many replays as may be under way.
func (r *replays) start(ctx context.Context, e *endpoint) {
	r.load(ctx, e)
	most := max(e.settings.concurrency()/replayShare, 1)
	for r.inFlight < most {
		one := r.next(e)
		if one == nil {
			return
		}
		if wait := r.limiter.Reserve(); wait.Delay() > 0 {
			e.wakeAt.in(wait.Delay())
			wait.Cancel()
			return
		}
		if !e.slot() {
			return
		}
		r.send(ctx, e, one)
	}
}

// next finds the first whose order has nothing under way.
func (r *replays) next(e *endpoint) *replay {
	for key, one := range r.failed {
		left := one.nextAt.Sub(e.house.cfg.Now())
		if left > 0 {
			e.wakeAt.in(min(left, e.house.cfg.Poll))
			continue
		}
		if l := e.lanes[key]; l == nil || !l.busy {
			return one
		}
	}
	for _, one := range r.queue {
		if l := e.lanes[one.lane.key]; l == nil || !l.busy {
			return one
		}
	}
	return nil
}

func (r *replays) send(ctx context.Context, e *endpoint, one *replay) {
	for i := range r.queue {
		if r.queue[i] == one {
			r.queue = append(r.queue[:i], r.queue[i+1:]...)
			break
		}
	}
	delete(r.failed, one.lane.key)
	// The lane may have ended since the page was read, and begun anew.
	one.lane = e.laneOf(one.lane.order, one.kind())
	one.lane.busy = true
	r.inFlight++
	number := one.attempts + one.extra + 1
	go func() {
		out := result{from: replayed, lane: one.lane, item: one.item, event: one.item.told, replay: one}
		out.attempt = e.attempt(ctx, one.item.told, one.item.body, number, true)
		e.results <- out
	}()
}

func (o *replay) kind() string { return string(o.item.told.notice.Type) }

// finish is what comes of a replay.
func (r *replays) finish(e *endpoint, out *result) {
	r.inFlight--
	one, made := out.replay, &out.attempt
	key := deliveryKey{e.sub.ID, one.position}
	now := e.house.cfg.Now()
	row := &deliveryRow{
		order: one.lane.order, kind: one.kind(), state: stateReplay, replay: true, attempts: one.attempts, reason: made.Reason, at: now,
	}
	switch made.Kind {
	case webhook.Delivered:
		e.house.ledger.park(key, nil)
	case webhook.Cancelled, webhook.Throttled, webhook.Gone:
		one.extra++
		one.nextAt = e.pausedTo
		r.failed[one.lane.key] = one
	default:
		one.attempts++
		row.attempts = one.attempts
		if wait, more := e.schedule.Next(one.attempts, made.RetryAfter, random); more {
			one.nextAt, row.nextAt = now.Add(wait), now.Add(wait)
			r.failed[one.lane.key] = one
		} else {
			row.state = stateDead
			e.house.metrics.dead.Inc()
		}
		e.house.ledger.park(key, row)
	}
	if r.failed[one.lane.key] != nil {
		r.blocked[one.lane.key] = true
		r.passOver(one.lane.key)
	} else if r.blocked[one.lane.key] {
		r.left = true
	}
	e.offer(one.lane)
}

// passOver leaves the later replays of an order in the store.
func (r *replays) passOver(key string) {
	kept := r.queue[:0]
	for _, one := range r.queue {
		if one.lane.key != key {
			kept = append(kept, one)
		}
	}
	clear(r.queue[len(kept):])
	r.queue = kept
}

// load reads a page when the last one is sent.
func (r *replays) load(ctx context.Context, e *endpoint) {
	if r.loading || len(r.queue) > 0 || len(r.failed) >= replayMost {
		return
	}
	if r.ended {
		if !r.left || r.inFlight > 0 {
			return
		}
		if left := time.Until(r.again); left > 0 {
			e.wakeAt.in(left)
			return
		}
		r.ended, r.left, r.cursor = false, false, 0
		clear(r.blocked)
		for key := range r.failed {
			r.blocked[key] = true
		}
	}
	r.loading = true
	pending := e.house.ledger.pending(e.sub.ID)
	after := r.cursor
	go func() {
		page := replayedPage{}
		page.err = e.house.reading(ctx, func() error { return e.house.readReplays(ctx, &e.delivered, after, pending, &page) })
		if page.err != nil {
			if ctx.Err() == nil {
				e.house.cfg.Logger.WarnContext(ctx, "replays cannot be read", "subscription", e.sub.ID, "cause", page.err)
			}
			pause(ctx, readRetry)
		}
		r.pages <- page
	}()
}

// add takes over a page. Events that the read side does not have at the moment are looked for again.
func (r *replays) add(e *endpoint, page replayedPage) {
	r.loading = false
	if page.err != nil {
		return
	}
	r.ended = !page.more
	r.again = time.Now().Add(e.house.cfg.ReplayAgain)
	r.cursor = max(r.cursor, page.last)
	for _, row := range page.rows {
		key := laneKey(row.Order, row.Kind)
		if r.blocked[key] {
			continue
		}
		it := page.events[row.Position]
		if it == nil {
			r.left, r.blocked[key] = true, true
			continue
		}
		one := &replay{position: row.Position, item: it, attempts: row.Attempts, lane: &lane{order: row.Order, key: key}}
		if row.NextAt != nil && row.NextAt.After(e.house.cfg.Now()) {
			one.nextAt = *row.NextAt
			r.failed[key], r.blocked[key] = one, true
			continue
		}
		r.queue = append(r.queue, one)
	}
}

// readReplays reads a page of replays and their events. What is pending in the ledger is not as it stands in the store.
func (d *Dispatcher) readReplays(ctx context.Context, by *delivered, after int64, pending map[int64]bool, into *replayedPage) error {
	rows, err := d.cfg.Write.Query(ctx, selectReplays, by.sub.ID, after, replayPage)
	if err != nil {
		return fmt.Errorf("read replays: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[replayRow])
	if err != nil {
		return fmt.Errorf("read replays: %w", err)
	}
	into.more = len(all) == replayPage
	var at []int64
	for _, row := range all {
		into.last = row.Position
		if !pending[row.Position] {
			into.rows = append(into.rows, row)
			at = append(at, row.Position)
		}
	}
	into.events = map[int64]*item{}
	if len(at) == 0 {
		return nil
	}
	items, err := d.events(ctx, by, at)
	if err != nil {
		return err
	}
	for _, it := range items {
		into.events[it.told.notice.Position] = it
	}
	return nil
}
