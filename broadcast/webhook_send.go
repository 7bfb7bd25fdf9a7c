package broadcast

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/internal/webhook"
)

// The states of a circuit.
const (
	circuitClosed = "closed"
	circuitOpen   = "open"
)

const (
	eventType   = "application/cloudevents+json"
	replayShare = 4 // one of so many attempts under way may be a replay
	slotWait    = 10 * time.Millisecond
	fewSlots    = 4 // that an endpoint has in any case while more than half of a node's are taken
)

// start begins the attempts that may be made now: what comes by its turn first, then what is tried again, then replays.
func (e *endpoint) start(ctx context.Context) {
	if e.stopping || e.resting() {
		return
	}
	e.look()
	if e.state != circuitClosed {
		e.probe(ctx)
		return
	}
	for len(e.ready) > 0 {
		if !e.slot() {
			return
		}
		told, wait := e.circuit.Allow()
		if told == nil {
			e.free()
			e.wakeAt.in(wait)
			return
		}
		e.startFresh(ctx, told, false)
	}
	for h := e.nextDue(); h != nil && e.slot(); h = e.nextDue() {
		e.startHeld(ctx, h, nil)
	}
	e.replays.start(ctx, e)
}

// resting says whether the endpoint asked to be left alone.
func (e *endpoint) resting() bool {
	left := e.pausedTo.Sub(e.house.cfg.Now())
	if left <= 0 {
		return false
	}
	e.wakeAt.in(min(left, e.house.cfg.Poll))
	return true
}

// slot takes the room for one attempt, at this endpoint and on this node, and says no where there is none.
func (e *endpoint) slot() bool {
	if e.inFlight >= e.settings.concurrency() {
		return false // an outcome wakes
	}
	if e.inFlight >= fewSlots && 2*len(e.house.slots) >= cap(e.house.slots) {
		e.wakeAt.in(slotWait)
		return false // what is left is for those who have few
	}
	if e.limiter != nil {
		// Measured by the running clock: a reservation that comes too early is given back.
		if r := e.limiter.Reserve(); r.Delay() > 0 {
			e.wakeAt.in(r.Delay())
			r.Cancel()
			return false
		}
	}
	select {
	case e.house.slots <- struct{}{}:
		e.inFlight++
		return true
	default:
		e.wakeAt.in(slotWait)
		return false
	}
}

// free gives back a slot that was not used.
func (e *endpoint) free() {
	e.inFlight--
	<-e.house.slots
}

// probe tries an endpoint that does not work with one event now and then: in turn with what comes next and with one that is parked,
// so that neither an event that it cannot take nor one of an order that is held keeps the rest from it.
func (e *endpoint) probe(ctx context.Context) {
	if len(e.ready) == 0 && len(e.due) == 0 || !e.slot() {
		return
	}
	told, wait := e.circuit.Allow()
	if told == nil {
		e.free()
		e.wakeAt.in(wait)
		return
	}
	e.probes++
	h := e.nextDue()
	if h == nil && len(e.due) > 0 {
		if h = e.due[e.probes/2%len(e.due)]; h.lane.busy {
			h = nil
		}
	}
	switch {
	case len(e.ready) > 0 && (h == nil || e.probes%2 == 1):
		e.startFresh(ctx, told, true)
	case h != nil:
		e.startHeld(ctx, h, told)
	default:
		e.free()
		told(&webhook.Attempt{Kind: webhook.Cancelled})
	}
}

func (e *endpoint) startFresh(ctx context.Context, told func(*webhook.Attempt), probe bool) {
	l := e.ready[0]
	e.ready[0] = nil
	e.ready = e.ready[1:]
	l.queued, l.busy = false, true
	it := l.queue[0]
	it.tries++
	number := it.tries
	go func() {
		r := result{from: fresh, lane: l, item: it, event: it.told, told: told, probe: probe}
		r.attempt = e.attempt(ctx, it.told, it.body, number, false)
		e.results <- r
	}()
}

// startHeld tries the first of an order's parked events. probed is told of it where it is a probe; one that comes before its time does
// not count.
func (e *endpoint) startHeld(ctx context.Context, h *held, probed func(*webhook.Attempt)) {
	early := probed != nil && h.nextAt.After(e.house.cfg.Now())
	e.due.remove(h)
	h.lane.busy = true
	position, number := h.positions[0], h.attempts+h.extra+1
	marked := h.marked[position]
	go func() {
		r := result{from: retried, lane: h.lane, told: probed, probe: early}
		var body []byte
		err := e.house.reading(ctx, func() (err error) {
			r.event, body, err = e.house.again(ctx, &e.delivered, position)
			return err
		})
		if err != nil {
			r.attempt = unread(ctx, err)
		} else {
			r.attempt = e.attempt(ctx, r.event, body, number, marked)
		}
		e.results <- r
	}()
}

// unread is an attempt that was not made, since the event could not be read.
func unread(ctx context.Context, err error) webhook.Attempt {
	pause(ctx, readRetry)
	return webhook.Attempt{Kind: webhook.Cancelled, Err: err}
}

// attempt sends an event once, and keeps what came of it.
func (e *endpoint) attempt(ctx context.Context, event *told, body []byte, number int, replay bool) webhook.Attempt {
	n := &event.notice
	if replay {
		body = marked(body)
	}
	id := deliveryID(e.sub.ID, n.Position)
	made := e.house.send(ctx, &e.delivered, message{
		id: n.ID, body: body, delivery: id, number: number, replay: replay, traceparent: n.Traceparent,
	})
	if made.Kind == webhook.Cancelled {
		return made
	}
	e.house.ledger.record(ctx, attemptRow{
		id: uuid.Must(uuid.NewV7()), subscription: e.sub.ID, at: e.house.cfg.Now(), position: n.Position, delivery: id, order: n.Subject,
		kind: string(n.Type), number: number, replay: replay, made: made,
	})
	return made
}

// message is one request to an endpoint.
type message struct {
	id          string
	body        []byte
	delivery    uuid.UUID
	number      int
	replay      bool
	traceparent string
}

func (d *Dispatcher) send(ctx context.Context, to *delivered, m message) webhook.Attempt {
	made := sendWebhook(ctx, d.cfg.Sender, &to.settings, to.keys, m, d.cfg.Now())
	d.metrics.attempted(&made)
	return made
}

// sendWebhook makes one attempt within the time that the endpoint has.
func sendWebhook(ctx context.Context, by *webhook.Sender, to *webhookSettings, keys []webhook.Term, m message, now time.Time) webhook.Attempt {
	ctx, cancel := context.WithTimeout(ctx, to.timeout())
	defer cancel()
	headers := make(map[string]string, 4)
	headers["Orderstore-Delivery"] = m.delivery.String()
	headers["Orderstore-Attempt"] = strconv.Itoa(m.number)
	if m.replay {
		headers["Orderstore-Replay"] = "true"
	}
	if m.traceparent != "" {
		headers["Traceparent"] = m.traceparent
	}
	return by.Send(ctx, &webhook.Request{
		URL: to.URL, ID: m.id, Timestamp: now, Body: m.body, ContentType: eventType, Secrets: webhook.Live(keys, now), Headers: headers,
	})
}

// marked adds the member that says that an event is sent because its receiver asked for it again.
func marked(body []byte) []byte {
	return append(append(make([]byte, 0, len(body)+15), body[:len(body)-1]...), `,"replay":true}`...)
}

// reading bounds how many look into the read database at a time, so that those who catch up leave room for requests.
func (d *Dispatcher) reading(ctx context.Context, do func() error) error {
	select {
	case d.readers <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-d.readers }()
	return do()
}

// enrich puts to each event its order, where the subscription asks for it.
func (d *Dispatcher) enrich(ctx context.Context, by *delivered, all []*item) error {
	if !by.sub.IncludeOrder || len(all) == 0 {
		return nil
	}
	p := &page{}
	for _, it := range all {
		p.told = append(p.told, it.told)
	}
	if err := d.reader.addOrders(ctx, p, by.who); err != nil {
		return err
	}
	for i, it := range all {
		it.body = p.event(i)
	}
	return nil
}

// errNotThere says that the read side does not have an event any more, or not again yet.
var errNotThere = errors.New("the read side does not have the event")

// again reads one event that was told before.
func (d *Dispatcher) again(ctx context.Context, by *delivered, position int64) (*told, []byte, error) {
	all, err := d.events(ctx, by, []int64{position})
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%w: %d", errNotThere, position)
	}
	return all[0].told, all[0].body, nil
}

// events reads events by their positions. Those that the read side does not have are left out.
func (d *Dispatcher) events(ctx context.Context, by *delivered, at []int64) ([]*item, error) {
	found, err := readEvents(ctx, d.reader.pool, at)
	if err != nil {
		return nil, err
	}
	items := itemsOf(found)
	return items, d.enrich(ctx, by, items)
}
