package command

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

// Command is one change that somebody asked for. The committer loads what it wants and applies it with others in one round.
type Command interface {
	wants(w *wants)
	apply(r *round) (reply, error)
}

// orderRef is the client's own name of an order, unique for ever.
type orderRef struct{ tenant, channel, externalRef string }

// resultRef is a provider's own name of a result, unique for ever.
type resultRef struct{ provider, resultID string }

// wants is what the commands of a round must have loaded.
type wants struct {
	orders  []string
	refs    []orderRef
	tasks   []string
	results []resultRef
	keys    []keyRef
	facts   []factRef
	placing []string // tenants with new orders
	first   bool     // look up keys before anything is stored: a repeated command would not run into what is stored already
}

// orderState is an order as the committer holds it: what is stored, and what this round made of it.
type orderState struct {
	order    *events.Order
	hash     [sha256.Size]byte
	encoded  []byte // the document's bytes as of the last round
	position int64  // of its last event
	stored   bool   // a row is there
	touched  bool   // this round changed it
}

// reply says how a command is answered once the round is committed.
type reply struct {
	status   int
	order    *orderState
	task     string // answer with this task of the order instead
	document []byte // answer with this instead of an order
	position int64  // of the event that the document comes from
	created  bool
	replayed bool
}

// round is one transaction in the making: the state it starts from, and all that its commands change.
type round struct {
	at       time.Time
	registry *Registry
	orders   map[string]*orderState
	byRef    map[orderRef]*orderState
	byTask   map[string]*orderState
	results  map[resultRef][sha256.Size]byte
	answers  map[keyRef]storedAnswer
	facts    map[factRef]fact

	checked bool // references, results and keys were looked up
	from    head // the log's end that all of the above is the state of
	events  []events.Event
	touched []*orderState
	tasks   []taskRow
	posted  []*PostResult
	kept    []keptAnswer
	told    []factRef // facts that are new
	entries []entry
	// destroyed are the customers' keys that this round destroys.
	destroyed []string
	// sealedUnder are the keys that this round's customers are sealed under.
	sealedUnder map[string]bool
	loads       map[string]int64 // change of open tasks by provider
	// circuits are those that this round changed, as they were before it.
	circuits map[string]circuit
	reports  map[string]loadReport // by provider
	quotas   map[string]*quota     // of tenants that have one
	// deadlines are those of the tasks that this round changed; zero: none any more.
	deadlines map[string]deadline
}

type taskRow struct{ id, orderID, provider string }

func newRound(from head, at time.Time, registry *Registry) *round {
	return &round{
		at: at, registry: registry, from: from,
		orders: map[string]*orderState{}, byRef: map[orderRef]*orderState{}, byTask: map[string]*orderState{},
		results: map[resultRef][sha256.Size]byte{}, answers: map[keyRef]storedAnswer{}, loads: map[string]int64{}, facts: map[factRef]fact{},
		circuits: map[string]circuit{}, reports: map[string]loadReport{}, quotas: map[string]*quota{},
		deadlines: map[string]deadline{}, sealedUnder: map[string]bool{},
	}
}

// next is the position that the next event gets.
func (r *round) next() int64 { return r.from.position + int64(len(r.events)) + 1 }

// decide starts a decision on an order as it stands in this round.
func (r *round) decide(state *orderState, traceparent string) *Decision {
	var order *events.Order
	if state != nil {
		order = state.order
	}
	return NewDecision(order, r.registry, r.at, r.next(), traceparent)
}

// run decides a command on an order and takes over what it did. It tells whether that was nothing.
func (r *round) run(state *orderState, traceparent string, command decider) (replayed bool, err error) {
	d := r.decide(state, traceparent)
	if err := command.decide(d); err != nil {
		return false, err
	}
	if len(d.Events) == 0 {
		return true, nil
	}
	r.change(d, state)
	return false, nil
}

// know makes an order that was loaded findable.
func (r *round) know(state *orderState) {
	o := state.order
	r.orders[o.ID] = state
	r.byRef[orderRef{o.Tenant, o.Channel, o.ExternalRef}] = state
	for i := range o.Tasks {
		r.byTask[o.Tasks[i].ID] = state
	}
}

// place takes over the decision on a new order.
func (r *round) place(d *Decision, s *Submission) *orderState {
	state := &orderState{order: d.Order, hash: s.Hash}
	r.change(d, state)
	r.know(state)
	return state
}

// change takes over a decision's events.
func (r *round) change(d *Decision, state *orderState) {
	r.events = append(r.events, d.Events...)
	if !state.touched {
		state.touched = true
		r.touched = append(r.touched, state)
	}
	state.position = r.events[len(r.events)-1].Position
	for i := range d.Events {
		r.account(&d.Events[i], state)
		r.hear(&d.Events[i])
	}
}

// account notes what follows from an event beside the order's document.
func (r *round) account(e *events.Event, state *orderState) {
	if e.TaskID == "" {
		return
	}
	r.remind(state.order.Task(e.TaskID), e.Type == events.TaskOffered)
	switch data := e.Data.(type) {
	case *events.Offered:
		r.tasks = append(r.tasks, taskRow{e.TaskID, e.OrderID, e.Provider})
		r.byTask[e.TaskID] = state
		r.load(e.Provider, 1)
	case *events.Rejection, *events.Expiry, *events.Withdrawal:
		r.load(e.Provider, -1)
	case *events.ResultPosted:
		if !data.TaskStatus.Open() && !data.Late {
			r.load(e.Provider, -1)
		}
	case *events.DelegationAnswered:
		r.remind(state.order.Task(data.ChildTaskID), false)
		if !data.ChildStatus.Open() && !data.Late && data.ResultID != "" {
			r.load(data.ChildProvider, -1)
		}
	}
}

// remind notes when a task, which may be fresh from this round, is to be looked at. A task that never had a deadline has none to be
// noted or taken away.
func (r *round) remind(task *events.Task, fresh bool) {
	if task.AcceptBy.IsZero() && task.CompleteBy.IsZero() && task.AnswerBy.IsZero() {
		return
	}
	due, _ := task.Due()
	r.deadlines[task.ID] = deadline{at: due, fresh: fresh || r.deadlines[task.ID].fresh}
}

// load counts at once, so that the next order of the same round sees it; a round that fails is counted back.
func (r *round) load(provider string, by int64) {
	r.loads[provider] += by
	r.registry.open[provider] += by
}

// undo takes back what load and hear did to the registry.
func (r *round) undo() {
	for provider, before := range r.circuits {
		r.registry.setCircuit(provider, before)
	}
	for provider, by := range r.loads {
		r.registry.open[provider] -= by
	}
}

// post notes a result, so that the same one again in this round is a replay.
func (r *round) post(c *PostResult) {
	r.posted = append(r.posted, c)
	r.results[resultRef{c.Provider, c.Result.ResultID}] = c.Hash
}

// enter notes a change of the registry: an event and the entry that it stores. It takes effect with the next round.
func (r *round) enter(e events.Event, kind, id string, document []byte) {
	e.Position = r.next()
	r.events = append(r.events, e)
	r.entries = append(r.entries, entry{Kind: kind, ID: id, Position: e.Position, Document: document})
}

// plan is a round in the bytes that are stored.
type plan struct {
	from, to head
	records  []record
}

type record struct {
	position int64
	subject  string
	body     []byte
	digest   events.Digest
	fact     events.Appended
}

// encode makes the bytes of events and orders, and chains the digests.
func (r *round) encode() (*plan, error) {
	p := &plan{from: r.from, to: r.from, records: make([]record, len(r.events))}
	for i := range r.events {
		e := &r.events[i]
		body, err := e.Encode()
		if err != nil {
			return nil, err
		}
		p.to = head{position: e.Position, digest: p.to.digest.Next(e.Position, body)}
		if seeded.On(seeded.DigestNotChained) {
			p.to.digest = p.from.digest.Next(e.Position, body)
		}
		p.records[i] = record{position: e.Position, subject: e.Subject(), body: body, digest: p.to.digest, fact: events.Appended{Event: e}}
	}
	return p, r.encodeOrders(p)
}

// encodeOrders makes the bytes of the orders that were changed, beside the last event of each.
func (r *round) encodeOrders(p *plan) error {
	for _, state := range r.touched {
		encoded, err := state.order.Encode()
		if err != nil {
			return err
		}
		state.encoded = encoded
		p.records[state.position-r.from.position-1].fact.Document = encoded
	}
	return nil
}

// recent gives the records as the relay copies them.
func (p *plan) recent() []stream.Record {
	all := make([]stream.Record, len(p.records))
	for i := range p.records {
		r := &p.records[i]
		all[i] = stream.Record{Position: r.position, Digest: r.digest, Subject: r.subject, Body: r.body, Fact: &r.fact}
	}
	return all
}

// openQuantities renders a line-by-line array of what is open, as Postgres reads a bigint[].
func openQuantities(o *events.Order) string { return perLine(o, events.Quantities.Open) }

// keptQuantities renders what is fulfilled and has not come back; nil where nothing has.
func keptQuantities(o *events.Order) *string {
	if len(o.Returns) == 0 {
		return nil
	}
	kept := perLine(o, events.Quantities.Kept)
	return &kept
}

func perLine(o *events.Order, of func(events.Quantities) int64) string {
	b := make([]byte, 0, 4*len(o.Lines)+2)
	b = append(b, '{')
	for i := range o.Lines {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, of(o.Lines[i].Quantities))
	}
	return string(append(b, '}'))
}
