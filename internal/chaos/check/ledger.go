package check

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/chaos/history"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// ledger is what the log says, folded here and nowhere else.
type ledger struct {
	report  *Report
	rows    []told // by position - 1
	orders  map[string]*story
	byRef   map[string]*story // tenant, then channel/external_ref
	tasks   map[string]*taskStory
	amends  map[string]int64   // position by mark
	cancels map[string]int64   // position of the first event that names the reason
	results map[string][]int64 // positions by provider and result id
	facts   map[string][]int64 // positions of adjustments by tenant and id
	stock   stockBook
	texts   map[string]string // one copy of each
}

// told is what the log says of one event, as copies and parties have to have it.
type told struct {
	subject  string
	digest   [32]byte
	sum      [32]byte
	notice   string // history.DigestOf
	kind     events.Type
	tenant   string
	provider string
	order    string
	version  int64
}

// entry is an order after one of its events.
type entry struct {
	position    int64
	version     int64
	at          time.Time
	kind        events.Type
	starts      string // the kind of operation and the mark whose first event this is; empty: not known to be one's
	status      string
	fulfillment string
	total       int64
	results     int
	quantities  string
	customer    string
}

// story is an order from its first event to its last.
type story struct {
	id, tenant, ref string
	mark            string // of what was submitted
	entries         []entry
	lines           []line
	providers       map[string]bool
	cancelled       int // order.cancelled events
}

// line is what is counted of an order's line.
type line struct {
	id, sku                                           string
	ordered, fulfilled, rejected, cancelled, returned int64
}

func (l *line) open() int64 { return l.ordered - l.fulfilled - l.rejected - l.cancelled }

// last is how the order stands.
func (s *story) last() *entry { return &s.entries[len(s.entries)-1] }

// asOf is how the order stood at a position; nil: it was not there.
func (s *story) asOf(position int64) *entry {
	for i := len(s.entries) - 1; i >= 0; i-- {
		if s.entries[i].position <= position {
			return &s.entries[i]
		}
	}
	return nil
}

func (s *story) line(id string) *line {
	for i := range s.lines {
		if s.lines[i].id == id {
			return &s.lines[i]
		}
	}
	return nil
}

// taskStory is a task and the statuses that it had.
type taskStory struct {
	provider, tenant, order string
	positions               []int64
	statuses                []string
}

func (t *taskStory) asOf(position int64) string {
	status := ""
	for i, at := range t.positions {
		if at <= position {
			status = t.statuses[i]
		}
	}
	return status
}

func newLedger(report *Report) *ledger {
	return &ledger{
		report: report, orders: map[string]*story{}, byRef: map[string]*story{}, tasks: map[string]*taskStory{}, amends: map[string]int64{},
		cancels: map[string]int64{}, results: map[string][]int64{}, facts: map[string][]int64{}, texts: map[string]string{},
		stock: stockBook{items: map[stockKey]*item{}},
	}
}

// refKey is where an order is found by its reference.
func refKey(tenant, ref string) string { return tenant + " " + ref }

// text gives the one copy of a text that is kept.
func (l *ledger) text(s string) string {
	if had, ok := l.texts[s]; ok {
		return had
	}
	l.texts[s] = s
	return s
}

// take reads the log's next row: its place in the chain, and what it says.
func (l *ledger) take(r *row) error {
	expected := int64(len(l.rows)) + 1
	if r.Position != expected {
		l.report.add(2, "log", "position %d comes after %d", r.Position, expected-1)
	}
	for expected < r.Position { // so that what follows is found where it is
		l.rows = append(l.rows, told{})
		expected++
	}
	if r.Position < expected {
		return nil
	}
	t := told{subject: l.text(r.Subject), sum: sha256.Sum256(r.Body)}
	if raw, err := hex.DecodeString(r.Digest); err != nil || copy(t.digest[:], raw) != len(t.digest) {
		l.report.add(2, "log", "position %d has no digest", r.Position)
	}
	previous := [32]byte{}
	if len(l.rows) > 0 {
		previous = l.rows[len(l.rows)-1].digest
	}
	if chain(previous, r.Position, r.Body) != t.digest {
		l.report.add(2, "log", "the digest at %d does not follow from the one before and the event", r.Position)
	}
	e, err := events.Decode(r.Position, r.Body)
	if err != nil {
		l.report.add(2, "log", "position %d cannot be read: %v", r.Position, err)
		l.rows = append(l.rows, t)
		return nil
	}
	if e.Subject() != r.Subject {
		l.report.add(8, "log", "position %d is under subject %s, and is for %s", r.Position, r.Subject, e.Subject())
	}
	t.kind, t.tenant, t.provider, t.order, t.version = e.Type, l.text(e.Tenant), l.text(e.Provider), e.OrderID, e.OrderVersion
	t.notice = history.DigestOf(e.Position, string(e.Type), e.OrderID, e.OrderVersion, e.Tenant, e.BusinessType, e.Provider, e.TaskID, e.Time.UTC().Format(time.RFC3339Nano))
	l.rows = append(l.rows, t)
	l.fold(&e)
	return nil
}

// chain is SHA-256(previous ‖ position as 8 bytes, big endian ‖ body).
func chain(previous [32]byte, position int64, body []byte) [32]byte {
	buf := make([]byte, 0, 40+len(body))
	buf = append(buf, previous[:]...)
	for shift := 56; shift >= 0; shift -= 8 {
		buf = append(buf, byte(position>>shift)) //nolint:gosec // one byte of it is meant
	}
	return sha256.Sum256(append(buf, body...))
}

// at is what the log has at a position; nil: nothing.
func (l *ledger) at(position int64) *told {
	if position < 1 || position > int64(len(l.rows)) {
		return nil
	}
	return &l.rows[position-1]
}

// fold takes an event.
func (l *ledger) fold(e *events.Event) {
	switch data := e.Data.(type) {
	case *events.StockAdjustment:
		key := refKey(e.Tenant, data.AdjustmentID)
		l.facts[key] = append(l.facts[key], e.Position)
		if len(l.facts[key]) > 1 {
			l.report.add(5, "log", "adjustment %s is told of twice, at %d and %d", data.AdjustmentID, l.facts[key][0], e.Position)
		}
		for i := range data.Lines {
			l.stock.adjust(e, &data.Lines[i])
		}
		return
	case *events.Product:
		l.stock.item(data.Tenant, data.SKU, e.Position)
		return
	case *events.Placed:
		l.place(e, data)
		return
	}
	if e.OrderID == "" {
		return
	}
	s := l.orders[e.OrderID]
	if s == nil {
		l.report.add(2, "log", "%s at %d is of order %s, which was not placed before", e.Type, e.Position, e.OrderID)
		return
	}
	l.change(s, e)
}

func (l *ledger) place(e *events.Event, p *events.Placed) {
	s := &story{id: e.OrderID, tenant: l.text(e.Tenant), ref: workload.RefOf(p.Channel, p.ExternalRef), providers: map[string]bool{}}
	if l.orders[s.id] != nil {
		l.report.add(2, "log", "order %s is placed twice, again at %d", s.id, e.Position)
		return
	}
	key := refKey(s.tenant, s.ref)
	if had := l.byRef[key]; had != nil {
		l.report.add(5, "log", "reference %s of %s has two orders, %s and %s", s.ref, s.tenant, had.id, s.id)
	} else {
		l.byRef[key] = s
	}
	asked := make([]client.LineSubmission, len(p.Lines))
	for i := range p.Lines {
		given := &p.Lines[i]
		asked[i] = client.LineSubmission{SKU: given.SKU, Quantity: given.Quantity, UnitPrice: given.UnitPrice}
		s.lines = append(s.lines, line{id: l.text(given.LineID), sku: l.text(given.SKU), ordered: given.Quantity})
		l.stock.reserve(e, given.SKU, given.Quantity)
	}
	s.mark = workload.MarkOf(asked, p.Shipping)
	l.orders[s.id] = s
	first := entry{total: p.Total, starts: startOf(history.Submit, s.mark)}
	if p.Customer != nil && p.Customer.Sealed != "" {
		first.customer = sealedOf(p.Customer.Key, p.Customer.Sealed)
	}
	l.append(s, e, first, true)
}

// append adds how the order is after an event.
func (l *ledger) append(s *story, e *events.Event, next entry, counted bool) {
	version := int64(0)
	if len(s.entries) > 0 {
		had := s.last()
		version = had.version
		next.status, next.fulfillment, next.quantities = had.status, had.fulfillment, had.quantities
	}
	if e.OrderVersion != version+1 {
		l.report.add(2, "log", "%s at %d makes order %s version %d after %d", e.Type, e.Position, s.id, e.OrderVersion, version)
	}
	next.position, next.version, next.at, next.kind = e.Position, e.OrderVersion, e.Time, e.Type
	if e.Status != "" {
		next.status = l.text(string(e.Status))
	}
	if e.FulfillmentStatus != "" {
		next.fulfillment = l.text(string(e.FulfillmentStatus))
	}
	if counted {
		var b strings.Builder
		for i := range s.lines {
			c := &s.lines[i]
			writeQuantities(&b, c.id, c.ordered, c.fulfilled, c.rejected, c.cancelled, c.returned)
		}
		next.quantities = l.text(b.String())
	}
	s.entries = append(s.entries, next)
}

func startOf(kind history.Kind, mark string) string { return string(kind) + " " + mark }
