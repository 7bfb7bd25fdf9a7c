package mapping

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// Fault is one reason why rows do not make an order.
type Fault struct {
	Row   int64  // its number in the file
	Field string // of the order, as in "line.quantity"; empty when it is the row as a whole
	Err   error
}

func (f *Fault) Error() string {
	if f.Field == "" {
		return fmt.Sprintf("row %d: %v", f.Row, f.Err)
	}
	return fmt.Sprintf("row %d: %s %v", f.Row, f.Field, f.Err)
}

// Unwrap gives the reason.
func (f *Fault) Unwrap() error { return f.Err }

// maxFaults is how many faults of one order are told.
const maxFaults = 10

// Key is what the rows of one order have in common; false for a row that does not tell. Without group_by, no two rows are
// of one order.
func (m *Mapping) Key(row rows.Row) (string, bool) {
	if len(m.GroupBy) == 0 {
		return fmt.Sprint(row.Number), true
	}
	parts := make([]string, len(m.GroupBy))
	told := false
	for i, column := range m.GroupBy {
		value, _ := row.Text(column)
		parts[i] = strings.TrimSpace(value)
		told = told || parts[i] != ""
	}
	return strings.Join(parts, "\x00"), told
}

// Build makes an order of the rows of one group, which are in the order of the file. Its error joins a *Fault for each thing
// that is wrong; the order then has what could be made out.
func (m *Mapping) Build(group []rows.Row) (client.OrderSubmission, error) {
	b := &builder{mapping: m, row: group[0]}
	unreadable := false
	for _, row := range group {
		if row.Fault != "" {
			unreadable = true
			b.errs = append(b.errs, &Fault{Row: row.Number, Err: errors.New(row.Fault)})
		}
	}
	if unreadable {
		ref, _ := m.Order.ExternalRef.of(group[0]) // for the report alone
		return client.OrderSubmission{ExternalRef: ref}, b.err()
	}
	order := b.order()
	order.Lines = b.lines(group)
	return order, b.err()
}

// builder makes one order and collects what is wrong with it.
type builder struct {
	mapping  *Mapping
	row      rows.Row
	decimals int32 // of the currency
	errs     []error
}

func (b *builder) err() error {
	if more := len(b.errs) - maxFaults; more > 0 {
		return errors.Join(append(b.errs[:maxFaults:maxFaults], fmt.Errorf("and %d more", more))...)
	}
	return errors.Join(b.errs...)
}

func (b *builder) fault(field string, err error) {
	b.errs = append(b.errs, &Fault{Row: b.row.Number, Field: field, Err: err})
}

func (b *builder) order() client.OrderSubmission {
	o := b.mapping.Order
	order := client.OrderSubmission{
		ExternalRef: b.needed("external_ref", o.ExternalRef), Channel: b.needed("channel", o.Channel),
		BusinessType: b.needed("business_type", o.BusinessType), Region: b.text("region", o.Region),
		Currency: b.needed("currency", o.Currency), Customer: b.customer(o.Customer),
	}
	if order.Currency != "" {
		decimals, err := fraction(order.Currency)
		if err != nil {
			b.fault("currency", err)
		}
		b.decimals = decimals
	}
	order.Shipping, _ = b.money("shipping", o.Shipping)
	if total, ok := b.money("total", o.Total); ok {
		order.Total = &total
	}
	for name, text := range o.Attributes {
		b.attribute(&order, name, text)
	}
	return order
}

func (b *builder) attribute(order *client.OrderSubmission, name string, text *Text) {
	value, err := text.typed(b.row)
	if err == nil {
		err = b.damaged(value)
	}
	if err != nil {
		b.fault("attributes."+name, err)
		return
	}
	if value == nil {
		return
	}
	if order.Attributes == nil {
		order.Attributes = client.Object{}
	}
	order.Attributes[name] = value
}

func (b *builder) customer(c *Customer) *client.Customer {
	if c == nil {
		return nil
	}
	customer := client.Customer{
		Name: b.text("customer.name", c.Name), Email: b.text("customer.email", c.Email), Phone: b.text("customer.phone", c.Phone),
		Address: b.address(c.Address),
	}
	if customer == (client.Customer{}) {
		return nil
	}
	return &customer
}

func (b *builder) address(a *Address) *client.Address {
	if a == nil {
		return nil
	}
	const at = "customer.address."
	address := client.Address{
		Line1: b.text(at+"line1", a.Line1), Line2: b.text(at+"line2", a.Line2), City: b.text(at+"city", a.City),
		Region: b.text(at+"region", a.Region), PostalCode: b.text(at+"postal_code", a.PostalCode), Country: b.text(at+"country", a.Country),
	}
	if address == (client.Address{}) {
		return nil
	}
	return &address
}

func (b *builder) lines(group []rows.Row) []client.LineSubmission {
	var lines []client.LineSubmission
	for _, row := range group {
		b.row = row
		if b.mapping.Line.Each == "" {
			lines = append(lines, b.line())
			continue
		}
		items := row.Items(b.mapping.Line.Each)
		if len(items) == 0 {
			b.fault("line.each", fmt.Errorf("has no %s", b.mapping.Line.Each))
		}
		for _, item := range items {
			if b.row = item; item.Fault != "" {
				b.fault("line.each", errors.New(item.Fault))
				continue
			}
			lines = append(lines, b.line())
		}
	}
	return lines
}

func (b *builder) line() client.LineSubmission {
	l := b.mapping.Line
	line := client.LineSubmission{
		LineID: b.text("line.line_id", l.LineID), SKU: b.needed("line.sku", l.SKU), Name: b.text("line.name", l.Name),
	}
	if quantity := b.needed("line.quantity", l.Quantity); quantity != "" {
		n, err := quantityOf(quantity)
		if err != nil || n < 1 {
			b.fault("line.quantity", fmt.Errorf("%q is not a whole number from 1", shorten(quantity)))
		}
		line.Quantity = n
	}
	line.Tax, _ = b.money("line.tax", l.Tax)
	line.Discount, _ = b.money("line.discount", l.Discount)
	if l.Total == nil {
		line.UnitPrice = b.neededMoney("line.unit_price", l.UnitPrice)
	} else if total := b.neededMoney("line.total", l.Total); line.Quantity > 0 {
		b.priceOf(&line, total)
	}
	if _, err := LineTotal(line); err != nil {
		b.fault("line", err)
	}
	return line
}

// priceOf sets the smallest unit price that reaches the total, and the discount that takes off what it is too much.
func (b *builder) priceOf(line *client.LineSubmission, total int64) {
	net := total - line.Tax
	if net < 0 {
		b.fault("line.total", errors.New("is less than its tax"))
		return
	}
	line.UnitPrice = net / line.Quantity
	if net%line.Quantity != 0 {
		line.UnitPrice++
	}
	gross, ok := multiply(line.Quantity, line.UnitPrice)
	if !ok {
		b.fault("line.total", errTooLarge)
		return
	}
	line.Discount = gross - net
}

var errTooLarge = errors.New("is too large")

// LineTotal is what the store computes of a line: quantity x unit price - discount + tax.
func LineTotal(line client.LineSubmission) (int64, error) {
	gross, ok := multiply(line.Quantity, line.UnitPrice)
	if !ok || gross-line.Discount > math.MaxInt64-line.Tax {
		return 0, errTooLarge
	}
	return gross - line.Discount + line.Tax, nil
}

// multiply multiplies what is not below zero; false when the product has more than 63 bits.
func multiply(x, y int64) (int64, bool) {
	high, low := bits.Mul64(uint64(x), uint64(y))        //nolint:gosec // neither is below zero
	return int64(low), high == 0 && low <= math.MaxInt64 //nolint:gosec // the second result says whether it fits
}

func (b *builder) needed(field string, text *Text) string {
	before := len(b.errs)
	value := b.text(field, text)
	if value == "" && len(b.errs) == before {
		b.fault(field, errEmpty)
	}
	return value
}

func (b *builder) text(field string, text *Text) string {
	value, err := text.of(b.row)
	if err == nil {
		err = b.damaged(value)
	}
	if err != nil {
		b.fault(field, err)
		return ""
	}
	return value
}

var errDamaged = errors.New("has characters that could not be decoded")

func (b *builder) damaged(value any) error {
	if text, ok := value.(string); ok && b.mapping.DamagedText != "keep" && strings.ContainsRune(text, '\uFFFD') {
		return errDamaged
	}
	return nil
}

func (b *builder) neededMoney(field string, amount *Money) int64 {
	before := len(b.errs)
	value, ok := b.money(field, amount)
	if !ok && len(b.errs) == before {
		b.fault(field, errEmpty)
	}
	return value
}

func (b *builder) money(field string, amount *Money) (int64, bool) {
	value, ok, err := amount.of(b.row, b.decimals)
	if err != nil {
		b.fault(field, err)
	}
	return value, ok
}
