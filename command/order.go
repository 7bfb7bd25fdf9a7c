// Package command is the write side: it decides what a command does to an order, and commits the events of many commands in
// one transaction that also gives each its position.
package command

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/events"
)

// Decision is what one command does to one order: the events it records are folded into the order at once, so that each is
// decided on what the one before left. It does no I/O; position, time and ids come from outside.
type Decision struct {
	Order  *events.Order // nil until order.placed is recorded
	Events []events.Event

	at       time.Time
	position int64 // of the next event
	trace    string
	newID    func() string
}

// NewDecision starts a decision on an order (nil: on a new one) whose first event will have the position.
func NewDecision(order *events.Order, at time.Time, position int64, traceparent string) *Decision {
	return &Decision{Order: order, at: at.UTC().Truncate(time.Microsecond), position: position, trace: traceparent, newID: newUUID}
}

// newUUID makes a version 7 UUID (RFC 9562): ids that sort by time keep the indexes on them dense.
func newUUID() string { return uuid.Must(uuid.NewV7()).String() }

// record adds an event and folds it into the order.
func (d *Decision) record(e events.Event) error {
	e.Position = d.position
	e.Traceparent = d.trace
	e.OrderVersion = 1
	if d.Order != nil {
		e.Tenant, e.OrderID, e.OrderVersion = d.Order.Tenant, d.Order.ID, d.Order.Version+1
		if e.BusinessType == "" {
			e.BusinessType = d.Order.BusinessType
		}
	}
	order, err := events.Apply(d.Order, &e)
	if err != nil {
		return fmt.Errorf("fold what was decided: %w", err)
	}
	d.Order = order
	d.mark(&e)
	d.Events = append(d.Events, e)
	d.position++
	return nil
}

// mark writes the statuses that follow from the event into it, where they changed.
func (d *Decision) mark(e *events.Event) {
	if e.Status == "" {
		if s := statusOf(d.Order); s != d.Order.Status {
			e.Status, d.Order.Status = s, s
		}
	}
	if s := fulfillmentOf(d.Order); s != d.Order.FulfillmentStatus {
		e.FulfillmentStatus, d.Order.FulfillmentStatus = s, s
	}
}

// sums adds up the lines' counters.
func sums(o *events.Order) events.Quantities {
	var q events.Quantities
	for i := range o.Lines {
		line := &o.Lines[i].Quantities
		q.Ordered += line.Ordered
		q.Assigned += line.Assigned
		q.Accepted += line.Accepted
		q.Fulfilled += line.Fulfilled
		q.Rejected += line.Rejected
		q.Cancelled += line.Cancelled
		q.Returned += line.Returned
	}
	return q
}

// statusOf is the order's status as its lines and tasks have it.
func statusOf(o *events.Order) events.OrderStatus {
	q := sums(o)
	if !anyOpen(o) {
		switch {
		case q.Open() > 0 && len(o.Tasks) == 0:
			return events.OrderUnrouted
		case q.Open() > 0:
			return events.OrderActionRequired
		case q.Fulfilled > 0:
			return events.OrderStatusCompleted
		case q.Rejected > 0:
			return events.OrderStatusRejected
		}
		return events.OrderCancelled
	}
	switch {
	case q.Fulfilled > 0:
		return events.OrderPartiallyCompleted
	case q.Accepted > 0:
		return events.OrderProcessing
	}
	return events.OrderRouted
}

func anyOpen(o *events.Order) bool {
	for i := range o.Tasks {
		if o.Tasks[i].Status.Open() {
			return true
		}
	}
	return false
}

// fulfillmentOf is where the goods are, as the lines have it.
func fulfillmentOf(o *events.Order) events.FulfillmentStatus {
	q := sums(o)
	switch {
	case q.Fulfilled == 0:
		return events.Unfulfilled
	case q.Open() > 0:
		return events.Partial
	case q.Rejected+q.Cancelled > 0:
		return events.Partial
	}
	return events.Fulfilled
}

// close records the fact that an order has come to its end, when it just did.
func (d *Decision) close(before events.OrderStatus) error {
	after := d.Order.Status
	if after == before {
		return nil
	}
	switch after {
	case events.OrderStatusCompleted:
		return d.record(events.New(events.OrderCompleted, d.at, &events.Closed{}))
	case events.OrderStatusRejected:
		return d.record(events.New(events.OrderRejected, d.at, &events.Closed{Reason: "no unit was fulfilled"}))
	}
	return nil
}
