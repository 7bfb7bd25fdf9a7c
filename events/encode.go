package events

// Encode gives the event's bytes. They are made once, when the event is appended, and copied from then on.
func (e *Event) Encode() ([]byte, error) {
	w := &writer{b: make([]byte, 0, sizeOf(e))}
	w.open('{')
	w.number("cell", int64(e.Cell))
	w.text("type", string(e.Type))
	w.number("version", int64(e.Version))
	w.time("time", e.Time)
	w.textIf("tenant", e.Tenant)
	w.textIf("business_type", e.BusinessType)
	w.textIf("provider", e.Provider)
	w.textIf("order_id", e.OrderID)
	w.numberIf("order_version", e.OrderVersion)
	w.textIf("task_id", e.TaskID)
	w.textIf("status", string(e.Status))
	w.textIf("fulfillment_status", string(e.FulfillmentStatus))
	w.textIf("traceparent", e.Traceparent)
	w.name("data")
	w.payload(e.Data)
	w.close('}')
	return w.b, w.err
}

// sizeOf guesses how long the event's bytes will be.
func sizeOf(e *Event) int {
	const header, line = 512, 192
	switch data := e.Data.(type) {
	case *Placed:
		return header + 512 + line*len(data.Lines)
	case *Offered:
		return header + 256 + 48*len(data.Lines) + 96*len(data.Routing.Candidates) + len(data.Payload)
	case *ResultPosted:
		return header + 256 + 64*len(data.Lines) + len(data.Payload)
	}
	return header
}

func (w *writer) payload(data any) {
	switch data := data.(type) {
	case *Placed:
		w.placed(data)
	case *Offered:
		w.offered(data)
	case *ResultPosted:
		w.resultPosted(data)
	default:
		w.other(data)
	}
}

// Encode gives the payload's bytes.
func (p *Placed) Encode() ([]byte, error) {
	w := &writer{b: make([]byte, 0, sizeOf(&Event{Data: p}))}
	w.placed(p)
	return w.b, w.err
}

func (w *writer) placed(p *Placed) {
	w.open('{')
	w.text("channel", p.Channel)
	w.text("external_ref", p.ExternalRef)
	w.text("region", p.Region)
	w.text("currency", p.Currency)
	list(w, "lines", p.Lines, func(l *PlacedLine) {
		w.open('{')
		w.placedLine(l)
		w.close('}')
	})
	w.number("shipping", p.Shipping)
	w.number("total", p.Total)
	w.customer(p.Customer)
	w.rawIf("attributes", p.Attributes)
	w.close('}')
}

// placedLine writes a line's members: they stand in the order document's lines as well.
func (w *writer) placedLine(l *PlacedLine) {
	w.text("line_id", l.LineID)
	w.text("sku", l.SKU)
	w.textIf("name", l.Name)
	w.textIf("vendor_id", l.VendorID)
	w.number("quantity", l.Quantity)
	w.number("unit_price", l.UnitPrice)
	w.number("discount", l.Discount)
	w.number("tax", l.Tax)
	w.number("total", l.Total)
}

func (w *writer) customer(c *Customer) {
	if c == nil {
		return
	}
	w.name("customer")
	w.person(c)
}

// Encode gives the customer's bytes, as they stand in an order.
func (c *Customer) Encode() ([]byte, error) {
	w := &writer{b: make([]byte, 0, 256)}
	w.person(c)
	return w.b, w.err
}

func (w *writer) person(c *Customer) {
	w.open('{')
	w.textIf("name", c.Name)
	w.textIf("email", c.Email)
	w.textIf("phone", c.Phone)
	if a := c.Address; a != nil {
		w.name("address")
		w.open('{')
		w.textIf("line1", a.Line1)
		w.textIf("line2", a.Line2)
		w.textIf("city", a.City)
		w.textIf("region", a.Region)
		w.textIf("postal_code", a.PostalCode)
		w.textIf("country", a.Country)
		w.close('}')
	}
	w.textIf("key", c.Key)
	w.textIf("sealed", c.Sealed)
	w.textIf("found", c.Found)
	w.textIf("joined", c.Joined)
	w.close('}')
}

func (w *writer) offered(o *Offered) {
	w.open('{')
	list(w, "lines", o.Lines, w.taskQuantity)
	w.number("attempt", int64(o.Attempt))
	w.timeIf("accept_by", o.AcceptBy)
	w.timeIf("complete_by", o.CompleteBy)
	w.textIf("delegated_from", o.DelegatedFrom)
	w.numberIf("delegation", int64(o.Delegation))
	w.numberIf("depth", int64(o.Depth))
	w.rawIf("payload", o.Payload)
	w.textIf("note", o.Note)
	w.routing(&o.Routing)
	w.close('}')
}

func (w *writer) taskQuantity(q *TaskQuantity) {
	w.open('{')
	w.text("line_id", q.LineID)
	w.number("quantity", q.Quantity)
	w.close('}')
}

func (w *writer) routing(r *Routing) {
	w.name("routing")
	w.open('{')
	w.text("policy", string(r.Policy))
	list(w, "candidates", r.Candidates, func(c *Candidate) {
		w.open('{')
		w.text("provider", c.Provider)
		w.textIf("region", c.Region)
		w.textIf("tier", string(c.Tier))
		w.fraction("load", c.Load)
		w.textIf("circuit", string(c.Circuit))
		w.truth("chosen", c.Chosen)
		w.textIf("excluded", c.Excluded)
		w.close('}')
	})
	if r.More != 0 {
		w.number("more", int64(r.More))
	}
	w.text("why", r.Why)
	w.close('}')
}

func (w *writer) resultPosted(r *ResultPosted) {
	w.open('{')
	w.text("result_id", r.ResultID)
	w.text("outcome", string(r.Outcome))
	list(w, "lines", r.Lines, w.resultLine)
	if len(r.Tracking) > 0 {
		list(w, "tracking", r.Tracking, w.tracking)
	}
	w.rawIf("payload", r.Payload)
	w.timeIf("occurred_at", r.OccurredAt)
	w.text("task_status", string(r.TaskStatus))
	w.truthIf("late", r.Late)
	w.close('}')
}

func (w *writer) resultLine(l *ResultLine) {
	w.open('{')
	w.text("line_id", l.LineID)
	w.number("quantity", l.Quantity)
	w.text("outcome", string(l.Outcome))
	w.close('}')
}

func (w *writer) tracking(t *Tracking) {
	w.open('{')
	w.textIf("carrier", t.Carrier)
	w.textIf("number", t.Number)
	w.textIf("url", t.URL)
	w.textIf("status", string(t.Status))
	w.timeIf("delivered_at", t.DeliveredAt)
	w.close('}')
}
