package events

import (
	"fmt"
	"slices"
)

// turn changes a task by the events that carry no result.
func (o *Order) turn(e *Event, task *Task) error {
	switch data := e.Data.(type) {
	case *TaskAmendment:
		task.touch(e)
	case *Expiry:
		o.release(task)
		task.Expired = data
		o.move(e, task, TaskStatusExpired)
	case *Held:
		task.Hold = &Hold{Held: *data, Since: e.Time}
		o.move(e, task, TaskOnHold)
	case *Resumed:
		task.AcceptBy, task.CompleteBy = data.AcceptBy, data.CompleteBy
		o.move(e, task, data.TaskStatus)
	case *Withdrawal:
		o.release(task)
		task.Cancelled = data
		o.move(e, task, TaskStatusCancelled)
	case *CancellationAsked:
		o.askToCancel(e, task, data)
	case *Refusal:
		task.Refused = data
		o.move(e, task, TaskCancelRefused)
	case *Delegated:
		o.takeOn(e, task)
		o.move(e, task, TaskStatusDelegated)
	default:
		return fmt.Errorf("%w: payload %T", ErrUnknown, e.Data)
	}
	return nil
}

func (o *Order) askToCancel(e *Event, task *Task, data *CancellationAsked) {
	task.AnswerBy, task.Refused = data.AnswerBy, nil
	if !data.CompleteBy.IsZero() {
		task.CompleteBy = data.CompleteBy
	}
	if o.Cancellation == nil || o.Cancellation.Status != CancellationRequested {
		o.Cancellation = &Cancellation{Reason: data.Reason, Message: data.Message, RequestedAt: e.Time, Status: CancellationRequested}
	}
	if data.AnswerBy.After(o.Cancellation.AnswerBy) {
		o.Cancellation.AnswerBy = data.AnswerBy
	}
	o.move(e, task, TaskCancelAsked)
}

// settleCancellation finds out whether the providers have answered the user's wish to cancel. Where units are open and no task
// is, order.cancelled has the last word.
func (o *Order) settleCancellation() {
	if o.Cancellation == nil || o.Cancellation.Status != CancellationRequested {
		return
	}
	openTask, openUnits, cancelled := false, int64(0), int64(0)
	for i := range o.Tasks {
		openTask = openTask || o.Tasks[i].Status.Open()
		if o.Tasks[i].Status == TaskCancelAsked {
			return
		}
	}
	for i := range o.Lines {
		openUnits += o.Lines[i].Quantities.Open()
		cancelled += o.Lines[i].Quantities.Cancelled
	}
	switch {
	case openTask, openUnits == 0 && cancelled == 0:
		o.Cancellation.Status = CancellationRefused
	case openUnits == 0:
		o.Cancellation.Status = CancellationDone
	}
}

// cancel counts what is still open as cancelled.
func (o *Order) cancel(e *Event, data *OrderCancellation) error {
	for _, given := range data.Lines {
		line := o.Line(given.LineID)
		if line == nil || given.Quantity > line.Quantities.Open() {
			return fmt.Errorf("line %q has not %d open", given.LineID, given.Quantity)
		}
	}
	for _, given := range data.Lines {
		o.Line(given.LineID).Quantities.Cancelled += given.Quantity
	}
	switch {
	case o.Cancellation != nil:
		o.Cancellation.Status = CancellationDone
	case len(data.Lines) > 0:
		o.Cancellation = &Cancellation{Reason: data.Reason, Message: data.Message, RequestedAt: e.Time, Status: CancellationDone}
	}
	return nil
}

// amend takes over what the order is from now on. Lines that stay keep what was counted of them.
func (o *Order) amend(data *Amended) error {
	lines := make([]Line, len(data.Lines))
	for i, line := range data.Lines {
		lines[i] = Line{PlacedLine: line}
		if have := o.Line(line.LineID); have != nil {
			lines[i].Quantities = have.Quantities
		}
		lines[i].Quantities.Ordered = line.Quantity
		if lines[i].Quantities.Open() < 0 {
			return fmt.Errorf("line %q has more counted than %d", line.LineID, line.Quantity)
		}
	}
	if o.openTaskLacks(data.Lines) {
		return fmt.Errorf("an open task has a line that is taken out")
	}
	o.Lines, o.Shipping, o.Total, o.Attributes = lines, data.Shipping, data.Total, data.Attributes
	if slices.Contains(data.Changed, PartCustomer) {
		o.Customer = data.Customer
	}
	return nil
}

func (o *Order) openTaskLacks(lines []PlacedLine) bool {
	for i := range o.Tasks {
		if !o.Tasks[i].Status.Open() {
			continue
		}
		for _, given := range o.Tasks[i].Lines {
			if !slices.ContainsFunc(lines, func(l PlacedLine) bool { return l.LineID == given.LineID }) {
				return true
			}
		}
	}
	return false
}

// handOver notes a delegate's task with its delegator's.
func (o *Order) handOver(child *Task) error {
	parent := o.Task(child.DelegatedFrom)
	if parent == nil {
		return fmt.Errorf("task %s is delegated from %s, which is not there", child.ID, child.DelegatedFrom)
	}
	parent.Delegations = append(parent.Delegations, Delegation{
		TaskID: child.ID, Delegation: child.Delegation, BusinessType: child.BusinessType, Provider: child.Provider,
		Payload: child.Payload, Note: child.Note, Answers: []Answer{},
	})
	return nil
}

// answer books a delegate's result on its own task and gives it to its delegator's.
func (o *Order) answer(e *Event, task *Task, data *DelegationAnswered) error {
	child, entry := o.Task(data.ChildTaskID), task.delegation(data.ChildTaskID)
	if child == nil || entry == nil {
		return fmt.Errorf("task %s did not delegate to %s", task.ID, data.ChildTaskID)
	}
	if data.ResultID != "" && !data.Late {
		o.takeOn(e, child)
		for _, done := range data.Lines {
			if err := o.count(child, done); err != nil {
				return err
			}
		}
		child.Status = data.ChildStatus
		child.SupportedActions = data.ChildStatus.Actions()
		child.touch(e)
		o.sync(e, child.Provider, syncOf(data.ChildStatus))
	}
	entry.Status = child.Status
	entry.Answers = append(entry.Answers, Answer{
		ResultID: data.ResultID, Outcome: data.Outcome, Lines: data.Lines, Tracking: emptyNotNil(data.Tracking),
		Payload: data.Payload, OccurredAt: data.OccurredAt, PostedAt: e.Time, Late: data.Late,
	})
	o.move(e, task, data.TaskStatus)
	return nil
}
