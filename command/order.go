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
	standing := d.Order.Standing()
	if e.Status == "" {
		if s := standing.Status(); s != d.Order.Status {
			e.Status, d.Order.Status = s, s
		}
	}
	if s := standing.Fulfillment(); s != d.Order.FulfillmentStatus {
		e.FulfillmentStatus, d.Order.FulfillmentStatus = s, s
	}
}

func anyOpen(o *events.Order) bool {
	standing := o.Standing()
	return standing.AnyOpenTask()
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
