package auxiliary

import (
	"fmt"
	"slices"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/seeded"
)

// stockKey names an SKU of a tenant.
type stockKey struct{ tenant, sku string }

// stockItem is what is known of an SKU.
type stockItem struct {
	stockKey
	name, vendorID         string
	reorderLevel           int64
	targetLevel            int64
	discontinued           bool
	listed, adjusted       bool
	onHand, reserved, sold int64
	received, onOrder      int64
	position               int64
	changed                bool // not as it is stored
}

// stockLine is what an order holds of an SKU.
type stockLine struct {
	LineID  string `json:"line_id"`
	SKU     string `json:"sku"`
	Ordered int64  `json:"ordered"`
	Open    int64  `json:"open"` // neither fulfilled, rejected nor cancelled: as events.Quantities counts it
}

// stockOrder is an order that may still hold goods.
type stockOrder struct {
	id, tenant string
	lines      []stockLine
	stored     bool // a row is there
	changed    bool
	ended      bool // nothing more will come of it: its row goes
}

func (o *stockOrder) line(id string) *stockLine {
	i := slices.IndexFunc(o.lines, func(l stockLine) bool { return l.LineID == id })
	if i < 0 {
		return nil
	}
	return &o.lines[i]
}

// stockBook is the part of the stock that some events change.
type stockBook struct {
	items  map[stockKey]*stockItem
	orders map[string]*stockOrder
}

func newStockBook() *stockBook {
	return &stockBook{items: map[stockKey]*stockItem{}, orders: map[string]*stockOrder{}}
}

// stockOrdersOf lists the orders that must be known before events are taken.
func stockOrdersOf(batch []events.Event) []string {
	placed, wanted := map[string]bool{}, []string{}
	for i := range batch {
		e := &batch[i]
		switch e.Data.(type) {
		case *events.Placed:
			placed[e.OrderID] = true
			continue
		case *events.Amended, *events.OrderCancellation, *events.ResultPosted:
		default:
			if !e.Status.AtEnd() {
				continue
			}
		}
		if e.OrderID != "" && !placed[e.OrderID] {
			wanted = append(wanted, e.OrderID)
		}
	}
	return distinct(wanted)
}

// skusOf lists the SKUs that events may change; the orders are known.
func (b *stockBook) skusOf(batch []events.Event) map[stockKey]bool {
	keys := map[stockKey]bool{}
	for _, o := range b.orders {
		for _, l := range o.lines {
			keys[stockKey{o.tenant, l.SKU}] = true
		}
	}
	for i := range batch {
		e := &batch[i]
		switch data := e.Data.(type) {
		case *events.Placed:
			addSKUs(keys, e.Tenant, data.Lines)
		case *events.Amended:
			addSKUs(keys, e.Tenant, data.Lines)
		case *events.OrderReturn:
			for _, l := range data.Lines {
				keys[stockKey{e.Tenant, l.SKU}] = true
			}
		case *events.StockAdjustment:
			for _, l := range data.Lines {
				keys[stockKey{e.Tenant, l.SKU}] = true
			}
		case *events.Product:
			keys[stockKey{data.Tenant, data.SKU}] = true
		}
	}
	return keys
}

func addSKUs(keys map[stockKey]bool, tenant string, lines []events.PlacedLine) {
	for i := range lines {
		keys[stockKey{tenant, lines[i].SKU}] = true
	}
}

func (b *stockBook) item(tenant, sku string) *stockItem {
	key := stockKey{tenant, sku}
	item := b.items[key]
	if item == nil {
		item = &stockItem{stockKey: key}
		b.items[key] = item
	}
	return item
}

// moved notes that an event changed the item.
func (i *stockItem) moved(at int64) { i.position, i.changed = at, true }

// reserve changes what orders hold.
func (i *stockItem) reserve(at, by int64) {
	if by != 0 {
		i.reserved += by
		i.moved(at)
	}
}

// back takes goods that a customer brought back: on the shelf again, or written off. What an adjustment had put back before is not
// sold any more: it counts as new on the shelf, and nothing is left of it to write off.
func (i *stockItem) back(at int64, l *events.ReturnedLine) {
	known := min(l.Quantity, i.sold)
	i.sold -= known
	i.received -= known
	if l.Restock {
		i.onHand += l.Quantity
		i.received += l.Quantity
	}
	i.moved(at)
}

// take folds one event.
func (b *stockBook) take(e *events.Event) error {
	switch data := e.Data.(type) {
	case *events.Product:
		b.list(e, data)
	case *events.StockAdjustment:
		for i := range data.Lines {
			b.adjust(e, &data.Lines[i])
		}
	case *events.OrderReturn:
		for i := range data.Lines {
			b.item(e.Tenant, data.Lines[i].SKU).back(e.Position, &data.Lines[i])
		}
	case *events.Placed:
		return b.place(e, data)
	default:
		return b.turn(e)
	}
	return nil
}

func (b *stockBook) list(e *events.Event, p *events.Product) {
	item := b.item(p.Tenant, p.SKU)
	item.name, item.vendorID, item.discontinued, item.listed = p.Name, p.VendorID, p.Discontinued, true
	item.reorderLevel, item.targetLevel = p.ReorderLevel, p.TargetLevel
	item.moved(e.Position)
}

// adjust takes over what the user says. A return puts back what was sold; only what exceeds that is new.
func (b *stockBook) adjust(e *events.Event, l *events.AdjustedStock) {
	item := b.item(e.Tenant, l.SKU)
	by := l.Delta
	if l.Counted != nil {
		by = *l.Counted - item.onHand
	}
	back := int64(0)
	if l.Counted == nil && l.Reason == events.ReasonReturn {
		back = max(0, min(by, item.sold))
	}
	item.onHand += by
	item.sold -= back
	item.received += by - back
	item.onOrder = max(0, item.onOrder+l.OnOrderDelta)
	item.adjusted = true
	item.moved(e.Position)
}

func (b *stockBook) place(e *events.Event, p *events.Placed) error {
	if b.orders[e.OrderID] != nil {
		return fmt.Errorf("order %s was placed before", e.OrderID)
	}
	o := &stockOrder{id: e.OrderID, tenant: e.Tenant, changed: true, lines: make([]stockLine, len(p.Lines))}
	for i := range p.Lines {
		l := &p.Lines[i]
		o.lines[i] = stockLine{LineID: l.LineID, SKU: l.SKU, Ordered: l.Quantity, Open: l.Quantity}
		b.hold(e, l)
	}
	b.orders[o.id] = o
	b.settle(e, o)
	return nil
}

// hold reserves a line's units. An SKU that the catalog does not know has the name by which it was first ordered.
func (b *stockBook) hold(e *events.Event, l *events.PlacedLine) {
	item := b.item(e.Tenant, l.SKU)
	if !item.listed && item.name == "" {
		item.name = l.Name
	}
	item.reserve(e.Position, l.Quantity)
}

// turn takes what changes an order's counters, as events.Apply counts them. Late results count nothing there, and a delegate's
// are told by an event of their own.
func (b *stockBook) turn(e *events.Event) error {
	o := b.orders[e.OrderID]
	if o == nil {
		return nil // an order at its end, or none
	}
	var err error
	switch data := e.Data.(type) {
	case *events.Amended:
		b.amend(e, o, data)
	case *events.OrderCancellation:
		for _, l := range data.Lines {
			err = b.settleLine(e, o, l.LineID, l.Quantity, events.LineCancelled)
			if err != nil {
				return err
			}
		}
	case *events.ResultPosted:
		if data.Late {
			break
		}
		for _, l := range data.Lines {
			if err = b.settleLine(e, o, l.LineID, l.Quantity, l.Outcome); err != nil {
				return err
			}
		}
	}
	b.settle(e, o)
	return nil
}

// settleLine books units of a line that are open no more. Where several tasks hold the same line the first outcome of a unit
// stands, so more may be told than is open.
func (b *stockBook) settleLine(e *events.Event, o *stockOrder, lineID string, quantity int64, outcome events.LineOutcome) error {
	l := o.line(lineID)
	if l == nil {
		return fmt.Errorf("order %s has no line %q", o.id, lineID)
	}
	n := min(quantity, l.Open)
	if n == 0 {
		return nil
	}
	l.Open -= n
	o.changed = true
	item := b.item(o.tenant, l.SKU)
	if outcome != events.LineCancelled || !seeded.On(seeded.StockHeld) {
		item.reserve(e.Position, -n)
	}
	if outcome == events.LineFulfilled {
		if seeded.On(seeded.StockTwice) {
			n *= 2
		}
		item.onHand -= n
		item.sold += n
	}
	return nil
}

// amend moves reservations to the lines as they are from now on. What was settled of a line that stays, stays.
func (b *stockBook) amend(e *events.Event, o *stockOrder, data *events.Amended) {
	lines := make([]stockLine, len(data.Lines))
	for i := range data.Lines {
		l := &data.Lines[i]
		lines[i] = stockLine{LineID: l.LineID, SKU: l.SKU, Ordered: l.Quantity, Open: l.Quantity}
		if have := o.line(l.LineID); have != nil {
			lines[i].Open -= have.Ordered - have.Open
		}
		held := *l
		held.Quantity = lines[i].Open
		b.hold(e, &held)
	}
	for _, l := range o.lines {
		b.item(o.tenant, l.SKU).reserve(e.Position, -l.Open)
	}
	o.lines, o.changed = lines, true
}

// settle ends an order of which nothing more will come. What it still held is free again; there is none by the state machine's
// rules.
func (b *stockBook) settle(e *events.Event, o *stockOrder) {
	if !e.Status.AtEnd() {
		return
	}
	for i := range o.lines {
		b.item(o.tenant, o.lines[i].SKU).reserve(e.Position, -o.lines[i].Open)
		o.lines[i].Open = 0
	}
	o.ended, o.changed = true, true
}
