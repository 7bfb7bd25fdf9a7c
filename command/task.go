package command

import (
	"net/http"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// onTask is what every command of a provider on one of its tasks has.
type onTask struct {
	Provider    string // from the token
	TaskID      string
	IfVersion   int64 // of the task, from If-Match; 0: any
	Traceparent string
}

func (c *onTask) wants(w *wants) { w.tasks = append(w.tasks, c.TaskID) }

// find gives the task and its order. A task of somebody else is not found.
func (c *onTask) find(r *round) (*orderState, *events.Task, error) {
	if state := r.byTask[c.TaskID]; state != nil {
		if task := state.order.Task(c.TaskID); task != nil && task.Provider == c.Provider {
			return state, task, nil
		}
	}
	return nil, nil, fault.New(fault.NotFound, "no such task")
}

// allowed checks the version and that the task's status lets the provider do it.
func (c *onTask) allowed(task *events.Task, action events.Action) error {
	if c.IfVersion != 0 && c.IfVersion != task.Version {
		return fault.New(fault.VersionMismatch, "the task is at version %d", task.Version).With("version", task.Version)
	}
	for _, a := range task.SupportedActions {
		if a == action {
			return nil
		}
	}
	return fault.New(fault.TaskState, "a task that is %s cannot be given %q", task.Status, action).
		With("status", task.Status).With("supported_actions", task.SupportedActions)
}

// AcceptTask says that the provider takes the task on.
type AcceptTask struct{ onTask }

func (c *AcceptTask) apply(r *round) (reply, error) {
	state, task, err := c.find(r)
	if err != nil {
		return reply{}, err
	}
	if task.Status == events.TaskStatusAccepted && c.IfVersion == 0 {
		return reply{status: http.StatusOK, order: state, task: task.ID, replayed: true}, nil
	}
	if err := c.allowed(task, events.ActionAccept); err != nil {
		return reply{}, err
	}
	d := r.decide(state, c.Traceparent)
	if err := d.accept(task); err != nil {
		return reply{}, err
	}
	r.change(d, state)
	return reply{status: http.StatusOK, order: state, task: c.TaskID}, nil
}

func (d *Decision) accept(task *events.Task) error {
	e := events.New(events.TaskAccepted, d.at, &events.Accepted{})
	e.Provider, e.TaskID, e.BusinessType = task.Provider, task.ID, task.BusinessType
	return d.record(e)
}

// RejectTask says that the provider will not do the task. It is offered to the next candidate.
type RejectTask struct {
	onTask
	Rejection events.Rejection
}

func (c *RejectTask) apply(r *round) (reply, error) {
	state, task, err := c.find(r)
	if err != nil {
		return reply{}, err
	}
	if task.Rejected != nil && *task.Rejected == c.Rejection && c.IfVersion == 0 {
		return reply{status: http.StatusOK, order: state, task: task.ID, replayed: true}, nil
	}
	if err := c.allowed(task, events.ActionReject); err != nil {
		return reply{}, err
	}
	d := r.decide(state, c.Traceparent)
	if err := d.reject(task, &c.Rejection, r.registry); err != nil {
		return reply{}, err
	}
	r.change(d, state)
	return reply{status: http.StatusOK, order: state, task: c.TaskID}, nil
}

// reject records the rejection and offers what is still to be done to the next candidate, where nobody else has it.
func (d *Decision) reject(task *events.Task, rejection *events.Rejection, registry *Registry) error {
	businessType, attempt := task.BusinessType, task.Attempt
	e := events.New(events.TaskRejected, d.at, rejection)
	e.Provider, e.TaskID, e.BusinessType = task.Provider, task.ID, businessType
	before := d.Order.Status
	if err := d.record(e); err != nil {
		return err
	}
	limit := registry.route(businessType, d.Order.Region).MaxAttempts
	if !anyOpen(d.Order) && (limit == 0 || attempt < limit) {
		a := registry.assign(businessType, d.Order.Region, d.at, barredOf(d.Order))
		if err := d.offer(&a); err != nil {
			return err
		}
	}
	return d.close(before)
}

// OfferOrder offers an unrouted order to the providers that match by now. It does nothing to any other order.
type OfferOrder struct{ OrderID string }

func (c *OfferOrder) wants(w *wants) { w.orders = append(w.orders, c.OrderID) }

func (c *OfferOrder) apply(r *round) (reply, error) {
	state, ok := r.orders[c.OrderID]
	if !ok {
		return reply{}, fault.New(fault.NotFound, "no such order")
	}
	if state.order.Status != events.OrderUnrouted {
		return reply{status: http.StatusOK, order: state, replayed: true}, nil
	}
	a := r.registry.assign(state.order.BusinessType, state.order.Region, r.at, barredOf(state.order))
	if len(a.providers) == 0 {
		return reply{status: http.StatusOK, order: state, replayed: true}, nil
	}
	d := r.decide(state, "")
	if err := d.offer(&a); err != nil {
		return reply{}, err
	}
	r.change(d, state)
	return reply{status: http.StatusOK, order: state}, nil
}
