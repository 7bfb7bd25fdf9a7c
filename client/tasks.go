package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// Task is one provider's piece of work on one order.
type Task struct {
	ID               string     `json:"id"`
	OrderID          string     `json:"order_id"`
	Provider         string     `json:"provider"`
	BusinessType     string     `json:"business_type"`
	Status           string     `json:"status"` // TaskOffered and so on
	SupportedActions []string   `json:"supported_actions"`
	Version          int64      `json:"version"`
	Attempt          int        `json:"attempt"`
	AcceptBy         time.Time  `json:"accept_by,omitzero"`   // zero: no limit
	CompleteBy       time.Time  `json:"complete_by,omitzero"` // zero: no limit
	AnswerBy         time.Time  `json:"answer_by,omitzero"`   // to a cancellation that was requested
	OfferedAt        time.Time  `json:"offered_at"`
	AcceptedAt       time.Time  `json:"accepted_at,omitzero"` // accepted, or did something that implies it; zero: not yet
	UpdatedAt        time.Time  `json:"updated_at"`
	Lines            []TaskLine `json:"lines"`
	Routing          Routing    `json:"routing"`

	// Of a task that helps with another one: that one, the how many-th help it asked for, how deep this is (from 2), and what was
	// handed over.
	DelegatedFrom string `json:"delegated_from,omitempty"`
	Delegation    int    `json:"delegation,omitempty"`
	Depth         int    `json:"depth,omitempty"`
	Payload       Object `json:"payload,omitempty"`
	Note          string `json:"note,omitempty"`

	// What has happened to it, where it has.
	Rejected            *Rejection   `json:"rejected,omitempty"`
	Expired             *Expiry      `json:"expired,omitempty"`
	Hold                *Hold        `json:"hold,omitempty"`
	Cancelled           *Withdrawal  `json:"cancelled,omitempty"`
	CancellationRefused *Refusal     `json:"cancellation_refused,omitempty"`
	Delegations         []Delegation `json:"delegations,omitempty"`

	Meta Meta `json:"-"`
}

// What a task's SupportedActions may hold.
const (
	ActionAccept   = "accept"
	ActionReject   = "reject"
	ActionResult   = "result"
	ActionHold     = "hold"
	ActionResume   = "resume"
	ActionDelegate = "delegate"
)

// Allows tells whether the task supported an action when it was read.
func (t *Task) Allows(action string) bool {
	for _, supported := range t.SupportedActions {
		if supported == action {
			return true
		}
	}
	return false
}

// TaskLine is what a task was given of a line, and what became of it.
type TaskLine struct {
	LineID    string `json:"line_id"`
	Quantity  int64  `json:"quantity"`
	Fulfilled int64  `json:"fulfilled"`
	Rejected  int64  `json:"rejected"`
	Cancelled int64  `json:"cancelled"`
}

// Open is what the task still owes of the line.
func (l TaskLine) Open() int64 { return l.Quantity - l.Fulfilled - l.Rejected - l.Cancelled }

// Routing says why a provider was chosen.
type Routing struct {
	Policy     string      `json:"policy"`
	Candidates []Candidate `json:"candidates"`     // best first
	More       int         `json:"more,omitempty"` // how many more there were than are listed
	Why        string      `json:"why"`
}

// Candidate is a provider that was looked at when the task was offered.
type Candidate struct {
	Provider string  `json:"provider"`
	Region   string  `json:"region,omitempty"`  // the region by which it matched
	Tier     string  `json:"tier,omitempty"`    // same_region, every_region or other_region
	Load     float64 `json:"load"`              // from 1 on it is full
	Circuit  string  `json:"circuit,omitempty"` // open or half_open after failures in a row
	Chosen   bool    `json:"chosen"`
	Excluded string  `json:"excluded,omitempty"` // why it was left out
}

// Rejection is why a provider does not take a task.
type Rejection struct {
	ReasonCode string `json:"reason_code"`
	Blocking   bool   `json:"blocking"` // do not ask this provider again for this order
	Message    string `json:"message,omitempty"`
}

// The outcomes of a result.
const (
	OutcomeCompleted = "completed" // without lines: all that was left is fulfilled
	OutcomePartial   = "partial"
	OutcomeFailed    = "failed"
)

// The outcomes of a quantity of a line.
const (
	LineFulfilled = "fulfilled"
	LineRejected  = "rejected"
	LineCancelled = "cancelled"
)

// ResultSubmission is a result as a provider posts it. It is applied once, however often it is sent under its ResultID.
type ResultSubmission struct {
	ResultID   string       `json:"result_id"` // the provider's own, unique for ever
	Outcome    string       `json:"outcome"`
	Lines      []ResultLine `json:"lines,omitempty"`
	Tracking   []Tracking   `json:"tracking,omitempty"`
	Payload    Object       `json:"payload,omitempty"`
	OccurredAt time.Time    `json:"occurred_at,omitzero"` // by the provider's clock
}

// Result is a result as an order shows it.
type Result struct {
	ResultID   string       `json:"result_id"`
	TaskID     string       `json:"task_id"`
	Provider   string       `json:"provider"`
	Outcome    string       `json:"outcome"`
	Lines      []ResultLine `json:"lines"`
	Tracking   []Tracking   `json:"tracking"`
	Payload    Object       `json:"payload,omitempty"`
	OccurredAt time.Time    `json:"occurred_at"`
	PostedAt   time.Time    `json:"posted_at"`
	Late       bool         `json:"late,omitempty"` // the order was no longer waiting for it
}

// ResultLine is the outcome of a quantity of a line.
type ResultLine struct {
	LineID   string `json:"line_id"`
	Quantity int64  `json:"quantity"`
	Outcome  string `json:"outcome"`
}

// Tracking is one parcel's reference.
type Tracking struct {
	Carrier string `json:"carrier,omitempty"`
	Number  string `json:"number,omitempty"`
	URL     string `json:"url,omitempty"`
	// Status is in_transit, delivered or empty. An order is delivered when all of its parcels are.
	Status      string    `json:"status,omitempty"`
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
}

// TaskFilter selects tasks of the provider's inbox; its zero value selects all.
type TaskFilter struct {
	Status   []string // any of them
	PageSize int      // 1 to 200; 0: the store's default
	Position int64    // as in GetOptions
}

// ListTasks goes through the provider's tasks, page by page. It ends after the first error.
func (c *Client) ListTasks(ctx context.Context, filter TaskFilter) iter.Seq2[Task, error] {
	r := read("v1", "tasks")
	if len(filter.Status) > 0 {
		r.query["status"] = filter.Status
	}
	if limit := count(filter.PageSize); limit != "" {
		r.query.Set("limit", limit)
	}
	r.atLeast(filter.Position)
	return func(yield func(Task, error) bool) {
		for page, err := range pages[Task](ctx, c, r) {
			if err != nil {
				yield(Task{Meta: page.meta}, fmt.Errorf("list tasks: %w", err))
				return
			}
			for _, task := range page.Items {
				task.Meta = page.meta
				if !yield(task, nil) {
					return
				}
			}
		}
	}
}

// AcceptTask takes a task on; where its cancellation is requested, it agrees to that. Where the task's state does not allow it, the
// Problem has the code task_state and says what it does.
func (c *Client) AcceptTask(ctx context.Context, id string, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, id, ActionAccept, struct{}{}, options)
}

// RejectTask gives a task back; another provider may be asked. Where the task's cancellation is requested, it refuses that, and the
// provider goes on.
func (c *Client) RejectTask(ctx context.Context, id string, why Rejection, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, id, ActionReject, why, options)
}

// PostResult posts what became of a task, which need not have been accepted before. Meta.Replayed says that this ResultID
// had been posted before. A result for a task that is over is kept with Late set, and counts nothing.
func (c *Client) PostResult(ctx context.Context, taskID string, result ResultSubmission, options ...WriteOption) (Task, error) {
	return c.taskAction(ctx, taskID, ActionResult, result, options)
}

func (c *Client) taskAction(ctx context.Context, id, action string, body any, options []WriteOption) (Task, error) {
	r := write(http.MethodPost, body, "v1", "tasks", id, action)
	for _, option := range options {
		option(&r)
	}
	var task Task
	meta, err := c.do(ctx, r, &task)
	if meta.Status == http.StatusOK && action == ActionResult {
		meta.Replayed = true
	}
	task.Meta = meta
	if err != nil {
		return task, fmt.Errorf("%s task %s: %w", action, id, err)
	}
	return task, nil
}
