package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// Amendment is what a user wants changed, as it was read.
type Amendment struct {
	Customer   []byte              // JSON merge patch; nil: not given
	Attributes []byte              // the same
	Shipping   *int64              // minor units; nil: not given
	Lines      []events.PlacedLine // all lines as they shall be, with their totals; nil: not given
	Total      *int64              // what the order shall come to; nil: not given
}

// AmendOrder changes an order: its customer, attributes and shipping until it is at its end, its lines until a provider has
// accepted.
type AmendOrder struct {
	onOrder
	Amendment Amendment

	prepared *amendedCustomer // nil: nothing is sealed, or the customer is not amended
}

func (c *AmendOrder) apply(r *round) (reply, error) {
	if c.prepared != nil {
		if err := r.living(c.prepared.to); err != nil {
			return reply{}, err
		}
	}
	return c.run(r, c)
}

func (c *AmendOrder) decide(d *Decision) error {
	if err := c.own(d); err != nil {
		return err
	}
	if err := c.current(d); err != nil {
		return err
	}
	if d.Order.Status.AtEnd() {
		return orderState409(d, "an order that is %s cannot be amended", d.Order.Status)
	}
	amended, err := c.amended(d)
	if err != nil || len(amended.Changed) == 0 {
		return err
	}
	if !slices.Contains(amended.Changed, events.PartLines) {
		return c.announce(d, amended)
	}
	for i := range d.Order.Tasks {
		if !d.Order.Tasks[i].AcceptedAt.IsZero() {
			return orderState409(d, "the lines cannot be changed any more: a provider has accepted them")
		}
	}
	return c.relay(d, amended)
}

// announce records the amendment and tells everyone who works on the order.
func (c *AmendOrder) announce(d *Decision, amended *events.Amended) error {
	if err := d.record(events.New(events.OrderAmended, d.at, amended)); err != nil {
		return err
	}
	for i := range d.Order.Tasks {
		task := &d.Order.Tasks[i]
		if !task.Status.Open() {
			continue
		}
		if err := d.tell(task, events.TaskAmended, &events.TaskAmendment{Changed: amended.Changed}); err != nil {
			return err
		}
	}
	return nil
}

// relay takes back what was offered and offers the order as it is now, also to those who did not want it as it was.
func (c *AmendOrder) relay(d *Decision, amended *events.Amended) error {
	for i := range d.Order.Tasks {
		task := &d.Order.Tasks[i]
		if !task.Status.Open() {
			continue
		}
		if err := d.tell(task, events.TaskCancelled, &events.Withdrawal{Reason: events.WithdrawnAmended}); err != nil {
			return err
		}
	}
	if err := d.record(events.New(events.OrderAmended, d.at, amended)); err != nil {
		return err
	}
	a := d.assign(d.Order.BusinessType, nil, false)
	return d.offerOpen(&a)
}

// amended is the order as it is to be, and what of it differs from what it is. The rules are those of a submission.
func (c *AmendOrder) amended(d *Decision) (*events.Amended, error) {
	o, p := d.Order, &c.Amendment
	a := &events.Amended{
		Changed: []string{}, ExternalRef: o.ExternalRef, Shipping: o.Shipping, Attributes: o.Attributes, Lines: make([]events.PlacedLine, len(o.Lines)),
	}
	for i := range o.Lines {
		a.Lines[i] = o.Lines[i].PlacedLine
	}
	customer, err := c.customerOf(o.Customer)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(customer, o.Customer) {
		a.Customer, a.Changed = customer, append(a.Changed, events.PartCustomer)
	}
	attributes, err := p.attributes(o.Attributes)
	if err != nil {
		return nil, err
	}
	if !sameJSON(attributes, o.Attributes) {
		a.Attributes, a.Changed = attributes, append(a.Changed, events.PartAttributes)
	}
	if p.Shipping != nil && *p.Shipping != o.Shipping {
		a.Shipping, a.Changed = *p.Shipping, append(a.Changed, events.PartShipping)
	}
	if p.Lines != nil {
		lines, err := c.lines(d)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(lines, a.Lines) {
			a.Lines, a.Changed = lines, append(a.Changed, events.PartLines)
		}
	}
	return a, p.sum(a)
}

// sum computes the total and compares it with what was given as one.
func (p *Amendment) sum(a *events.Amended) error {
	sum, fits := a.Shipping, true
	for i := range a.Lines {
		if fits {
			sum, fits = add(sum, a.Lines[i].Total)
		}
	}
	switch {
	case !fits:
		return invalidAt("/total", "the order's total is too large")
	case p.Total != nil && *p.Total != sum:
		return invalidAt("/total", "differs from what the lines and shipping add up to: "+strconv.FormatInt(sum, 10))
	}
	a.Total = sum
	return nil
}

func invalidAt(pointer, detail string) error {
	return fault.InvalidFields([]fault.Field{{Pointer: pointer, Detail: detail}})
}

// lines are all lines as they shall be. A line that stays keeps its SKU, and with it its vendor.
func (c *AmendOrder) lines(d *Decision) ([]events.PlacedLine, error) {
	lines := slices.Clone(c.Amendment.Lines)
	var bad []fault.Field
	for i := range lines {
		line := &lines[i]
		have := d.Order.Line(line.LineID)
		switch {
		case have == nil:
			if p := d.registry.product(d.Order.Tenant, line.SKU); p != nil {
				line.VendorID = p.VendorID
			}
		case have.SKU != line.SKU:
			bad = append(bad, fault.Field{
				Pointer: "/lines/" + strconv.Itoa(i) + "/sku", Detail: "line " + line.LineID + " is for another SKU: give the new one a line of its own",
			})
		default:
			line.VendorID = have.VendorID
		}
	}
	if len(bad) > 0 {
		return nil, fault.InvalidFields(bad)
	}
	return lines, nil
}

// customer is the customer with the patch applied: nil where there is none.
func (p *Amendment) customer(have *events.Customer) (*events.Customer, error) {
	if p.Customer == nil {
		return have, nil
	}
	var document []byte
	if have != nil {
		var err error
		if document, err = json.Marshal(have); err != nil {
			return nil, fmt.Errorf("encode customer: %w", err)
		}
	}
	merged, err := mergePatch(document, p.Customer)
	if err != nil {
		return nil, err
	}
	s, err := decodeParts("customer", merged)
	if err != nil {
		return nil, err
	}
	return s.Placed.Customer, nil
}

// attributes are the attributes with the patch applied: nil where there are none.
func (p *Amendment) attributes(have json.RawMessage) (json.RawMessage, error) {
	if p.Attributes == nil {
		return have, nil
	}
	merged, err := mergePatch(have, p.Attributes)
	if err != nil {
		return nil, err
	}
	s, err := decodeParts("attributes", merged)
	if err != nil {
		return nil, err
	}
	return s.Placed.Attributes, nil
}

// sameJSON says whether two documents mean the same. Numbers are the same when they are written the same.
func sameJSON(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	var values [2]any
	for i, raw := range [][]byte{a, b} {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if dec.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}
