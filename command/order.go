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
// decided on what the one before left. It does no I/O; position, time, registry and ids come from outside.
type Decision struct {
	Order  *events.Order // nil until order.placed is recorded
	Events []events.Event

	registry   *Registry
	at         time.Time
	position   int64 // of the next event
	trace      string
	newID      func() string
	cancelling bool // a cancellation of the order is under way
}

// decider is a command on an order.
type decider interface {
	// decide records what the command does to the decision's order: nothing where that is done already. It checks all before it
	// records anything, so that a refused command leaves the order as it was. Its error is a *fault.Error, unless a recorded event
	// does not fold.
	decide(d *Decision) error
}

// NewDecision starts a decision on an order (nil: on a new one) whose first event will have the position.
func NewDecision(order *events.Order, registry *Registry, at time.Time, position int64, traceparent string) *Decision {
	return &Decision{
		Order: order, registry: registry, at: at.UTC().Truncate(time.Microsecond), position: position, trace: traceparent, newID: newUUID,
		cancelling: order != nil && order.Cancellation != nil && order.Cancellation.Status == events.CancellationRequested,
	}
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
	before := statusesOf(d.Order, &e)
	order, err := events.Apply(d.Order, &e)
	if err != nil {
		return fmt.Errorf("fold what was decided: %w", err)
	}
	d.Order = order
	if err := follows(before, statusesOf(order, &e), &e); err != nil {
		return err
	}
	d.mark(&e)
	d.Events = append(d.Events, e)
	d.position++
	return nil
}

// taskStatuses are those of the task that an event is about, and of the delegated one whose result it tells.
type taskStatuses [2]events.TaskStatus

func statusesOf(o *events.Order, e *events.Event) (s taskStatuses) {
	if o == nil || e.TaskID == "" {
		return s
	}
	if task := o.Task(e.TaskID); task != nil {
		s[0] = task.Status
	}
	if answered, ok := e.Data.(*events.DelegationAnswered); ok {
		if child := o.Task(answered.ChildTaskID); child != nil {
			s[1] = child.Status
		}
	}
	return s
}

// follows holds what was recorded against the table of transitions: nothing else may be.
func follows(from, to taskStatuses, e *events.Event) error {
	for i := range from {
		if from[i] != to[i] && !events.Follows(from[i], e.Type, to[i]) {
			return fmt.Errorf("%s takes a task from %q to %q, which is no transition", e.Type, from[i], to[i])
		}
	}
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

// tell records an event about a task, addressed to its provider.
func (d *Decision) tell(task *events.Task, t events.Type, data any) error {
	e := events.New(t, d.at, data)
	e.Provider, e.TaskID, e.BusinessType = task.Provider, task.ID, task.BusinessType
	return d.record(e)
}

// goOn does what follows from a task's end: what it leaves is offered to the next candidate, unless the order is being cancelled,
// and an order that has come to its end is closed. before is the order's status as it was before the command.
func (d *Decision) goOn(taskID string, before events.OrderStatus) error {
	if d.Order.Task(taskID).DelegatedFrom != "" {
		if err := d.passOn(taskID); err != nil {
			return err
		}
		return d.finish(before, "", "")
	}
	standing := d.Order.Standing()
	if !standing.AnyOpenTask() && standing.Open() > 0 && !d.cancelling {
		if err := d.offerNext(); err != nil {
			return err
		}
	}
	return d.finish(before, "", "")
}

// finish ends a cancellation that nobody's answer is missing for, and records the fact that the order has come to its end, when
// it just did.
func (d *Decision) finish(before events.OrderStatus, reason, message string) error {
	standing := d.Order.Standing()
	if d.cancelling && !standing.AnyOpenTask() && standing.Open()+standing.Cancelled > 0 {
		if c := d.Order.Cancellation; c != nil {
			reason, message = c.Reason, c.Message
		}
		end := &events.OrderCancellation{Reason: reason, Message: message, Lines: openLines(d.Order)}
		if err := d.record(events.New(events.OrderCancelled, d.at, end)); err != nil {
			return err
		}
	}
	after := d.Order.Status
	switch {
	case after == before:
		return nil
	case after == events.OrderStatusCompleted:
		return d.record(events.New(events.OrderCompleted, d.at, &events.Closed{}))
	case after == events.OrderStatusRejected:
		return d.record(events.New(events.OrderRejected, d.at, &events.Closed{Reason: reasonNothing}))
	case after == events.OrderStatusCancelled && !d.cancelling: // its providers cancelled all of it
		end := &events.OrderCancellation{Reason: reasonNothing, Lines: []events.TaskQuantity{}}
		return d.record(events.New(events.OrderCancelled, d.at, end))
	}
	return nil
}

const reasonNothing = "no unit was fulfilled"
