package command

import (
	"time"

	"github.com/orderstore/orderstore/events"
)

const (
	circuitFailures = 5                // tasks in a row that open a circuit
	circuitShortest = 30 * time.Second // open for the first time
	circuitLongest  = 10 * time.Minute // each time is twice the one before, up to this
)

// circuit keeps work away from a provider whose tasks fail, and finds out when they do not any more. Its zero value is closed.
// It is a fold of the events of the provider's tasks, written with them, so that it is the same on every node and after a
// restart.
type circuit struct {
	failures  int       // tasks in a row that expired or failed; counted while it is closed
	trips     int       // times in a row that it opened; 0: it is closed
	openUntil time.Time // from then on one task is tried: the probe
	probing   bool      // the probe is out. It is given up at openUntil, and another one is sent
}

// state says what to tell of the circuit at its face; a half-open one without a probe is told by asks.
func (c circuit) state() events.CircuitState {
	switch {
	case c.trips == 0:
		return ""
	case c.probing:
		return events.CircuitHalfOpen
	}
	return events.CircuitOpen
}

// asks says whether the provider may have work as others may.
func (c circuit) asks(at time.Time) bool { return c.trips == 0 || !at.Before(c.openUntil) }

// hear gives the circuit after an event of one of the provider's tasks. A rejection says nothing: who rejects is there, and has
// its reasons.
func (c circuit) hear(e *events.Event) circuit {
	switch data := e.Data.(type) {
	case *events.Offered:
		return c.offered(e.Time)
	case *events.Accepted:
		return c.accepted()
	case *events.ResultPosted:
		return c.posted(e.Time, data.Outcome, data.TaskStatus, data.Late)
	case *events.DelegationAnswered: // of the delegate's circuit
		return c.posted(e.Time, data.Outcome, data.ChildStatus, data.Late || data.ResultID == "")
	case *events.Expiry:
		return c.failed(e.Time)
	}
	return c
}

// posted is the circuit after a result. What became of the task of a late one was counted when that ended.
func (c circuit) posted(at time.Time, outcome events.Outcome, after events.TaskStatus, late bool) circuit {
	switch {
	case late:
		return c
	case outcome == events.OutcomeFailed:
		return c.failed(at)
	case after.Open():
		return c.accepted()
	}
	return circuit{}
}

// offered makes the first task of a half-open circuit its probe.
func (c circuit) offered(at time.Time) circuit {
	if c.trips > 0 && c.asks(at) {
		c.probing, c.openUntil = true, at.Add(openFor(c.trips))
	}
	return c
}

// accepted closes an open circuit. It does not end a row of failures: who accepts tasks and then lets them expire fails.
func (c circuit) accepted() circuit {
	if c.trips > 0 {
		return circuit{}
	}
	return c
}

// failed opens the circuit after enough failures in a row, and again, for longer, after a failure of the probe. Tasks that were
// offered before it opened, and fail while it is open, tell nothing new.
func (c circuit) failed(at time.Time) circuit {
	switch {
	case c.trips == 0:
		if c.failures++; c.failures < circuitFailures {
			return c
		}
	case !c.probing:
		return c
	}
	trips := c.trips + 1
	return circuit{trips: trips, openUntil: at.Add(openFor(trips))}
}

// openFor is how long a circuit stays open that has opened so many times in a row.
func openFor(trips int) time.Duration {
	d := circuitShortest
	for i := 1; i < trips && d < circuitLongest; i++ {
		d *= 2
	}
	return min(d, circuitLongest)
}

// hear lets an event count in its provider's circuit, at once, so that the next order of the same round sees it.
func (r *round) hear(e *events.Event) {
	provider := e.Provider
	if answered, ok := e.Data.(*events.DelegationAnswered); ok {
		provider = answered.ChildProvider
	}
	if provider == "" {
		return
	}
	before := r.registry.circuits[provider]
	after := before.hear(e)
	if after == before {
		return
	}
	if _, ok := r.circuits[provider]; !ok {
		r.circuits[provider] = before
	}
	r.registry.setCircuit(provider, after)
}

// setCircuit keeps only circuits that have something to say.
func (r *Registry) setCircuit(provider string, c circuit) {
	if c == (circuit{}) {
		delete(r.circuits, provider)
		return
	}
	r.circuits[provider] = c
}

const upsertCircuits = `
INSERT INTO provider_load AS l (provider, open, failures, trips, open_until, probing)
SELECT p, 0, f, t, u, b FROM unnest($1::text[], $2::int[], $3::int[], $4::timestamptz[], $5::boolean[]) AS c (p, f, t, u, b)
ON CONFLICT (provider) DO UPDATE
SET failures = excluded.failures, trips = excluded.trips, open_until = excluded.open_until, probing = excluded.probing`

// putCircuits stores the circuits that the round changed, as they are at its end. The compare-and-set of the log's head
// vouches for what they were before.
func putCircuits(query func(sql string, args ...any), r *round) {
	if len(r.circuits) == 0 {
		return
	}
	var providers []string
	var failures, trips []int
	var until []*time.Time
	var probing []bool
	for provider := range r.circuits {
		c := r.registry.circuits[provider]
		providers, failures, trips = append(providers, provider), append(failures, c.failures), append(trips, c.trips)
		probing = append(probing, c.probing)
		if c.openUntil.IsZero() {
			until = append(until, nil)
			continue
		}
		until = append(until, &c.openUntil)
	}
	query(upsertCircuits, providers, failures, trips, until, probing)
}
