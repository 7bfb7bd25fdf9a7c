package events

import (
	"bytes"
	"encoding/json"
	"strings"
)

// readEvent reads an event in the form that Encode gives it. false: it has another form.
func readEvent(body []byte, t Type, version int) (Event, bool) {
	r := &reader{s: string(body)}
	e := r.header()
	if r.bad || e.Type != t || e.Version != version {
		return Event{}, false
	}
	switch t {
	case OrderPlaced:
		e.Data = r.placed()
	case TaskOffered:
		e.Data = r.offered()
	case TaskAccepted:
		e.Data = r.accepted()
	case TaskResultPosted:
		e.Data = r.resultPosted()
	default:
		return Event{}, false
	}
	r.close()
	return e, !r.bad && r.at == len(r.s)
}

// header reads all members up to the payload.
func (r *reader) header() Event {
	var e Event
	r.open()
	e.Cell = int(r.number("cell"))
	e.Type = Type(r.text("type"))
	e.Version = int(r.number("version"))
	e.Time = r.time("time")
	e.Tenant = r.textIf("tenant")
	e.BusinessType = r.textIf("business_type")
	e.Provider = r.textIf("provider")
	e.OrderID = r.textIf("order_id")
	e.OrderVersion = r.numberIf("order_version")
	e.TaskID = r.textIf("task_id")
	e.Status = OrderStatus(r.textIf("status"))
	e.FulfillmentStatus = FulfillmentStatus(r.textIf("fulfillment_status"))
	e.Traceparent = r.textIf("traceparent")
	r.need("data")
	return e
}

// readHeader is readEvent for all but the payload, which stays bytes of the body.
func readHeader(body []byte) (Event, json.RawMessage, bool) {
	r := &reader{s: string(body)}
	e := r.header()
	if r.bad || !bytes.HasSuffix(body, []byte{'}'}) || r.at == len(body) {
		return Event{}, nil, false
	}
	data := body[r.at : len(body)-1]
	// White space is valid around a value, and no part of it.
	return e, data, len(bytes.TrimSpace(data)) == len(data) && json.Valid(data)
}

func (r *reader) placed() *Placed {
	p := new(Placed)
	r.open()
	p.Channel = r.text("channel")
	p.ExternalRef = r.text("external_ref")
	p.Region = r.text("region")
	p.Currency = r.text("currency")
	p.Lines = readList(r, "lines", func(l *PlacedLine) {
		r.open()
		l.LineID = r.text("line_id")
		l.SKU = r.text("sku")
		l.Name = r.textIf("name")
		l.VendorID = r.textIf("vendor_id")
		l.Quantity = r.number("quantity")
		l.UnitPrice = r.number("unit_price")
		l.Discount = r.number("discount")
		l.Tax = r.number("tax")
		l.Total = r.number("total")
		r.close()
	})
	p.Shipping = r.number("shipping")
	p.Total = r.number("total")
	if r.name("customer") {
		p.Customer = r.customer()
	}
	p.Attributes = r.rawIf("attributes")
	r.close()
	return p
}

func (r *reader) customer() *Customer {
	c := new(Customer)
	r.open()
	c.Name = r.textIf("name")
	c.Email = r.textIf("email")
	c.Phone = r.textIf("phone")
	if r.name("address") {
		a := new(Address)
		r.open()
		a.Line1 = r.textIf("line1")
		a.Line2 = r.textIf("line2")
		a.City = r.textIf("city")
		a.Region = r.textIf("region")
		a.PostalCode = r.textIf("postal_code")
		a.Country = r.textIf("country")
		r.close()
		c.Address = a
	}
	c.Key = r.textIf("key")
	c.Sealed = r.textIf("sealed")
	c.Found = r.textIf("found")
	c.Joined = r.textIf("joined")
	r.close()
	return c
}

func (r *reader) accepted() *Accepted {
	r.open()
	r.close()
	return new(Accepted)
}

func (r *reader) offered() *Offered {
	o := new(Offered)
	r.open()
	o.Lines = readList(r, "lines", func(q *TaskQuantity) {
		r.open()
		q.LineID = r.text("line_id")
		q.Quantity = r.number("quantity")
		r.close()
	})
	o.Attempt = int(r.number("attempt"))
	o.AcceptBy = r.timeIf("accept_by")
	o.CompleteBy = r.timeIf("complete_by")
	o.DelegatedFrom = r.textIf("delegated_from")
	o.Delegation = int(r.numberIf("delegation"))
	o.Depth = int(r.numberIf("depth"))
	o.Payload = r.rawIf("payload")
	o.Note = r.textIf("note")
	r.need("routing")
	r.routing(&o.Routing)
	r.close()
	return o
}

func (r *reader) routing(to *Routing) {
	r.open()
	to.Policy = Policy(r.text("policy"))
	to.Candidates = readList(r, "candidates", func(c *Candidate) {
		r.open()
		c.Provider = r.text("provider")
		c.Region = r.textIf("region")
		c.Tier = Tier(r.textIf("tier"))
		c.Load = r.fraction("load")
		c.Circuit = CircuitState(r.textIf("circuit"))
		c.Chosen = r.truth("chosen")
		c.Excluded = r.textIf("excluded")
		r.close()
	})
	to.More = int(r.numberIf("more"))
	to.Why = r.text("why")
	r.close()
}

func (r *reader) resultPosted() *ResultPosted {
	p := new(ResultPosted)
	r.open()
	p.ResultID = r.text("result_id")
	p.Outcome = Outcome(r.text("outcome"))
	p.Lines = readList(r, "lines", func(l *ResultLine) {
		r.open()
		l.LineID = r.text("line_id")
		l.Quantity = r.number("quantity")
		l.Outcome = LineOutcome(r.text("outcome"))
		r.close()
	})
	if strings.HasPrefix(r.s[r.at:], `,"tracking":`) {
		p.Tracking = readList(r, "tracking", func(t *Tracking) {
			r.open()
			t.Carrier = r.textIf("carrier")
			t.Number = r.textIf("number")
			t.URL = r.textIf("url")
			t.Status = ParcelStatus(r.textIf("status"))
			t.DeliveredAt = r.timeIf("delivered_at")
			r.close()
		})
	}
	p.Payload = r.rawIf("payload")
	p.OccurredAt = r.timeIf("occurred_at")
	p.TaskStatus = TaskStatus(r.text("task_status"))
	if strings.HasPrefix(r.s[r.at:], `,"late":`) {
		p.Late = r.truth("late")
	}
	r.close()
	return p
}
