package check

import (
	"encoding/json"
	"slices"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/chaos/history"
)

// change folds an event into its order.
func (l *ledger) change(s *story, e *events.Event) {
	had := s.last()
	next, counted := entry{total: had.total, results: had.results, customer: had.customer}, true
	switch data := e.Data.(type) {
	case *events.Amended:
		l.amend(s, e, data, &next)
	case *events.OrderCancellation:
		s.cancelled++
		if s.cancelled > 1 {
			l.report.add(5, "log", "order %s is cancelled twice, again at %d", s.id, e.Position)
		}
		for _, given := range data.Lines {
			l.settle(s, e, given.LineID, given.Quantity, events.LineCancelled)
		}
		l.cancel(data.Reason, e, &next)
	case *events.CancellationAsked:
		counted = false
		l.cancel(data.Reason, e, &next)
	case *events.ResultPosted:
		l.post(s, e, data, &next)
	case *events.OrderReturn:
		for i := range data.Lines {
			if c := s.line(data.Lines[i].LineID); c != nil {
				c.returned += data.Lines[i].Quantity
			}
			l.stock.back(e, &data.Lines[i])
		}
	default:
		counted = false
	}
	l.turn(s, e)
	l.append(s, e, next, counted)
	if e.Status.AtEnd() {
		l.release(s, e)
	}
}

func (l *ledger) amend(s *story, e *events.Event, data *events.Amended, next *entry) {
	var marked struct {
		Mark string `json:"mark"`
	}
	if json.Unmarshal(data.Attributes, &marked) == nil && marked.Mark != "" && slices.Contains(data.Changed, events.PartAttributes) {
		if at, twice := l.amends[marked.Mark]; twice {
			l.report.add(5, "log", "amendment %s of order %s is applied twice, at %d and %d", marked.Mark, s.id, at, e.Position)
		} else {
			l.amends[marked.Mark] = e.Position
		}
		next.starts = startOf(history.Amend, marked.Mark)
	}
	next.total = data.Total
	if slices.Contains(data.Changed, events.PartCustomer) {
		next.customer = ""
		if data.Customer != nil && data.Customer.Sealed != "" {
			next.customer = sealedOf(data.Customer.Key, data.Customer.Sealed)
		}
	}
	lines := make([]line, len(data.Lines))
	for i := range data.Lines {
		given := &data.Lines[i]
		lines[i] = line{id: l.text(given.LineID), sku: l.text(given.SKU)}
		if have := s.line(given.LineID); have != nil {
			lines[i] = *have
			l.stock.reserve(e, have.sku, -have.open())
		}
		lines[i].ordered = given.Quantity
		l.stock.reserve(e, lines[i].sku, lines[i].open())
	}
	for i := range s.lines {
		if !slices.ContainsFunc(lines, func(c line) bool { return c.id == s.lines[i].id }) {
			l.stock.reserve(e, s.lines[i].sku, -s.lines[i].open())
		}
	}
	s.lines = lines
}

// cancel notes where a reason is named first.
func (l *ledger) cancel(reason string, e *events.Event, next *entry) {
	if reason == "" {
		return
	}
	if _, had := l.cancels[reason]; !had {
		l.cancels[reason] = e.Position
		next.starts = startOf(history.Cancel, reason)
	}
}

func resultKey(provider, id string) string { return provider + " " + id }

func (l *ledger) post(s *story, e *events.Event, data *events.ResultPosted, next *entry) {
	key := resultKey(e.Provider, data.ResultID)
	l.results[key] = append(l.results[key], e.Position)
	if len(l.results[key]) > 1 {
		l.report.add(6, "log", "result %s of %s is applied twice, at %d and %d", data.ResultID, e.Provider, l.results[key][0], e.Position)
	}
	next.results++
	next.starts = startOf(history.Result, key)
	if data.Late {
		return
	}
	for _, done := range data.Lines {
		l.settle(s, e, done.LineID, done.Quantity, done.Outcome)
	}
}

// settle counts units of a line that are open no more. Where several tasks hold a line the first outcome of a unit stands.
func (l *ledger) settle(s *story, e *events.Event, lineID string, quantity int64, outcome events.LineOutcome) {
	c := s.line(lineID)
	if c == nil {
		l.report.add(2, "log", "%s at %d is of line %q, which order %s has not", e.Type, e.Position, lineID, s.id)
		return
	}
	n := min(quantity, c.open())
	switch outcome {
	case events.LineFulfilled:
		c.fulfilled += n
	case events.LineRejected:
		c.rejected += n
	case events.LineCancelled:
		c.cancelled += n
	}
	l.stock.reserve(e, c.sku, -n)
	if outcome == events.LineFulfilled && n > 0 {
		l.stock.sell(e, c.sku, n)
	}
}

// release frees what an order at its end still holds.
func (l *ledger) release(s *story, e *events.Event) {
	for i := range s.lines {
		if open := s.lines[i].open(); open > 0 {
			l.report.add(4, "log", "order %s is %s at %d with %d of line %s open", s.id, e.Status, e.Position, open, s.lines[i].id)
		}
	}
}

// turn keeps what a task's status was.
func (l *ledger) turn(s *story, e *events.Event) {
	if e.TaskID == "" {
		return
	}
	t := l.tasks[e.TaskID]
	if _, offered := e.Data.(*events.Offered); offered && t == nil {
		t = &taskStory{provider: l.text(e.Provider), tenant: s.tenant, order: s.id}
		l.tasks[e.TaskID] = t
		s.providers[t.provider] = true
	}
	if t == nil {
		l.report.add(2, "log", "%s at %d is of task %s, which was not offered", e.Type, e.Position, e.TaskID)
		return
	}
	if status := statusAfter(e); status != "" {
		t.positions, t.statuses = append(t.positions, e.Position), append(t.statuses, l.text(status))
	}
	if answered, ok := e.Data.(*events.DelegationAnswered); ok && answered.ResultID != "" && !answered.Late {
		if child := l.tasks[answered.ChildTaskID]; child != nil {
			child.positions, child.statuses = append(child.positions, e.Position), append(child.statuses, string(answered.ChildStatus))
		}
	}
}

// statusAfter is a task's status after an event of it; empty where that does not change it.
func statusAfter(e *events.Event) string {
	switch data := e.Data.(type) {
	case *events.ResultPosted:
		if data.Late {
			return ""
		}
		return string(data.TaskStatus)
	case *events.Resumed:
		return string(data.TaskStatus)
	case *events.DelegationAnswered:
		return string(data.TaskStatus)
	}
	switch e.Type {
	case events.TaskOffered:
		return "offered"
	case events.TaskAccepted:
		return "accepted"
	case events.TaskRejected:
		return "rejected"
	case events.TaskExpired:
		return "expired"
	case events.TaskHeld:
		return "on_hold"
	case events.TaskCancelled:
		return "cancelled"
	case events.TaskCancellationRequested:
		return "cancellation_requested"
	case events.TaskCancellationRefused:
		return "cancellation_refused"
	case events.TaskDelegated:
		return "delegated"
	}
	return ""
}
