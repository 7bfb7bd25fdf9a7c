package auxiliary

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// InvoiceName is the system that bills completed orders.
const InvoiceName = "invoice"

const (
	invoiceRecord = "invoice" // record id and kind
	creditRecord  = "credit_note"
	invoiceSchema = 1

	seriesInvoice = "INV"
	seriesCredit  = "CN"
)

// Invoices gives each completed order an invoice. Numbers run from 1 without a gap for each tenant, in the order of the events
// that ask for them, so that a rebuild gives the same ones. An invoiced order that is cancelled or returned gets a credit note,
// whose numbers are a series of their own. What comes back in parts gets one for each part; together they are the invoice.
type Invoices struct{}

// NewInvoices makes the system.
func NewInvoices() *Invoices { return &Invoices{} }

// Name is the system's name.
func (*Invoices) Name() string { return InvoiceName }

// Invoice is an invoice or a credit note: the payload of its record. All amounts are in minor units of the currency; those of a
// credit note are what is given back.
type Invoice struct {
	Number      string           `json:"number"`
	Kind        string           `json:"kind"` // invoice or credit_note
	Date        time.Time        `json:"date"` // of the event that asked for it
	Seller      InvoiceSeller    `json:"seller"`
	OrderID     string           `json:"order_id"`
	Channel     string           `json:"channel"`
	ExternalRef string           `json:"external_ref"`
	Currency    string           `json:"currency"`
	MinorDigits int              `json:"minor_digits"`
	Customer    *events.Customer `json:"customer,omitempty"`
	Lines       []billLine       `json:"lines"`
	Shipping    int64            `json:"shipping"`
	Net         int64            `json:"net"` // of the lines
	Tax         int64            `json:"tax"`
	Total       int64            `json:"total"`             // net + tax + shipping
	Invoice     string           `json:"invoice,omitempty"` // the number of the invoice that a credit note takes back
	Reason      string           `json:"reason,omitempty"`  // of a credit note
	Links       InvoiceLinks     `json:"links"`
}

// InvoiceSeller is the tenant whose invoice it is.
type InvoiceSeller struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name,omitempty"`
}

// InvoiceLinks are paths of the API.
type InvoiceLinks struct {
	Order   string `json:"order"`
	Invoice string `json:"invoice,omitempty"` // of a credit note
	Self    string `json:"self"`
}

func numbered(series string, n int64) string { return fmt.Sprintf("%s-%06d", series, n) }

func invoiceOf(e *events.Event, b *orderBill, seller string) *Invoice {
	order := "/v1/orders/" + e.OrderID
	v := &Invoice{
		Kind: invoiceRecord, Date: e.Time.UTC(), Seller: InvoiceSeller{Tenant: b.Tenant, Name: seller}, OrderID: e.OrderID,
		Channel: b.Channel, ExternalRef: b.Ref, Currency: b.Currency, MinorDigits: minorDigits(b.Currency), Customer: b.Customer,
		Lines: b.delivered(), Links: InvoiceLinks{Order: order, Self: order + "/invoice"},
	}
	if len(v.Lines) > 0 {
		v.Shipping = b.Shipping
	}
	for i := range v.Lines {
		v.Net += v.Lines[i].Net
		v.Tax += v.Lines[i].Tax
	}
	v.Total = v.Net + v.Tax + v.Shipping
	return v
}

// creditOf is a credit note with nothing on it.
func creditOf(e *events.Event, invoice *Invoice) *Invoice {
	v := *invoice
	v.Kind, v.Date, v.Invoice = creditRecord, e.Time.UTC(), invoice.Number
	v.Lines, v.Net, v.Tax, v.Shipping, v.Total = []billLine{}, 0, 0, 0, 0
	v.Reason = "returned"
	switch data := e.Data.(type) {
	case *events.OrderCancellation:
		v.Reason = cmp.Or(data.Reason, "cancelled")
	case *events.OrderReturn:
		v.Reason = cmp.Or(data.Reason, v.Reason)
	}
	v.Links.Invoice, v.Links.Self = invoice.Links.Self, invoice.Links.Order+"/credit-note"
	return &v
}

// credits tells whether an event takes an order back. Whatever event says that all was returned counts.
func credits(e *events.Event) bool {
	return e.Type == events.OrderCancelled || e.Status == events.OrderStatusCancelled || e.FulfillmentStatus == events.Returned
}

// invoicing is the work on one batch.
type invoicing struct {
	tx      pgx.Tx
	series  map[[2]string]int64
	sellers map[string]string
	issued  map[string]*issued // by order
	records []invoiceRow
}

// issued is an order's invoice with its credit notes, as it was before the batch, or as the batch makes it.
type issued struct {
	tenant         string
	number, credit int64 // credit: the last one's; 0: none
	document       *Invoice
	notes          []*Invoice // the oldest first
	changed        bool
}

type invoiceRow struct {
	document *Invoice
	position int64
	recordID string
}

// Needs are the events that change bills or end orders, and the tenants' names.
func (*Invoices) Needs(t events.Type) bool { return mayEnd(t) || t == events.TenantChanged }

// Apply makes the invoices and credit notes that a batch asks for.
func (*Invoices) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	work := invoicing{tx: tx, issued: map[string]*issued{}, sellers: map[string]string{}, series: map[[2]string]int64{}}
	if err := work.load(ctx, batch.Events); err != nil {
		return err
	}
	named := map[string]string{}
	for i := range batch.Events {
		if t, ok := batch.Events[i].Data.(*events.Tenant); ok {
			named[t.ID] = t.Name
		}
	}
	if err := work.fold(ctx, batch); err != nil {
		return err
	}
	return work.save(ctx, batch.Now, named)
}

// fold goes through the batch twice, side by side: the bills' events give invoices, and every event may take one back.
func (w *invoicing) fold(ctx context.Context, batch Batch) error {
	finished := map[int64]*orderBill{}
	err := foldBills(ctx, w.tx, InvoiceName, batch, func(*orderBill) {}, func(e *events.Event, b *orderBill) error {
		if e.Type == events.OrderCompleted {
			finished[e.Position] = b
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if t, ok := e.Data.(*events.Tenant); ok {
			w.sellers[t.ID] = t.Name
		}
		have := w.issued[e.OrderID]
		bill := finished[e.Position]
		switch {
		case bill != nil && have == nil:
			w.issue(e, bill)
		case have != nil && credits(e):
			w.takeBack(e, have, have.rest())
		case have != nil && e.Type == events.OrderReturned:
			w.takeBack(e, have, have.part(e.Data.(*events.OrderReturn))) //nolint:forcetypeassert // the type's payload
		case e.Type == events.OrderCompleted && have == nil:
			return fmt.Errorf("order %s was not placed", e.OrderID)
		}
	}
	return nil
}

func (w *invoicing) next(tenant, series string) int64 {
	w.series[[2]string{tenant, series}]++
	return w.series[[2]string{tenant, series}]
}

func (w *invoicing) issue(e *events.Event, b *orderBill) {
	n := w.next(b.Tenant, seriesInvoice)
	v := invoiceOf(e, b, w.sellers[b.Tenant])
	v.Number = numbered(seriesInvoice, n)
	w.issued[e.OrderID] = &issued{tenant: b.Tenant, number: n, document: v, changed: true}
	w.records = append(w.records, invoiceRow{v, e.Position, invoiceRecord})
}

// takeBack makes a credit note of some lines. Shipping comes back with the last of them.
func (w *invoicing) takeBack(e *events.Event, have *issued, lines []billLine) {
	if len(lines) == 0 && (have.credit > 0 || !credits(e)) {
		return // all of it has been taken back, or it was never billed
	}
	v := creditOf(e, have.document)
	for i := range lines {
		v.Lines = append(v.Lines, lines[i])
		v.Net += lines[i].Net
		v.Tax += lines[i].Tax
	}
	have.notes = append(have.notes, v)
	if len(have.rest()) == 0 {
		v.Shipping = have.document.Shipping
	}
	v.Total = v.Net + v.Tax + v.Shipping
	have.credit, have.changed = w.next(have.tenant, seriesCredit), true
	v.Number = numbered(seriesCredit, have.credit)
	if len(have.notes) > 1 {
		v.Links.Self += "?number=" + v.Number
	}
	w.records = append(w.records, invoiceRow{v, e.Position, creditRecordID(len(have.notes))})
}

// creditRecordID is the record of an order's n-th credit note.
func creditRecordID(n int) string {
	if n == 1 {
		return creditRecord
	}
	return creditRecord + "_" + strconv.Itoa(n)
}

func decodeInvoice(payload []byte) (*Invoice, error) {
	v := new(Invoice)
	if err := json.Unmarshal(payload, v); err != nil {
		return nil, fmt.Errorf("decode invoice: %w", err)
	}
	return v, nil
}
