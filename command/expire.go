package command

import (
	"net/http"

	"github.com/orderstore/orderstore/events"
)

// ExpireTask ends a task whose deadline is past: the deadline of the task as it is now, by the round's time. It does nothing to any
// other task, so it may be submitted any number of times, by any number of nodes.
type ExpireTask struct{ TaskID string }

func (c *ExpireTask) wants(w *wants) { w.tasks = append(w.tasks, c.TaskID) }

func (c *ExpireTask) apply(r *round) (reply, error) {
	state := r.byTask[c.TaskID]
	if state == nil {
		return reply{}, noTask()
	}
	replayed, err := r.run(state, "", c)
	return reply{status: http.StatusOK, order: state, task: c.TaskID, replayed: replayed}, err
}

func (c *ExpireTask) decide(d *Decision) error {
	task := d.Order.Task(c.TaskID)
	if task == nil {
		return noTask()
	}
	due, deadline := task.Due()
	if due.IsZero() || d.at.Before(due) {
		return nil
	}
	if deadline == events.DeadlineCancelAnswer {
		return d.withdraw(task, &events.Withdrawal{Reason: events.WithdrawnSilent, Forced: true})
	}
	before := d.Order.Status
	if err := d.endDelegates(c.TaskID); err != nil {
		return err
	}
	if err := d.tell(task, events.TaskExpired, &events.Expiry{Deadline: deadline}); err != nil {
		return err
	}
	return d.goOn(c.TaskID, before)
}
