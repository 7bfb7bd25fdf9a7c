package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// FulfillmentStatus is where the goods or services are.
type FulfillmentStatus string

// The fulfillment statuses.
const (
	Unfulfilled FulfillmentStatus = "unfulfilled"
	Partial     FulfillmentStatus = "partial"
	Fulfilled   FulfillmentStatus = "fulfilled"
	Delivered   FulfillmentStatus = "delivered"
	Returned    FulfillmentStatus = "returned"
)

// Policy is how a route chooses among matching providers.
type Policy string

// The routing policies.
const (
	PolicyAll         Policy = "all"
	PolicyLeastLoaded Policy = "least_loaded"
)

// Outcome is what a result says of its task.
type Outcome string

// The outcomes of a result.
const (
	OutcomeCompleted Outcome = "completed"
	OutcomePartial   Outcome = "partial"
	OutcomeFailed    Outcome = "failed"
)

// LineOutcome is what became of a quantity of a line.
type LineOutcome string

// The outcomes of a line.
const (
	LineFulfilled LineOutcome = "fulfilled"
	LineRejected  LineOutcome = "rejected"
	LineCancelled LineOutcome = "cancelled"
)

// SyncState tells how far a party is with an order.
type SyncState string

// The sync states.
const (
	SyncPending SyncState = "pending"
	Syncing     SyncState = "syncing"
	Synced      SyncState = "synced"
	SyncFailed  SyncState = "failed"
)

// Order is the order document: what the API answers, the write side's state and the read view's row are these same bytes.
type Order struct {
	ID                string            `json:"id"`
	Tenant            string            `json:"tenant"`
	Channel           string            `json:"channel"`
	ExternalRef       string            `json:"external_ref"`
	BusinessType      string            `json:"business_type"`
	Region            string            `json:"region"`
	Version           int64             `json:"version"`
	Status            OrderStatus       `json:"status"`
	FulfillmentStatus FulfillmentStatus `json:"fulfillment_status"`
	Currency          string            `json:"currency"`
	Total             int64             `json:"total"`
	Shipping          int64             `json:"shipping"`
	PlacedAt          time.Time         `json:"placed_at"`
	UpdatedAt         time.Time         `json:"updated_at"`
	Customer          *Customer         `json:"customer,omitempty"`
	Attributes        json.RawMessage   `json:"attributes,omitempty"`
	Cancellation      *Cancellation     `json:"cancellation,omitempty"`
	Lines             []Line            `json:"lines"`
	SyncStatus        []SyncStatus      `json:"sync_status"`
	Tasks             []Task            `json:"tasks"`
	Results           []Result          `json:"results"`
	Returns           []Return          `json:"returns,omitempty"`
}

// CancellationState is how far a user's wish to cancel is.
type CancellationState string

// The states of a cancellation.
const (
	CancellationRequested CancellationState = "requested" // a provider that had accepted has to answer
	CancellationRefused   CancellationState = "refused"   // work goes on
	CancellationDone      CancellationState = "done"      // nothing is open any more, and units were cancelled
)

// Cancellation is a user's wish to cancel the order, and what became of it.
type Cancellation struct {
	Reason      string            `json:"reason,omitempty"`
	Message     string            `json:"message,omitempty"`
	RequestedAt time.Time         `json:"requested_at"`
	AnswerBy    time.Time         `json:"answer_by,omitzero"` // the latest of its tasks'; silence is taken for yes
	Status      CancellationState `json:"status"`
}

// Line is a line of the order document.
type Line struct {
	PlacedLine
	Quantities Quantities `json:"quantities"`
}

// Quantities are a line's counters. Fulfilled + Rejected + Cancelled <= Ordered and Returned <= Fulfilled, always.
type Quantities struct {
	Ordered   int64 `json:"ordered"`
	Assigned  int64 `json:"assigned"` // held by tasks that are open or ended with a result
	Accepted  int64 `json:"accepted"` // of those, taken on by their providers
	Fulfilled int64 `json:"fulfilled"`
	Rejected  int64 `json:"rejected"`
	Cancelled int64 `json:"cancelled"`
	Returned  int64 `json:"returned"` // of what was fulfilled
}

// Open is what is neither fulfilled nor given up.
func (q Quantities) Open() int64 { return q.Ordered - q.Fulfilled - q.Rejected - q.Cancelled }

// Kept is what is fulfilled and has not come back.
func (q Quantities) Kept() int64 { return q.Fulfilled - q.Returned }

// SyncStatus is how far one party is with the order.
type SyncStatus struct {
	Party    string    `json:"party"`
	Kind     string    `json:"kind"` // provider or auxiliary
	Status   SyncState `json:"status"`
	Since    time.Time `json:"since"`
	Position int64     `json:"position"` // of the event that changed it
}

// Result is a result as the order document shows it.
type Result struct {
	ResultID   string          `json:"result_id"`
	TaskID     string          `json:"task_id"`
	Provider   string          `json:"provider"`
	Outcome    Outcome         `json:"outcome"`
	Lines      []ResultLine    `json:"lines"`
	Tracking   []Tracking      `json:"tracking"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	OccurredAt time.Time       `json:"occurred_at"`
	PostedAt   time.Time       `json:"posted_at"`
	Late       bool            `json:"late,omitempty"`
}

// Task finds a task of the order by its id; nil where the order has none such.
func (o *Order) Task(id string) *Task {
	for i := range o.Tasks {
		if o.Tasks[i].ID == id {
			return &o.Tasks[i]
		}
	}
	return nil
}

// Line finds a line by its id; nil where the order has none such.
func (o *Order) Line(id string) *Line {
	for i := range o.Lines {
		if o.Lines[i].LineID == id {
			return &o.Lines[i]
		}
	}
	return nil
}

// DecodeOrder reads a document's bytes.
func DecodeOrder(b []byte) (*Order, error) {
	o := new(Order)
	if err := json.Unmarshal(b, o); err != nil {
		return nil, fmt.Errorf("decode order: %w", err)
	}
	return o, nil
}
