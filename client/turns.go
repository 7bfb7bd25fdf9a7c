package client

import (
	"context"
	"time"
)

// The statuses of a task.
const (
	TaskOffered               = "offered"
	TaskAccepted              = "accepted"
	TaskDelegated             = "delegated" // other providers were asked for help and have not all answered
	TaskOnHold                = "on_hold"
	TaskCancellationRequested = "cancellation_requested" // accept agrees to it, reject refuses it
	TaskCancellationRefused   = "cancellation_refused"
	TaskCompleted             = "completed"
	TaskIncomplete            = "incomplete"
	TaskRejected              = "rejected"
	TaskExpired               = "expired"
	TaskCancelled             = "cancelled"
)

// The statuses of an order.
const (
	OrderRouted             = "routed"
	OrderProcessing         = "processing"
	OrderPartiallyCompleted = "partially_completed"
	OrderCompleted          = "completed"
	OrderUnrouted           = "unrouted"        // nobody could be asked; it is offered when the providers change
	OrderActionRequired     = "action_required" // nobody is left after rejections, or all that is open is on hold
	OrderRejected           = "rejected"
	OrderCancelled          = "cancelled"
	OrderExpired            = "expired" // nobody is left after deadlines; it is offered when the providers change
)

// HoldReason is why a provider cannot go on with a task at present.
type HoldReason struct {
	ReasonCode string `json:"reason_code"`
	Message    string `json:"message,omitempty"`
}

// Hold is the last time that a task was on hold.
type Hold struct {
	HoldReason
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: it still is
}

// Expiry is why a task expired.
type Expiry struct {
	Deadline string `json:"deadline"` // accept or complete
}

// Withdrawal is why a task was taken back.
type Withdrawal struct {
	Reason string `json:"reason"`           // amended, order_cancelled, agreed, no_answer or delegator_ended
	Forced bool   `json:"forced,omitempty"` // its provider had accepted and did not answer in time
}

// Refusal is why a provider refused a cancellation.
type Refusal struct {
	ReasonCode string `json:"reason_code"`
	Message    string `json:"message,omitempty"`
}

// Delegation is another provider's task that helps with a task.
type Delegation struct {
	TaskID       string             `json:"task_id"`
	Delegation   int                `json:"delegation"` // tasks that were asked together have the same number, from 1
	BusinessType string             `json:"business_type"`
	Provider     string             `json:"provider"`
	Status       string             `json:"status"`
	Payload      Object             `json:"payload,omitempty"` // what was handed over
	Note         string             `json:"note,omitempty"`
	Answers      []DelegationAnswer `json:"answers"`
}

// DelegationAnswer is a delegate's result, told to its delegator. Without a ResultID it says that nobody would help.
type DelegationAnswer struct {
	ResultID   string       `json:"result_id,omitempty"`
	Outcome    string       `json:"outcome"`
	Lines      []ResultLine `json:"lines"`
	Tracking   []Tracking   `json:"tracking"`
	Payload    Object       `json:"payload,omitempty"`
	OccurredAt time.Time    `json:"occurred_at,omitzero"`
	PostedAt   time.Time    `json:"posted_at"`
	Late       bool         `json:"late,omitempty"` // it was no longer waited for
}

// Due is when the deadline that runs for the task is past: to accept it, to complete it or to answer a cancellation. It is zero where
// none runs.
func (t *Task) Due() time.Time {
	switch t.Status {
	case TaskOffered:
		if t.CompleteBy.IsZero() || !t.AcceptBy.IsZero() && t.AcceptBy.Before(t.CompleteBy) {
			return t.AcceptBy
		}
		return t.CompleteBy
	case TaskAccepted, TaskDelegated, TaskCancellationRefused:
		return t.CompleteBy
	case TaskCancellationRequested:
		return t.AnswerBy
	}
	return time.Time{}
}

// HoldTask says that the provider cannot go on at present. The task's deadlines do not run until it is resumed.
func (c *Client) HoldTask(ctx context.Context, id string, why HoldReason, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, id, ActionHold, why, options)
}

// ResumeTask says that the provider goes on.
func (c *Client) ResumeTask(ctx context.Context, id string, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, id, ActionResume, struct{}{}, options)
}

// DelegationRequest is the help that a provider asks for with its task.
type DelegationRequest struct {
	BusinessType string         `json:"business_type"`     // whose help
	Lines        []TaskQuantity `json:"lines,omitempty"`   // none: all that the task has open
	Payload      Object         `json:"payload,omitempty"` // handed over; stands in the delegate's task
	Note         string         `json:"note,omitempty"`    // for people
}

// TaskQuantity is how much of a line help is asked for.
type TaskQuantity struct {
	LineID   string `json:"line_id"`
	Quantity int64  `json:"quantity"`
}

// DelegateTask asks a provider of another business type for help. The delegate pulls what is handed over with its own task, and its
// answer comes back as task.delegation_answered and stands in this task's Delegations: the user sees none of it, only the result that
// is posted for this task. Problems have the codes task_state, delegation_cycle, delegation_depth, and invalid where nobody can help.
func (c *Client) DelegateTask(ctx context.Context, id string, help DelegationRequest, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, id, ActionDelegate, help, options)
}
