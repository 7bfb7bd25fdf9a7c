package events

// Encode gives the document's bytes. Two documents that are folded from the same events have the same bytes.
func (o *Order) Encode() ([]byte, error) {
	w := &writer{b: make([]byte, 0, 1024+320*len(o.Lines)+768*len(o.Tasks)+384*len(o.Results))}
	w.open('{')
	w.text("id", o.ID)
	w.text("tenant", o.Tenant)
	w.text("channel", o.Channel)
	w.text("external_ref", o.ExternalRef)
	w.text("business_type", o.BusinessType)
	w.text("region", o.Region)
	w.number("version", o.Version)
	w.text("status", string(o.Status))
	w.text("fulfillment_status", string(o.FulfillmentStatus))
	w.text("currency", o.Currency)
	w.number("total", o.Total)
	w.number("shipping", o.Shipping)
	w.time("placed_at", o.PlacedAt)
	w.time("updated_at", o.UpdatedAt)
	w.customer(o.Customer)
	w.rawIf("attributes", o.Attributes)
	if o.Cancellation != nil {
		w.any("cancellation", o.Cancellation)
	}
	list(w, "lines", o.Lines, w.line)
	list(w, "sync_status", o.SyncStatus, w.syncStatus)
	list(w, "tasks", o.Tasks, w.task)
	list(w, "results", o.Results, w.result)
	if len(o.Returns) > 0 {
		w.any("returns", o.Returns)
	}
	w.close('}')
	return w.b, w.err
}

// Encode gives the task's bytes, as they stand in the order document.
func (t *Task) Encode() ([]byte, error) {
	w := &writer{b: make([]byte, 0, 768)}
	w.task(t)
	return w.b, w.err
}

func (w *writer) line(l *Line) {
	w.open('{')
	w.placedLine(&l.PlacedLine)
	w.name("quantities")
	w.open('{')
	w.number("ordered", l.Quantities.Ordered)
	w.number("assigned", l.Quantities.Assigned)
	w.number("accepted", l.Quantities.Accepted)
	w.number("fulfilled", l.Quantities.Fulfilled)
	w.number("rejected", l.Quantities.Rejected)
	w.number("cancelled", l.Quantities.Cancelled)
	w.number("returned", l.Quantities.Returned)
	w.close('}')
	w.close('}')
}

func (w *writer) syncStatus(s *SyncStatus) {
	w.open('{')
	w.text("party", s.Party)
	w.text("kind", s.Kind)
	w.text("status", string(s.Status))
	w.time("since", s.Since)
	w.number("position", s.Position)
	w.close('}')
}

func (w *writer) task(t *Task) {
	w.open('{')
	w.text("id", t.ID)
	w.text("order_id", t.OrderID)
	w.text("provider", t.Provider)
	w.text("business_type", t.BusinessType)
	w.text("status", string(t.Status))
	list(w, "supported_actions", t.SupportedActions, func(a *Action) { w.quote(string(*a)) })
	w.number("version", t.Version)
	w.number("attempt", int64(t.Attempt))
	w.timeIf("accept_by", t.AcceptBy)
	w.timeIf("complete_by", t.CompleteBy)
	w.timeIf("answer_by", t.AnswerBy)
	w.time("offered_at", t.OfferedAt)
	w.timeIf("accepted_at", t.AcceptedAt)
	w.time("updated_at", t.UpdatedAt)
	w.textIf("delegated_from", t.DelegatedFrom)
	w.numberIf("delegation", int64(t.Delegation))
	w.numberIf("depth", int64(t.Depth))
	w.rawIf("payload", t.Payload)
	w.textIf("note", t.Note)
	list(w, "lines", t.Lines, func(l *TaskLine) {
		w.open('{')
		w.text("line_id", l.LineID)
		w.number("quantity", l.Quantity)
		w.number("fulfilled", l.Fulfilled)
		w.number("rejected", l.Rejected)
		w.number("cancelled", l.Cancelled)
		w.close('}')
	})
	w.turns(t)
	w.routing(&t.Routing)
	w.close('}')
}

// turns writes what most tasks do not have.
func (w *writer) turns(t *Task) {
	if t.Rejected != nil {
		w.any("rejected", t.Rejected)
	}
	if t.Expired != nil {
		w.any("expired", t.Expired)
	}
	if t.Hold != nil {
		w.any("hold", t.Hold)
	}
	if t.Cancelled != nil {
		w.any("cancelled", t.Cancelled)
	}
	if t.Refused != nil {
		w.any("cancellation_refused", t.Refused)
	}
	if len(t.Delegations) > 0 {
		w.any("delegations", t.Delegations)
	}
}

func (w *writer) result(r *Result) {
	w.open('{')
	w.text("result_id", r.ResultID)
	w.text("task_id", r.TaskID)
	w.text("provider", r.Provider)
	w.text("outcome", string(r.Outcome))
	list(w, "lines", r.Lines, w.resultLine)
	list(w, "tracking", r.Tracking, w.tracking)
	w.rawIf("payload", r.Payload)
	w.time("occurred_at", r.OccurredAt)
	w.time("posted_at", r.PostedAt)
	w.truthIf("late", r.Late)
	w.close('}')
}
