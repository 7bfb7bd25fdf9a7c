package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// orderBill is what an order costs, by what became of its units. It folds the few events that change that.
type orderBill struct {
	Tenant   string             `json:"tenant"`
	Channel  string             `json:"channel"`
	Ref      string             `json:"ref"`
	Currency string             `json:"currency"`
	Status   events.OrderStatus `json:"status"`
	PlacedAt time.Time          `json:"placed_at"`
	Customer *events.Customer   `json:"customer,omitempty"`
	Lines    []orderBillLine    `json:"lines"`
	Shipping int64              `json:"shipping"`
}

type orderBillLine struct {
	events.PlacedLine
	Fulfilled int64 `json:"fulfilled,omitempty"`
	Gone      int64 `json:"gone,omitempty"` // rejected or cancelled
	Back      int64 `json:"back,omitempty"` // of what was fulfilled
}

func (l *orderBillLine) open() int64 { return l.Quantity - l.Fulfilled - l.Gone }

func (b *orderBill) line(id string) *orderBillLine {
	i := slices.IndexFunc(b.Lines, func(l orderBillLine) bool { return l.LineID == id })
	if i < 0 {
		return &orderBillLine{}
	}
	return &b.Lines[i]
}

func billOf(e *events.Event, p *events.Placed) *orderBill {
	b := &orderBill{
		Tenant: e.Tenant, Channel: p.Channel, Ref: p.ExternalRef, Currency: p.Currency, Status: e.Status, PlacedAt: e.Time,
		Customer: p.Customer, Shipping: p.Shipping, Lines: make([]orderBillLine, len(p.Lines)),
	}
	for i := range p.Lines {
		b.Lines[i].PlacedLine = p.Lines[i]
	}
	return b
}

// billed tells whether an event may change a bill or ends it.
func billed(t events.Type) bool {
	switch t {
	case events.OrderPlaced, events.OrderAmended, events.OrderCancelled, events.OrderCompleted, events.OrderRejected, events.TaskResultPosted,
		events.OrderReturned:
		return true
	}
	return false
}

// take counts an event. Where several providers hold the same unit, its first outcome stands, as in the order itself.
func (b *orderBill) take(e *events.Event) {
	if e.Status != "" {
		b.Status = e.Status
	}
	switch data := e.Data.(type) {
	case *events.Amended:
		b.amend(data)
	case *events.OrderCancellation:
		for _, given := range data.Lines {
			b.line(given.LineID).Gone += given.Quantity
		}
	case *events.OrderReturn:
		for _, back := range data.Lines {
			b.line(back.LineID).Back += back.Quantity
		}
	case *events.ResultPosted:
		if data.Late {
			return
		}
		for _, done := range data.Lines {
			line := b.line(done.LineID)
			counted := min(done.Quantity, line.open())
			if done.Outcome == events.LineFulfilled {
				line.Fulfilled += counted
			} else {
				line.Gone += counted
			}
		}
	}
}

func (b *orderBill) amend(data *events.Amended) {
	lines := make([]orderBillLine, len(data.Lines))
	for i := range data.Lines {
		lines[i] = *b.line(data.Lines[i].LineID)
		lines[i].PlacedLine = data.Lines[i]
	}
	b.Lines, b.Shipping = lines, data.Shipping
	if slices.Contains(data.Changed, events.PartCustomer) {
		b.Customer = data.Customer
	}
}

// ended tells whether nothing more is to come after the event. A cancellation of what was left of an order ends with
// order.completed.
func (b *orderBill) ended(t events.Type) bool {
	return t == events.OrderCompleted || t == events.OrderRejected ||
		t == events.OrderCancelled && b.Status == events.OrderStatusCancelled
}

// billLine is a line of which something was delivered. Amounts are in minor units of the currency.
type billLine struct {
	LineID    string `json:"line_id"`
	SKU       string `json:"sku"`
	Name      string `json:"name,omitempty"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount"`
	Net       int64  `json:"net"` // quantity x unit_price - discount
	Tax       int64  `json:"tax"`
	Total     int64  `json:"total"` // net + tax
}

// delivered is what was delivered of the order and has not come back before its end. Discount and tax of a line are shared out by quantity, rounded to the nearest
// minor unit.
func (b *orderBill) delivered() []billLine {
	lines := []billLine{}
	for i := range b.Lines {
		l := &b.Lines[i]
		kept := l.Fulfilled - l.Back
		if kept == 0 {
			continue
		}
		discount, tax := share(l.Discount, kept, l.Quantity), share(l.Tax, kept, l.Quantity)
		net := kept*l.UnitPrice - discount
		lines = append(lines, billLine{
			LineID: l.LineID, SKU: l.SKU, Name: l.Name, Quantity: kept, UnitPrice: l.UnitPrice,
			Discount: discount, Net: net, Tax: tax, Total: net + tax,
		})
	}
	return lines
}

// total is what is to be paid for what was delivered. Shipping is paid once anything was.
func (b *orderBill) total() int64 {
	var sum int64
	lines := b.delivered()
	for i := range lines {
		sum += lines[i].Total
	}
	if len(lines) > 0 {
		sum += b.Shipping
	}
	return sum
}

// share is amount x part / whole, rounded half up. The product may need more than 64 bits.
func share(amount, part, whole int64) int64 {
	if part == whole {
		return amount
	}
	twice := new(big.Int).Mul(big.NewInt(2*part), big.NewInt(amount))
	twice.Add(twice, big.NewInt(whole))
	return twice.Div(twice, big.NewInt(2*whole)).Int64()
}

const selectBills = `SELECT order_id::text, bill FROM order_bills WHERE system = $1 AND order_id = ANY ($2::text[]::uuid[])`

const upsertBills = `
INSERT INTO order_bills (system, order_id, bill)
SELECT $1, b.order_id::uuid, b.bill FROM unnest($2::text[], $3::bytea[]) AS b (order_id, bill)
ON CONFLICT (system, order_id) DO UPDATE SET bill = excluded.bill`

const deleteBills = `DELETE FROM order_bills WHERE system = $1 AND order_id = ANY ($2::text[]::uuid[])`

const resetBills = `DELETE FROM order_bills WHERE system = $1`

// bills are the bills of a batch's orders.
type bills struct {
	system string
	all    map[string]*orderBill // nil: ended
	stored map[string]bool
}

// foldBills takes a batch's events into the system's bills and tells of each event and the bill after it. keep says what of a
// new bill the system needs.
func foldBills(ctx context.Context, tx pgx.Tx, system string, batch Batch, keep func(*orderBill), each func(*events.Event, *orderBill) error) error {
	b := bills{system: system, all: map[string]*orderBill{}, stored: map[string]bool{}}
	if err := b.load(ctx, tx, batch.Events); err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if !billed(e.Type) {
			continue
		}
		bill := b.all[e.OrderID]
		if placed, ok := e.Data.(*events.Placed); ok {
			bill = billOf(e, placed)
			b.all[e.OrderID] = bill
		}
		if bill == nil {
			continue // ended: what comes now is late and counts nothing
		}
		bill.take(e)
		keep(bill)
		if err := each(e, bill); err != nil {
			return err
		}
		if bill.ended(e.Type) {
			b.all[e.OrderID] = nil
		}
	}
	return b.save(ctx, tx)
}

func (b *bills) load(ctx context.Context, tx pgx.Tx, all []events.Event) error {
	var ids []string
	placed := map[string]bool{}
	for i := range all {
		e := &all[i]
		switch {
		case e.Type == events.OrderPlaced:
			placed[e.OrderID] = true
		case billed(e.Type) && !placed[e.OrderID]:
			ids = append(ids, e.OrderID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectBills, b.system, distinct(ids))
	if err != nil {
		return fmt.Errorf("read bills: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var document []byte
		if err := rows.Scan(&id, &document); err != nil {
			return fmt.Errorf("read bills: %w", err)
		}
		bill := new(orderBill)
		if err := json.Unmarshal(document, bill); err != nil {
			return fmt.Errorf("decode bill of order %s: %w", id, err)
		}
		b.all[id], b.stored[id] = bill, true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read bills: %w", err)
	}
	return nil
}

func (b *bills) save(ctx context.Context, tx pgx.Tx) error {
	var open, over []string
	var documents [][]byte
	for id, bill := range b.all {
		switch {
		case bill == nil && b.stored[id]:
			over = append(over, id)
		case bill != nil:
			document, err := json.Marshal(bill)
			if err != nil {
				return fmt.Errorf("encode bill of order %s: %w", id, err)
			}
			open, documents = append(open, id), append(documents, document)
		}
	}
	if len(open) > 0 {
		if _, err := tx.Exec(ctx, upsertBills, b.system, open, documents); err != nil {
			return fmt.Errorf("store bills: %w", err)
		}
	}
	if len(over) > 0 {
		if _, err := tx.Exec(ctx, deleteBills, b.system, over); err != nil {
			return fmt.Errorf("remove bills: %w", err)
		}
	}
	return nil
}
