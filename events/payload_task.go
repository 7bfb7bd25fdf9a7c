package events

import (
	"encoding/json"
	"time"
)

// The parts of an order that can be amended, as Amended names them.
const (
	PartCustomer   = "customer"
	PartAttributes = "attributes"
	PartShipping   = "shipping"
	PartLines      = "lines"
)

// Amended is the payload of order.amended: the order as it is to be from now on. All of it is there, changed or not, so that who
// keeps something made of several parts need not remember the others; the customer alone is there only where it changed.
type Amended struct {
	Changed     []string        `json:"changed"` // the parts that changed
	ExternalRef string          `json:"external_ref"`
	Lines       []PlacedLine    `json:"lines"`
	Shipping    int64           `json:"shipping"`
	Total       int64           `json:"total"`
	Customer    *Customer       `json:"customer,omitempty"` // left out though it changed: removed
	Attributes  json.RawMessage `json:"attributes,omitempty"`
}

// OrderCancellation is the payload of order.cancelled.
type OrderCancellation struct {
	Reason  string         `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	Lines   []TaskQuantity `json:"lines"` // what was still open and is cancelled by this
}

// TaskAmendment is the payload of task.amended.
type TaskAmendment struct {
	Changed []string `json:"changed"`
}

// Deadline names one of a task's deadlines.
type Deadline string

// The deadlines.
const (
	DeadlineAccept       Deadline = "accept"
	DeadlineComplete     Deadline = "complete"
	DeadlineCancelAnswer Deadline = "cancel_answer"
)

// Expiry is the payload of task.expired.
type Expiry struct {
	Deadline Deadline `json:"deadline"`
}

// Held is the payload of task.held.
type Held struct {
	ReasonCode string `json:"reason_code"`
	Message    string `json:"message,omitempty"`
}

// Resumed is the payload of task.resumed. The deadlines are later by the time that the task was on hold.
type Resumed struct {
	TaskStatus TaskStatus `json:"task_status"`
	AcceptBy   time.Time  `json:"accept_by,omitzero"`
	CompleteBy time.Time  `json:"complete_by,omitzero"`
}

// The reasons for which a task is cancelled.
const (
	WithdrawnAmended   = "amended"         // the lines changed; what is open is offered anew
	WithdrawnCancelled = "order_cancelled" // the user cancelled before the provider accepted
	WithdrawnAgreed    = "agreed"          // the provider agreed to the cancellation
	WithdrawnSilent    = "no_answer"       // the provider did not answer in time
	WithdrawnDelegator = "delegator_ended" // the task that it helps is at an end
)

// Withdrawal is the payload of task.cancelled.
type Withdrawal struct {
	Reason string `json:"reason"`
	Forced bool   `json:"forced,omitempty"` // the provider had accepted and did not answer
}

// CancellationAsked is the payload of task.cancellation_requested.
type CancellationAsked struct {
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	AnswerBy   time.Time `json:"answer_by"`
	CompleteBy time.Time `json:"complete_by,omitzero"` // what holds if it is refused
}

// Refusal is the payload of task.cancellation_refused.
type Refusal struct {
	ReasonCode string `json:"reason_code"`
	Message    string `json:"message,omitempty"`
}

// Delegated is the payload of task.delegated. The offers to the children follow it.
type Delegated struct {
	Delegation   int             `json:"delegation"` // the how many-th of the task, from 1
	BusinessType string          `json:"business_type"`
	Children     []string        `json:"children"` // task ids
	Lines        []TaskQuantity  `json:"lines"`
	Payload      json.RawMessage `json:"payload,omitempty"`
	Note         string          `json:"note,omitempty"`
}

// DelegationAnswered is the payload of task.delegation_answered: a delegate's result, told to its delegator. Without a result id
// it says that nobody would do it.
type DelegationAnswered struct {
	ChildTaskID   string          `json:"child_task_id"`
	ChildProvider string          `json:"child_provider"`
	ChildStatus   TaskStatus      `json:"child_status"` // after this
	TaskStatus    TaskStatus      `json:"task_status"`  // the delegator's task's, after this
	ResultID      string          `json:"result_id,omitempty"`
	Outcome       Outcome         `json:"outcome"`
	Lines         []ResultLine    `json:"lines"`
	Tracking      []Tracking      `json:"tracking,omitempty"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	OccurredAt    time.Time       `json:"occurred_at,omitzero"` // by the delegate's clock
	Late          bool            `json:"late,omitempty"`       // it was no longer waited for
}
