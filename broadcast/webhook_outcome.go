package broadcast

import (
	"time"

	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	firstPause = time.Second // for an endpoint that asks for a pause and does not say how long
	mostPause  = time.Minute
)

// finish takes over what came of an attempt.
func (e *endpoint) finish(r result) {
	e.free()
	r.lane.busy = false
	made := &r.attempt
	if r.told != nil {
		r.told(verdict(made))
	}
	e.look()
	switch made.Kind {
	case webhook.Cancelled:
	case webhook.Delivered:
		e.succeeded()
	case webhook.Throttled:
		e.pauseFor(made)
	case webhook.Gone:
		e.disable(disabling{reason: made.Reason})
	default:
		e.failed(made)
	}
	switch r.from {
	case fresh:
		e.finishFresh(&r)
	case retried:
		e.finishHeld(&r)
	case replayed:
		e.replays.finish(e, &r)
	}
}

// verdict is what the circuit hears. An endpoint that takes nothing of what comes by its turn does not work, whatever it answers: of an
// order with an event that it cannot take, one event is tried by its turn, so it takes several such orders in a row to open the circuit.
func verdict(made *webhook.Attempt) *webhook.Attempt {
	switch made.Kind {
	case webhook.Rejected, webhook.Redirected:
		return &webhook.Attempt{Kind: webhook.Failed}
	}
	return made
}

// look sees whether the circuit has changed.
func (e *endpoint) look() {
	now := e.circuit.State()
	if now == e.state {
		return
	}
	was := e.state
	e.state, e.health.circuit = now, now
	e.feels()
	switch {
	case now == circuitClosed:
		e.recovered()
	case now == circuitOpen && was == circuitClosed:
		e.house.metrics.opened.Inc()
	}
}

// finishFresh is what comes of an attempt with an event whose turn it was.
func (e *endpoint) finishFresh(r *result) {
	l := r.lane
	switch kind := r.attempt.Kind; {
	case kind == webhook.Delivered, kind != webhook.Cancelled && seeded.On(seeded.WebhookDoneEarly):
		l.queue[0] = nil
		l.queue = l.queue[1:]
		e.complete(r.item)
	case kind == webhook.Cancelled, kind == webhook.Throttled, kind == webhook.Gone:
		// It stays the first of its order.
	case e.state == circuitClosed:
		e.park(r.item, &r.attempt)
	}
	e.offer(l)
}

func (e *endpoint) succeeded() {
	now := e.house.cfg.Now()
	e.throttled = 0
	e.health.lastSuccess = now
	if e.health.failingSince.IsZero() && e.health.throttledTill.IsZero() && now.Sub(e.beat) < beatEvery {
		return
	}
	e.beat = now
	e.health.failingSince, e.health.throttledTill = time.Time{}, time.Time{}
	e.feels()
}

// failed notes a failure, and disables the subscription when there was nothing else for too long.
func (e *endpoint) failed(made *webhook.Attempt) {
	now := e.house.cfg.Now()
	e.health.lastFailure, e.health.failure = now, made.Reason
	if e.health.failingSince.IsZero() {
		e.health.failingSince = now
	}
	e.feels()
	if now.Sub(e.health.failingSince) >= e.house.cfg.DisableAfter {
		e.disable(disabling{reason: "every attempt has failed since " + e.health.failingSince.UTC().Format(time.RFC3339) + ": " + made.Reason, notice: true})
	}
}

// pauseFor leaves the whole endpoint alone for as long as it asks for.
func (e *endpoint) pauseFor(made *webhook.Attempt) {
	now := e.house.cfg.Now()
	wait := made.RetryAfter
	if wait <= 0 {
		wait = min(firstPause<<min(e.throttled, 10), mostPause)
	}
	e.throttled++
	if to := now.Add(wait); to.After(e.pausedTo) {
		e.pausedTo = to
	}
	e.health.throttledTill, e.health.lastFailure, e.health.failure = e.pausedTo, now, made.Reason
	if e.health.failingSince.IsZero() {
		e.health.failingSince = now
	}
	e.feels()
	if now.Sub(e.health.failingSince) >= e.house.cfg.DisableAfter {
		e.disable(disabling{reason: "it asks for a pause at every attempt since " + e.health.failingSince.UTC().Format(time.RFC3339), notice: true})
	}
}

func (e *endpoint) feels() { e.house.ledger.feels(e.sub.ID, e.health) }

// disable ends the subscription's delivery until its party resumes it.
func (e *endpoint) disable(why disabling) {
	if e.stopping {
		return
	}
	e.stopping = true
	e.house.metrics.disabled.Inc()
	e.house.ledger.disable(e.sub.ID, why)
	e.house.cfg.Logger.Warn("a webhook subscription is disabled", "subscription", e.sub.ID, "name", e.sub.Name, "reason", why.reason)
}
