package command

import (
	"context"
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// Memory commits commands one by one and keeps what it commits in memory, and nowhere else: the decisions and the answers are those of a
// Committer, without a database. It is for those who play an order store, for minutes and some hundred orders; nothing is ever
// forgotten, and nothing lasts. No deadline ends a task.
type Memory struct {
	now   func() time.Time
	heard func([]events.Appended)

	mu       sync.Mutex
	head     head
	registry *Registry
	orders   map[string]*orderState
	byRef    map[orderRef]*orderState
	byTask   map[string]*orderState
	results  map[resultRef][sha256.Size]byte
	answers  map[keyRef]storedAnswer
	facts    map[factRef]fact
}

// NewMemory makes an empty one. heard is told what each command appended, in the order of the positions and before the command is
// answered; it must not call back.
func NewMemory(now func() time.Time, heard func([]events.Appended)) *Memory {
	return &Memory{
		now: now, heard: heard, registry: newRegistry(),
		orders: map[string]*orderState{}, byRef: map[orderRef]*orderState{}, byTask: map[string]*orderState{},
		results: map[resultRef][sha256.Size]byte{}, answers: map[keyRef]storedAnswer{},
		facts: map[factRef]fact{},
	}
}

// Submit commits a command. It returns a *fault.Error: what the command is refused for.
func (m *Memory) Submit(ctx context.Context, command Command, key *Key) (Answer, error) {
	if ctx.Err() != nil {
		return Answer{}, fault.Wrap(ctx.Err(), fault.Unavailable, "the request has ended")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.round()
	jobs := []*job{{command: command, key: key}}
	outcomes, replies, err := apply(r, jobs)
	if err != nil {
		return Answer{}, err
	}
	p, err := r.encode()
	if err != nil {
		return Answer{}, err
	}
	if err := answerAll(r, jobs, replies, outcomes); err != nil {
		return Answer{}, err
	}
	return outcomes[0].answer, m.adopt(r, p, outcomes[0].err)
}

// SubmitWaiting is Submit: nobody waits here.
func (m *Memory) SubmitWaiting(ctx context.Context, command Command) (Answer, error) {
	return m.Submit(ctx, command, nil)
}

// round is one that knows all there is.
func (m *Memory) round() *round {
	r := newRound(m.head, m.now().UTC().Truncate(time.Microsecond), m.registry)
	r.checked = true
	r.orders, r.byRef, r.byTask, r.results, r.answers, r.facts = m.orders, m.byRef, m.byTask, m.results, m.answers, m.facts
	return r
}

// adopt makes a round's outcome the state that the next one starts from. A command that was refused has left no events.
func (m *Memory) adopt(r *round, p *plan, refused error) error {
	m.head = p.to
	for _, state := range r.touched {
		state.stored, state.touched = true, false
	}
	for _, e := range r.entries {
		if err := m.registry.put(e); err != nil {
			return err
		}
	}
	if len(r.reports) > 0 {
		reports := maps.Clone(m.registry.reports)
		if reports == nil {
			reports = map[string]loadReport{}
		}
		maps.Copy(reports, r.reports)
		m.registry.reports = reports
	}
	if len(p.records) > 0 {
		facts := make([]events.Appended, len(p.records))
		for i := range p.records {
			facts[i] = p.records[i].fact
		}
		m.heard(facts)
	}
	return refused
}
