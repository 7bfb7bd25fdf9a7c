package command

import (
	"net/http"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/seeded"
)

// cancelWithin is how long a provider has to answer a cancellation where the route says nothing.
const cancelWithin = time.Hour

// onOrder is what every command of a user on one of its orders has.
type onOrder struct {
	Tenant      string // from the token
	OrderID     string
	IfVersion   int64 // of the order, from If-Match; 0: any
	Traceparent string
}

func (c *onOrder) wants(w *wants) { w.orders = append(w.orders, c.OrderID) }

func noOrder() error { return fault.New(fault.NotFound, "no such order") }

// run decides a command on the order.
func (c *onOrder) run(r *round, command decider) (reply, error) {
	state := r.orders[c.OrderID]
	if state == nil {
		return reply{}, noOrder()
	}
	replayed, err := r.run(state, c.Traceparent, command)
	return reply{status: http.StatusOK, order: state, replayed: replayed}, err
}

// own checks that the order is the tenant's. One of somebody else is not found.
func (c *onOrder) own(d *Decision) error {
	if d.Order.Tenant != c.Tenant {
		return noOrder()
	}
	return nil
}

// current checks the version.
func (c *onOrder) current(d *Decision) error {
	if c.IfVersion != 0 && c.IfVersion != d.Order.Version && !seeded.On(seeded.VersionIgnored) {
		return fault.New(fault.VersionMismatch, "the order is at version %d", d.Order.Version).With("version", d.Order.Version)
	}
	return nil
}

func orderState409(d *Decision, format string, args ...any) error {
	return fault.New(fault.OrderState, format, args...).With("order_status", d.Order.Status)
}

// CancelOrder says that the user does not want the order any more. Providers that have accepted are asked; from the others it is
// taken back at once.
type CancelOrder struct {
	onOrder
	Reason  string
	Message string
}

func (c *CancelOrder) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *CancelOrder) decide(d *Decision) error {
	if err := c.own(d); err != nil {
		return err
	}
	if d.cancelling || d.Order.Status == events.OrderStatusCancelled {
		return nil // what is asked for is so, or under way, whatever version the order has by that
	}
	if err := c.current(d); err != nil {
		return err
	}
	if d.Order.Status.AtEnd() {
		return orderState409(d, "an order that is %s cannot be cancelled", d.Order.Status)
	}
	before := d.Order.Status
	d.cancelling = true
	for i := range d.Order.Tasks {
		task := &d.Order.Tasks[i]
		if task.DelegatedFrom != "" || !task.Status.Open() {
			continue
		}
		if err := c.tell(d, task); err != nil {
			return err
		}
	}
	return d.finish(before, c.Reason, c.Message)
}

// tell takes a task back, or asks its provider when it has accepted.
func (c *CancelOrder) tell(d *Decision, task *events.Task) error {
	if task.AcceptedAt.IsZero() {
		return d.tell(task, events.TaskCancelled, &events.Withdrawal{Reason: events.WithdrawnCancelled})
	}
	if err := d.endDelegates(task.ID); err != nil {
		return err
	}
	within := cancelWithin
	if set := d.registry.route(task.BusinessType, d.Order.Region).CancelWithin; set > 0 {
		within = time.Duration(set) * time.Second
	}
	asked := &events.CancellationAsked{Reason: c.Reason, Message: c.Message, AnswerBy: d.at.Add(within)}
	if task.Status == events.TaskOnHold {
		asked.CompleteBy = d.completeBy(task)
	}
	return d.tell(task, events.TaskCancellationRequested, asked)
}

// withdraw ends a task whose cancellation was asked for.
func (d *Decision) withdraw(task *events.Task, w *events.Withdrawal) error {
	id, before := task.ID, d.Order.Status
	if err := d.tell(task, events.TaskCancelled, w); err != nil {
		return err
	}
	return d.goOn(id, before)
}
