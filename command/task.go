package command

import (
	"net/http"
	"slices"

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

func noTask() error { return fault.New(fault.NotFound, "no such task") }

// run decides a command on the task's order.
func (c *onTask) run(r *round, command decider) (reply, error) {
	state := r.byTask[c.TaskID]
	if state == nil {
		return reply{}, noTask()
	}
	replayed, err := r.run(state, c.Traceparent, command)
	return reply{status: http.StatusOK, order: state, task: c.TaskID, replayed: replayed}, err
}

// find gives the task. One of somebody else is not found.
func (c *onTask) find(d *Decision) (*events.Task, error) {
	if task := d.Order.Task(c.TaskID); task != nil && task.Provider == c.Provider {
		return task, nil
	}
	return nil, noTask()
}

// allowed checks the version and that the task's status lets the provider do it.
func (c *onTask) allowed(task *events.Task, action events.Action) error {
	if c.IfVersion != 0 && c.IfVersion != task.Version {
		return fault.New(fault.VersionMismatch, "the task is at version %d", task.Version).With("version", task.Version)
	}
	if slices.Contains(task.SupportedActions, action) {
		return nil
	}
	return fault.New(fault.TaskState, "a task that is %s cannot be given %q", task.Status, action).
		With("task_status", task.Status).With("supported_actions", task.SupportedActions)
}

// AcceptTask says that the provider takes the task on or, where the user wants it cancelled, agrees to that.
type AcceptTask struct{ onTask }

func (c *AcceptTask) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *AcceptTask) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	agreed := task.Cancelled != nil && task.Cancelled.Reason == events.WithdrawnAgreed
	if c.IfVersion == 0 && (task.Status == events.TaskStatusAccepted || agreed) {
		return nil
	}
	if err := c.allowed(task, events.ActionAccept); err != nil {
		return err
	}
	if task.Status == events.TaskCancelAsked {
		return d.withdraw(task, &events.Withdrawal{Reason: events.WithdrawnAgreed})
	}
	return d.tell(task, events.TaskAccepted, &events.Accepted{})
}

// RejectTask says that the provider will not do the task, which is then offered to the next candidate, or, where the user wants it
// cancelled, that it is too late for that.
type RejectTask struct {
	onTask
	Rejection events.Rejection
}

func (c *RejectTask) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *RejectTask) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	refusal := events.Refusal{ReasonCode: c.Rejection.ReasonCode, Message: c.Rejection.Message}
	rejected := task.Rejected != nil && *task.Rejected == c.Rejection
	refused := task.Status == events.TaskCancelRefused && *task.Refused == refusal
	if c.IfVersion == 0 && (rejected || refused) {
		return nil
	}
	if err := c.allowed(task, events.ActionReject); err != nil {
		return err
	}
	if task.Status == events.TaskCancelAsked {
		return d.tell(task, events.TaskCancellationRefused, &refusal)
	}
	before := d.Order.Status
	if err := d.endDelegates(c.TaskID); err != nil {
		return err
	}
	if err := d.tell(task, events.TaskRejected, &c.Rejection); err != nil {
		return err
	}
	return d.goOn(c.TaskID, before)
}
