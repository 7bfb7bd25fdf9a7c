package events

import "slices"

// TaskStatus is where one provider's piece of work stands.
type TaskStatus string

// The task statuses.
const (
	TaskStatusOffered     TaskStatus = "offered"
	TaskStatusAccepted    TaskStatus = "accepted"
	TaskStatusDelegated   TaskStatus = "delegated" // other providers were asked for help and have not all answered
	TaskOnHold            TaskStatus = "on_hold"
	TaskCancelAsked       TaskStatus = "cancellation_requested"
	TaskCancelRefused     TaskStatus = "cancellation_refused"
	TaskStatusCompleted   TaskStatus = "completed"
	TaskIncomplete        TaskStatus = "incomplete"
	TaskStatusRejected    TaskStatus = "rejected"
	TaskStatusExpired     TaskStatus = "expired"
	TaskStatusCancelled   TaskStatus = "cancelled"
	taskBeforeItIsOffered TaskStatus = ""
)

// TaskStatuses lists every task status.
func TaskStatuses() []TaskStatus {
	return []TaskStatus{
		TaskStatusOffered, TaskStatusAccepted, TaskStatusDelegated, TaskOnHold, TaskCancelAsked, TaskCancelRefused,
		TaskStatusCompleted, TaskIncomplete, TaskStatusRejected, TaskStatusExpired, TaskStatusCancelled,
	}
}

// Action is what somebody does to a task.
type Action string

// The actions: of the task's provider, of the order's user, of the clock, and what follows by itself.
const (
	ActionAccept   Action = "accept" // of a cancellation that was requested: agree to it
	ActionReject   Action = "reject" // of a cancellation that was requested: refuse it
	ActionResult   Action = "result"
	ActionHold     Action = "hold"
	ActionResume   Action = "resume"
	ActionDelegate Action = "delegate"
	ActionAmend    Action = "amend"
	ActionCancel   Action = "cancel"
	ActionExpire   Action = "expire"
	ActionOffer    Action = "offer"
	ActionWithdraw Action = "withdraw" // from a delegate whose delegator is at an end
	ActionAnswer   Action = "answer"   // a delegate's result, told to its delegator
)

// Actor is who does an action.
type Actor string

// The actors.
const (
	ByProvider Actor = "provider"
	ByUser     Actor = "user"
	ByClock    Actor = "clock"
	BySystem   Actor = "system"
)

// Transition is a line of the table of what may become of a task. Whatever is not in the table does not happen.
type Transition struct {
	From   TaskStatus   `json:"from"` // empty: there is no task yet
	Action Action       `json:"action"`
	To     []TaskStatus `json:"to"`
	Event  Type         `json:"event"`
	// ChildEvent is what is recorded instead of Event when the task is one that was delegated.
	ChildEvent Type  `json:"child_event,omitempty"`
	By         Actor `json:"by"`
	Late       bool  `json:"late,omitempty"` // kept and flagged, and counts nothing
}

// transitions is the table. The actions that a task lists, what a decision allows and what an event may do to a task all come
// from it.
//
//nolint:gochecknoglobals // a table that nothing changes
var transitions = []Transition{
	step(taskBeforeItIsOffered, ActionOffer, BySystem, TaskOffered, TaskStatusOffered),

	step(TaskStatusOffered, ActionAccept, ByProvider, TaskAccepted, TaskStatusAccepted),
	step(TaskStatusOffered, ActionReject, ByProvider, TaskRejected, TaskStatusRejected),
	posts(TaskStatusOffered, TaskStatusAccepted, TaskStatusCompleted, TaskIncomplete),
	step(TaskStatusOffered, ActionHold, ByProvider, TaskHeld, TaskOnHold),
	step(TaskStatusOffered, ActionDelegate, ByProvider, TaskDelegated, TaskStatusDelegated),
	step(TaskStatusOffered, ActionAmend, ByUser, TaskAmended, TaskStatusOffered),
	step(TaskStatusOffered, ActionAmend, ByUser, TaskCancelled, TaskStatusCancelled),
	step(TaskStatusOffered, ActionCancel, ByUser, TaskCancelled, TaskStatusCancelled),
	step(TaskStatusOffered, ActionExpire, ByClock, TaskExpired, TaskStatusExpired),
	step(TaskStatusOffered, ActionWithdraw, BySystem, TaskCancelled, TaskStatusCancelled),

	step(TaskStatusAccepted, ActionReject, ByProvider, TaskRejected, TaskStatusRejected),
	posts(TaskStatusAccepted, TaskStatusAccepted, TaskStatusCompleted, TaskIncomplete),
	step(TaskStatusAccepted, ActionHold, ByProvider, TaskHeld, TaskOnHold),
	step(TaskStatusAccepted, ActionDelegate, ByProvider, TaskDelegated, TaskStatusDelegated),
	step(TaskStatusAccepted, ActionAmend, ByUser, TaskAmended, TaskStatusAccepted),
	step(TaskStatusAccepted, ActionCancel, ByUser, TaskCancellationRequested, TaskCancelAsked),
	step(TaskStatusAccepted, ActionExpire, ByClock, TaskExpired, TaskStatusExpired),
	step(TaskStatusAccepted, ActionWithdraw, BySystem, TaskCancelled, TaskStatusCancelled),

	step(TaskStatusDelegated, ActionReject, ByProvider, TaskRejected, TaskStatusRejected),
	posts(TaskStatusDelegated, TaskStatusDelegated, TaskStatusCompleted, TaskIncomplete),
	step(TaskStatusDelegated, ActionAnswer, BySystem, TaskDelegationAnswered, TaskStatusDelegated, TaskStatusAccepted),
	step(TaskStatusDelegated, ActionAmend, ByUser, TaskAmended, TaskStatusDelegated),
	step(TaskStatusDelegated, ActionCancel, ByUser, TaskCancellationRequested, TaskCancelAsked),
	step(TaskStatusDelegated, ActionExpire, ByClock, TaskExpired, TaskStatusExpired),
	step(TaskStatusDelegated, ActionWithdraw, BySystem, TaskCancelled, TaskStatusCancelled),

	step(TaskOnHold, ActionReject, ByProvider, TaskRejected, TaskStatusRejected),
	posts(TaskOnHold, TaskOnHold, TaskStatusCompleted, TaskIncomplete),
	step(TaskOnHold, ActionResume, ByProvider, TaskResumed, TaskStatusOffered, TaskStatusAccepted),
	step(TaskOnHold, ActionAmend, ByUser, TaskAmended, TaskOnHold),
	step(TaskOnHold, ActionAmend, ByUser, TaskCancelled, TaskStatusCancelled),
	step(TaskOnHold, ActionCancel, ByUser, TaskCancelled, TaskStatusCancelled),
	step(TaskOnHold, ActionCancel, ByUser, TaskCancellationRequested, TaskCancelAsked),
	step(TaskOnHold, ActionWithdraw, BySystem, TaskCancelled, TaskStatusCancelled),

	step(TaskCancelAsked, ActionAccept, ByProvider, TaskCancelled, TaskStatusCancelled),
	step(TaskCancelAsked, ActionReject, ByProvider, TaskCancellationRefused, TaskCancelRefused),
	posts(TaskCancelAsked, TaskCancelAsked, TaskStatusCompleted, TaskIncomplete, TaskStatusCancelled),
	step(TaskCancelAsked, ActionAmend, ByUser, TaskAmended, TaskCancelAsked),
	step(TaskCancelAsked, ActionExpire, ByClock, TaskCancelled, TaskStatusCancelled),

	step(TaskCancelRefused, ActionReject, ByProvider, TaskRejected, TaskStatusRejected),
	posts(TaskCancelRefused, TaskCancelRefused, TaskStatusCompleted, TaskIncomplete),
	step(TaskCancelRefused, ActionAmend, ByUser, TaskAmended, TaskCancelRefused),
	step(TaskCancelRefused, ActionCancel, ByUser, TaskCancellationRequested, TaskCancelAsked),
	step(TaskCancelRefused, ActionExpire, ByClock, TaskExpired, TaskStatusExpired),

	late(TaskStatusExpired),
	late(TaskStatusCancelled),
}

func step(from TaskStatus, action Action, by Actor, event Type, to ...TaskStatus) Transition {
	return Transition{From: from, Action: action, To: to, Event: event, By: by}
}

// posts is a result: a partial one leaves the task open, others end it. A delegate's is told to its delegator.
func posts(from TaskStatus, to ...TaskStatus) Transition {
	return Transition{From: from, Action: ActionResult, To: to, Event: TaskResultPosted, ChildEvent: TaskDelegationAnswered, By: ByProvider}
}

// late is a result for a task that is over: the work was given up or away meanwhile.
func late(at TaskStatus) Transition {
	t := posts(at, at)
	t.Late = true
	return t
}

// Transitions is the table of what may become of a task.
func Transitions() []Transition { return slices.Clone(transitions) }

// supported lists for each status what a task's provider may do.
//
//nolint:gochecknoglobals // a table that nothing changes
var supported = supportedActions()

func supportedActions() map[TaskStatus][]Action {
	all := map[TaskStatus][]Action{}
	for _, s := range TaskStatuses() {
		all[s] = []Action{}
	}
	for _, t := range transitions {
		if t.By == ByProvider && !slices.Contains(all[t.From], t.Action) {
			all[t.From] = append(all[t.From], t.Action)
		}
	}
	return all
}

// Actions are what a task's status allows its provider. The slice is shared: it must not be changed.
func (s TaskStatus) Actions() []Action { return supported[s] }

// Allows says whether the status allows an action, whoever's it is.
func (s TaskStatus) Allows(a Action) bool {
	return slices.ContainsFunc(transitions, func(t Transition) bool { return t.From == s && t.Action == a })
}

// open are the statuses that lead somewhere.
//
//nolint:gochecknoglobals // a table that nothing changes
var open = openStatuses()

func openStatuses() map[TaskStatus]bool {
	all := map[TaskStatus]bool{}
	for _, t := range transitions {
		if t.From != taskBeforeItIsOffered && !t.Late {
			all[t.From] = true
		}
	}
	return all
}

// Open says whether work on the task may still come: whether anything may change its status.
func (s TaskStatus) Open() bool { return open[s] }

// Follows says whether an event of a type may bring a task from one status to another.
func Follows(from TaskStatus, t Type, to TaskStatus) bool {
	return slices.ContainsFunc(transitions, func(row Transition) bool {
		return row.From == from && (row.Event == t || row.ChildEvent == t) && slices.Contains(row.To, to)
	})
}
