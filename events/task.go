package events

import (
	"encoding/json"
	"time"
)

// Task is one provider's piece of work on the order.
type Task struct {
	ID               string          `json:"id"`
	OrderID          string          `json:"order_id"`
	Provider         string          `json:"provider"`
	BusinessType     string          `json:"business_type"`
	Status           TaskStatus      `json:"status"`
	SupportedActions []Action        `json:"supported_actions"`
	Version          int64           `json:"version"`
	Attempt          int             `json:"attempt"`
	AcceptBy         time.Time       `json:"accept_by,omitzero"`
	CompleteBy       time.Time       `json:"complete_by,omitzero"`
	AnswerBy         time.Time       `json:"answer_by,omitzero"` // to a cancellation that was requested
	OfferedAt        time.Time       `json:"offered_at"`
	AcceptedAt       time.Time       `json:"accepted_at,omitzero"` // accepted, or done something that implies it
	UpdatedAt        time.Time       `json:"updated_at"`
	DelegatedFrom    string          `json:"delegated_from,omitempty"` // the task that asks for help; the members below go with it
	Delegation       int             `json:"delegation,omitempty"`
	Depth            int             `json:"depth,omitempty"`
	Payload          json.RawMessage `json:"payload,omitempty"`
	Note             string          `json:"note,omitempty"`
	Lines            []TaskLine      `json:"lines"`
	Rejected         *Rejection      `json:"rejected,omitempty"`
	Expired          *Expiry         `json:"expired,omitempty"`
	Hold             *Hold           `json:"hold,omitempty"`
	Cancelled        *Withdrawal     `json:"cancelled,omitempty"`
	Refused          *Refusal        `json:"cancellation_refused,omitempty"`
	Delegations      []Delegation    `json:"delegations,omitempty"`
	Routing          Routing         `json:"routing"`
}

// TaskLine is what a task was given of a line and what became of it.
type TaskLine struct {
	TaskQuantity
	Fulfilled int64 `json:"fulfilled"`
	Rejected  int64 `json:"rejected"`
	Cancelled int64 `json:"cancelled"`
}

// Open is what the task still owes of the line.
func (l TaskLine) Open() int64 { return l.Quantity - l.Fulfilled - l.Rejected - l.Cancelled }

// Hold is the last time that a task was on hold.
type Hold struct {
	Held
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // zero: it still is
}

// Delegation is another provider's task that helps with this one.
type Delegation struct {
	TaskID       string          `json:"task_id"`
	Delegation   int             `json:"delegation"` // tasks of one request have the same number, from 1
	BusinessType string          `json:"business_type"`
	Provider     string          `json:"provider"`
	Status       TaskStatus      `json:"status"`
	Payload      json.RawMessage `json:"payload,omitempty"` // what was handed over
	Note         string          `json:"note,omitempty"`
	Answers      []Answer        `json:"answers"`
}

// Answer is a delegate's result, as the delegator sees it. Without a result id it says that nobody would do it.
type Answer struct {
	ResultID   string          `json:"result_id,omitempty"`
	Outcome    Outcome         `json:"outcome"`
	Lines      []ResultLine    `json:"lines"`
	Tracking   []Tracking      `json:"tracking"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	OccurredAt time.Time       `json:"occurred_at,omitzero"`
	PostedAt   time.Time       `json:"posted_at"`
	Late       bool            `json:"late,omitempty"`
}

// Level is how deep in delegation the task is: 1 for one that was not delegated.
func (t *Task) Level() int { return max(t.Depth, 1) }

// Due is the deadline that runs for the task, and when it is past. The time is zero where none does.
func (t *Task) Due() (time.Time, Deadline) {
	switch t.Status {
	case TaskStatusOffered:
		if !t.AcceptBy.IsZero() && (t.CompleteBy.IsZero() || t.AcceptBy.Before(t.CompleteBy)) {
			return t.AcceptBy, DeadlineAccept
		}
		return t.CompleteBy, DeadlineComplete
	case TaskStatusAccepted, TaskStatusDelegated, TaskCancelRefused:
		return t.CompleteBy, DeadlineComplete
	case TaskCancelAsked:
		return t.AnswerBy, DeadlineCancelAnswer
	}
	return time.Time{}, ""
}

// Owes is what the task still has open of its lines.
func (t *Task) Owes() []TaskQuantity {
	lines := make([]TaskQuantity, 0, len(t.Lines))
	for _, given := range t.Lines {
		if n := given.Open(); n > 0 {
			lines = append(lines, TaskQuantity{LineID: given.LineID, Quantity: n})
		}
	}
	return lines
}

// delegation finds the entry of a delegate; nil where the task has none such.
func (t *Task) delegation(childID string) *Delegation {
	for i := range t.Delegations {
		if t.Delegations[i].TaskID == childID {
			return &t.Delegations[i]
		}
	}
	return nil
}
