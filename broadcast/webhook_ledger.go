package broadcast

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/internal/webhook"
)

// Of what is not written yet, so many attempts are kept before those who make more have to wait.
const ledgerRoom = 8192

// The states of an event that was not delivered by its turn.
const (
	stateRetrying = "retrying" // the first parked of its order
	stateWaiting  = "waiting"  // behind it
	stateDead     = "dead"     // given up, kept for its party
	stateReplay   = "replay"   // its party asked for it again
)

// deliveryKey names an event for a subscription.
type deliveryKey struct {
	subscription uuid.UUID
	position     int64
}

// deliveryRow is an event that was not delivered by its turn, as it is stored.
type deliveryRow struct {
	order, kind string // the order's id, empty for none; the event's type
	state       string
	replay      bool
	attempts    int
	nextAt      time.Time // zero: as soon as its turn comes
	reason      string
	at          time.Time
}

// attemptRow is one attempt, as it is stored.
type attemptRow struct {
	id           uuid.UUID
	subscription uuid.UUID
	at           time.Time
	position     int64
	delivery     uuid.UUID
	order, kind  string
	number       int
	replay       bool
	made         webhook.Attempt
}

// healthRow is how an endpoint does, as it is stored.
type healthRow struct {
	circuit                                               string
	failingSince, lastSuccess, lastFailure, throttledTill time.Time // zero: never
	failure                                               string
}

// progress is up to where a subscription is done, and which count of moves that is about.
type progress struct {
	position int64
	moves    int64
}

// page of the ledger: what is written in one transaction. So a position is stored only with all that it stands on: the attempts that
// were made and the events that were parked.
type entries struct {
	attempts  []attemptRow
	parked    map[deliveryKey]*deliveryRow // nil: it was delivered
	positions map[uuid.UUID]progress
	health    map[uuid.UUID]healthRow
	disabled  map[uuid.UUID]disabling
}

// disabling is why a subscription is to be disabled.
type disabling struct {
	reason string
	notice bool // its party does not know, and is to be told
}

func newEntries() *entries {
	return &entries{
		parked: map[deliveryKey]*deliveryRow{}, positions: map[uuid.UUID]progress{}, health: map[uuid.UUID]healthRow{},
		disabled: map[uuid.UUID]disabling{},
	}
}

func (e *entries) empty() bool {
	return len(e.attempts) == 0 && len(e.parked) == 0 && len(e.positions) == 0 && len(e.health) == 0 && len(e.disabled) == 0
}

// subscriptions are those of which something is written beside attempts.
func (e *entries) subscriptions() []uuid.UUID {
	all := map[uuid.UUID]struct{}{}
	for key := range e.parked {
		all[key.subscription] = struct{}{}
	}
	for id := range e.positions {
		all[id] = struct{}{}
	}
	for id := range e.health {
		all[id] = struct{}{}
	}
	for id := range e.disabled {
		all[id] = struct{}{}
	}
	return slices.Collect(maps.Keys(all))
}

// ledger gathers what all endpoints of a node have done, for one writer. It is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	open    *entries
	writing *entries // nil: none
	room    chan struct{}
	full    chan struct{} // holds one signal: it should be written now
}

func newLedger() *ledger {
	return &ledger{open: newEntries(), room: make(chan struct{}), full: make(chan struct{}, 1)}
}

// record keeps an attempt. It waits while too many are not written yet, so that attempts are made no faster than they can be kept; one
// that was made is kept in any case.
func (l *ledger) record(ctx context.Context, row attemptRow) {
	for {
		l.mu.Lock()
		if len(l.open.attempts) < ledgerRoom || ctx.Err() != nil {
			l.open.attempts = append(l.open.attempts, row)
			if len(l.open.attempts) == ledgerRoom/4 {
				select {
				case l.full <- struct{}{}:
				default:
				}
			}
			l.mu.Unlock()
			return
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
	}
}

// crowded says whether those who only take more events should wait.
func (l *ledger) crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open.attempts) >= ledgerRoom || len(l.open.parked) >= 4*ledgerRoom
}

// park stores an event's state; a nil row: it was delivered.
func (l *ledger) park(key deliveryKey, row *deliveryRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.parked[key] = row
}

func (l *ledger) moved(id uuid.UUID, p progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.positions[id] = p
}

func (l *ledger) feels(id uuid.UUID, h healthRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.health[id] = h
}

func (l *ledger) disable(id uuid.UUID, why disabling) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.disabled[id] = why
}

// pending gives the positions of a subscription whose state is not stored yet. What is read from the store after the call and is not
// among them is as it stands.
func (l *ledger) pending(id uuid.UUID) map[int64]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[int64]bool{}
	for _, all := range []*entries{l.open, l.writing} {
		if all == nil {
			continue
		}
		for key := range all.parked {
			if key.subscription == id {
				found[key.position] = true
			}
		}
	}
	return found
}

// take hands over what is to be written; nil where there is nothing.
func (l *ledger) take() *entries {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.empty() {
		return nil
	}
	l.writing, l.open = l.open, newEntries()
	close(l.room)
	l.room = make(chan struct{})
	return l.writing
}

// written says that what was taken is stored.
func (l *ledger) written() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing = nil
}

// lost forgets what this node may no longer store, because others may deliver by now. They begin where the store is. Attempts were
// made all the same; those whose storing had no answer are stored once more.
func (l *ledger) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := newEntries()
	if l.writing != nil {
		kept.attempts = append(kept.attempts, l.writing.attempts...)
	}
	kept.attempts = append(kept.attempts, l.open.attempts...)
	l.open, l.writing = kept, nil
}
