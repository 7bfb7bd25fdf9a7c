package broadcast

import (
	"container/heap"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/internal/webhook"
)

// dueHeap are the orders with parked events, by when the first is tried again.
type dueHeap []*held

func (q dueHeap) Len() int           { return len(q) }
func (q dueHeap) Less(i, j int) bool { return q[i].nextAt.Before(q[j].nextAt) }

func (q dueHeap) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for package heap.
func (q *dueHeap) Push(x any) {
	h, _ := x.(*held) // nothing else is pushed
	h.index = len(*q)
	*q = append(*q, h)
}

// Pop is for package heap.
func (q *dueHeap) Pop() any {
	last := len(*q) - 1
	h := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	h.index = -1
	return h
}

func (q *dueHeap) add(h *held, at time.Time) {
	h.nextAt = at
	heap.Push(q, h)
}

func (q *dueHeap) remove(h *held) {
	if h.index >= 0 {
		heap.Remove(q, h.index)
	}
}

// nextDue is the order whose parked event is to be tried now; nil where there is none yet, and while a replay of the order is under
// way: its outcome wakes.
func (e *endpoint) nextDue() *held {
	if len(e.due) == 0 || e.due[0].lane.busy {
		return nil
	}
	if left := e.due[0].nextAt.Sub(e.house.cfg.Now()); left > 0 {
		e.wakeAt.in(min(left, e.house.cfg.Poll))
		return nil
	}
	return e.due[0]
}

// park keeps an event that failed for later, and holds its order: what follows is parked behind it.
func (e *endpoint) park(it *item, made *webhook.Attempt) {
	l := it.lane
	l.held = &held{lane: l, positions: []int64{it.told.notice.Position}, attempts: 1, extra: it.tries - 1, index: -1}
	l.queue = l.queue[1:]
	e.parked++
	e.complete(it)
	e.house.metrics.parked.Inc()
	e.tryLater(l.held, it.told, made)
	if l.held != nil { // it was not given up at once
		e.parkQueue(l)
	}
}

// parkQueue parks what was taken of an order behind what is parked already. What was parked before, and is taken again because its
// party went back, stays where it is.
func (e *endpoint) parkQueue(l *lane) {
	for _, it := range l.queue {
		n := &it.told.notice
		if last := l.held.positions[len(l.held.positions)-1]; n.Position > last {
			l.held.positions = append(l.held.positions, n.Position)
			e.parked++
			e.house.metrics.parked.Inc()
			e.house.ledger.park(deliveryKey{e.sub.ID, n.Position}, &deliveryRow{
				order: n.Subject, kind: string(n.Type), state: stateWaiting, at: e.house.cfg.Now(),
			})
		}
		e.complete(it)
	}
	l.queue = nil
}

// tryLater sets when the first of an order's parked events is tried again, or gives it up after its last attempt.
func (e *endpoint) tryLater(h *held, event *told, made *webhook.Attempt) {
	now := e.house.cfg.Now()
	position := h.positions[0]
	row := &deliveryRow{
		order: event.notice.Subject, kind: string(event.notice.Type), state: stateRetrying, replay: h.marked[position], attempts: h.attempts,
		reason: made.Reason, at: now,
	}
	wait, more := e.schedule.Next(h.attempts, made.RetryAfter, random)
	if more {
		row.nextAt = now.Add(wait)
		e.due.add(h, row.nextAt)
	} else {
		row.state = stateDead
		e.house.metrics.dead.Inc()
	}
	e.house.ledger.park(deliveryKey{e.sub.ID, position}, row)
	if !more {
		e.next(h)
	}
}

// next goes on with the order after the first of its parked events was delivered or given up.
func (e *endpoint) next(h *held) {
	delete(h.marked, h.positions[0])
	h.positions = h.positions[1:]
	h.attempts, h.extra = 0, 0
	e.parked--
	e.house.metrics.parked.Dec()
	if len(h.positions) > 0 {
		e.due.add(h, e.house.cfg.Now())
		return
	}
	h.lane.held = nil
	e.offer(h.lane)
}

// finishHeld is what comes of an attempt with the first of an order's parked events.
func (e *endpoint) finishHeld(r *result) {
	h := r.lane.held
	made := &r.attempt
	switch {
	case made.Kind == webhook.Delivered:
		e.house.ledger.park(deliveryKey{e.sub.ID, h.positions[0]}, nil)
		e.next(h)
	case made.Kind == webhook.Cancelled:
		e.due.add(h, e.house.cfg.Now())
	case made.Kind == webhook.Throttled, made.Kind == webhook.Gone:
		h.extra++
		e.due.add(h, e.pausedTo)
	case r.probe:
		h.extra++
		e.due.add(h, h.nextAt)
	default:
		h.attempts++
		e.tryLater(h, r.event, made)
	}
}

// recovered sends what is parked at once: the endpoint works again.
func (e *endpoint) recovered() {
	now := e.house.cfg.Now()
	for _, h := range e.due {
		if h.nextAt.After(now) {
			h.nextAt = now
		}
	}
	heap.Init(&e.due)
	for _, l := range e.lanes {
		if l.held != nil {
			e.parkQueue(l)
		}
	}
}

// parkedRow is a parked event as it is read when an endpoint starts.
type parkedRow struct {
	subscription uuid.UUID
	position     int64
	order, kind  string
	replay       bool
	attempts     int
	nextAt       *time.Time
}

// restore takes over what is parked already, in the order of positions.
func (e *endpoint) restore(rows []parkedRow) {
	for _, row := range rows {
		l := e.laneOf(row.order, row.kind)
		e.parked++
		e.house.metrics.parked.Inc()
		if l.held == nil {
			l.held = &held{lane: l, attempts: row.attempts, index: -1}
			at := time.Time{}
			if row.nextAt != nil {
				at = *row.nextAt
			}
			e.due.add(l.held, at)
		}
		l.held.positions = append(l.held.positions, row.position)
		if row.replay {
			if l.held.marked == nil {
				l.held.marked = map[int64]bool{}
			}
			l.held.marked[row.position] = true
		}
	}
}
