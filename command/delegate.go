package command

import (
	"fmt"
	"slices"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// maxLevel is how deep tasks may be delegated: a task, its delegate, and that one's delegate.
const maxLevel = 3

// DelegateTask asks providers of another business type for help with a task. The task stays its provider's to answer for: the help
// comes back to it, and the user hears the result from it alone.
type DelegateTask struct {
	onTask
	BusinessType string
	Lines        []events.TaskQuantity // empty: all that the task has open
	Payload      []byte
	Note         string
}

func (c *DelegateTask) apply(r *round) (reply, error) { return c.run(r, c) }

func (c *DelegateTask) decide(d *Decision) error {
	task, err := c.find(d)
	if err != nil {
		return err
	}
	if c.IfVersion == 0 && c.done(d, task) {
		return nil
	}
	if err := c.allowed(task, events.ActionDelegate); err != nil {
		return err
	}
	lines, err := c.lines(task)
	if err != nil {
		return err
	}
	chain, err := c.chain(d, task)
	if err != nil {
		return err
	}
	a := d.assign(c.BusinessType, chain, true)
	if len(a.providers) == 0 {
		return c.nobody(&a, chain)
	}
	return c.record(d, task, lines, &a)
}

// done says whether the same help was asked for last, and is still waited for.
func (c *DelegateTask) done(d *Decision, task *events.Task) bool {
	if task.Status != events.TaskStatusDelegated {
		return false
	}
	last := &task.Delegations[len(task.Delegations)-1]
	if last.BusinessType != c.BusinessType || last.Note != c.Note || !sameJSON(last.Payload, c.Payload) {
		return false
	}
	asked := d.Order.Task(last.TaskID).Lines
	return len(c.Lines) == 0 || slices.EqualFunc(c.Lines, asked, func(a events.TaskQuantity, b events.TaskLine) bool { return a == b.TaskQuantity })
}

// lines are those that help is asked for.
func (c *DelegateTask) lines(task *events.Task) ([]events.TaskQuantity, error) {
	owed := task.Owes()
	if len(owed) == 0 {
		return nil, fault.New(fault.TaskState, "the task has nothing open that could be delegated").
			With("task_status", task.Status).With("supported_actions", task.SupportedActions)
	}
	if len(c.Lines) == 0 {
		return owed, nil
	}
	asked := make([]events.ResultLine, len(c.Lines))
	left := make(map[string]int64, len(owed))
	for _, line := range task.Lines {
		left[line.LineID] = line.Open()
	}
	for i, line := range c.Lines {
		asked[i] = events.ResultLine{LineID: line.LineID, Quantity: line.Quantity}
	}
	return c.Lines, checkLines(asked, left)
}

// chain lists the providers that ask for help already, from the task up. It must not come back to where it started.
func (c *DelegateTask) chain(d *Decision, task *events.Task) (map[string]string, error) {
	if task.Level() >= maxLevel {
		return nil, fault.New(fault.DelegationDepth, "a task can be delegated %d times in a row at most", maxLevel-1).With("depth", task.Level())
	}
	chain := map[string]string{}
	for at := task; at != nil; at = d.Order.Task(at.DelegatedFrom) {
		if at.BusinessType == c.BusinessType {
			return nil, fault.New(fault.DelegationCycle, "business type %q is asking for this help itself", c.BusinessType)
		}
		chain[at.Provider] = excludedAsking
	}
	return chain, nil
}

const excludedAsking = "asks for this help itself"

func (c *DelegateTask) nobody(a *assignment, chain map[string]string) error {
	for _, candidate := range a.routing.Candidates {
		if chain[candidate.Provider] != "" {
			return fault.New(fault.DelegationCycle, "only providers that ask for this help themselves do %q", c.BusinessType)
		}
	}
	return fault.InvalidFields([]fault.Field{{Pointer: "/business_type", Detail: "no provider can be asked for this"}})
}

func (c *DelegateTask) record(d *Decision, task *events.Task, lines []events.TaskQuantity, a *assignment) error {
	number := 1
	for i := range task.Delegations {
		number = max(number, task.Delegations[i].Delegation+1)
	}
	children := make([]string, len(a.providers))
	for i := range children {
		children[i] = d.newID()
	}
	depth := task.Level() + 1
	err := d.tell(task, events.TaskDelegated, &events.Delegated{
		Delegation: number, BusinessType: c.BusinessType, Children: children, Lines: lines, Payload: c.Payload, Note: c.Note,
	})
	if err != nil {
		return err
	}
	return d.offer(a, c.BusinessType, &events.Offered{
		Lines: lines, Attempt: attemptsAt(d.Order, c.BusinessType) + 1, DelegatedFrom: c.TaskID, Delegation: number, Depth: depth,
		Payload: c.Payload, Note: c.Note,
	}, children)
}

// endDelegates takes the open tasks that help with a task back, and those that help with them: it comes before the task's own end.
func (d *Decision) endDelegates(taskID string) error {
	for i := range d.Order.Tasks {
		child := &d.Order.Tasks[i]
		if child.DelegatedFrom != taskID || !child.Status.Open() {
			continue
		}
		if err := d.endDelegates(child.ID); err != nil {
			return err
		}
		if err := d.tell(child, events.TaskCancelled, &events.Withdrawal{Reason: events.WithdrawnDelegator}); err != nil {
			return err
		}
	}
	return nil
}

// helpers are the tasks of one delegation that are open, beside one of them.
func (d *Decision) helpers(child *events.Task) int {
	n := 0
	for i := range d.Order.Tasks {
		task := &d.Order.Tasks[i]
		if task.DelegatedFrom == child.DelegatedFrom && task.ID != child.ID && task.Status.Open() {
			n++
		}
	}
	return n
}

// passOn offers what a delegate did not do to the next candidate. When there is none, or somebody else of the same delegation has done
// it, the delegator is told that nothing more will come.
func (d *Decision) passOn(childID string) error {
	child := *d.Order.Task(childID)
	if d.helpers(&child) > 0 {
		return nil
	}
	parent := d.Order.Task(child.DelegatedFrom)
	helped := slices.ContainsFunc(parent.Delegations, func(h events.Delegation) bool {
		return h.Delegation == child.Delegation && h.Status == events.TaskStatusCompleted
	})
	if owed := child.Owes(); !helped && len(owed) > 0 {
		chain := map[string]string{}
		for at := parent; at != nil; at = d.Order.Task(at.DelegatedFrom) {
			chain[at.Provider] = excludedAsking
		}
		a := d.next(child.BusinessType, chain)
		if len(a.providers) > 0 {
			return d.offer(&a, child.BusinessType, &events.Offered{
				Lines: owed, Attempt: attemptsAt(d.Order, child.BusinessType) + 1, DelegatedFrom: child.DelegatedFrom,
				Delegation: child.Delegation, Depth: child.Depth, Payload: child.Payload, Note: child.Note,
			}, nil)
		}
	}
	return d.tell(parent, events.TaskDelegationAnswered, &events.DelegationAnswered{
		ChildTaskID: child.ID, ChildProvider: child.Provider, ChildStatus: child.Status, TaskStatus: events.TaskStatusAccepted,
		Outcome: events.OutcomeFailed, Lines: []events.ResultLine{},
	})
}

// answer tells a delegate's result to its delegator.
func (d *Decision) answer(childID string, posted *events.ResultPosted) error {
	child := d.Order.Task(childID)
	parent := d.Order.Task(child.DelegatedFrom)
	if parent == nil {
		return fmt.Errorf("task %s is delegated from %s, which is not there", childID, child.DelegatedFrom)
	}
	after := parent.Status
	if !posted.Late && !posted.TaskStatus.Open() && d.helpers(child) == 0 {
		after = events.TaskStatusAccepted
	}
	return d.tell(parent, events.TaskDelegationAnswered, &events.DelegationAnswered{
		ChildTaskID: childID, ChildProvider: child.Provider, ChildStatus: posted.TaskStatus, TaskStatus: after,
		ResultID: posted.ResultID, Outcome: posted.Outcome, Lines: posted.Lines, Tracking: posted.Tracking, Payload: posted.Payload,
		OccurredAt: posted.OccurredAt, Late: posted.Late,
	})
}
