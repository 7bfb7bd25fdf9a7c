package command

import (
	"time"

	"github.com/orderstore/orderstore/events"
)

// HoldTask says that the provider cannot go on at present. Its deadlines do not run meanwhile.
type HoldTask struct {
	onTask
	Held events.Held
}

func (c *HoldTask) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *HoldTask) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	if c.IfVersion == 0 && task.Status == events.TaskOnHold && task.Hold.Held == c.Held {
		return nil
	}
	if err := c.allowed(task, events.ActionHold); err != nil {
		return err
	}
	return d.tell(task, events.TaskHeld, &c.Held)
}

// ResumeTask says that the provider goes on.
type ResumeTask struct{ onTask }

func (c *ResumeTask) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *ResumeTask) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	going := task.Status == events.TaskStatusOffered || task.Status == events.TaskStatusAccepted
	if c.IfVersion == 0 && going && task.Hold != nil {
		return nil
	}
	if err := c.allowed(task, events.ActionResume); err != nil {
		return err
	}
	resumed := &events.Resumed{TaskStatus: events.TaskStatusAccepted, AcceptBy: task.AcceptBy, CompleteBy: d.completeBy(task)}
	if task.AcceptedAt.IsZero() {
		resumed.TaskStatus = events.TaskStatusOffered
		resumed.AcceptBy = d.later(task, task.AcceptBy)
	}
	return d.tell(task, events.TaskResumed, resumed)
}

// completeBy is until when a task has to be completed: later by the time that it is on hold.
func (d *Decision) completeBy(task *events.Task) time.Time { return d.later(task, task.CompleteBy) }

func (d *Decision) later(task *events.Task, deadline time.Time) time.Time {
	if deadline.IsZero() || task.Status != events.TaskOnHold {
		return deadline
	}
	return deadline.Add(max(d.at.Sub(task.Hold.Since), 0))
}
