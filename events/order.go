package events

import (
	"encoding/json"
	"fmt"
	"time"
)

// OrderStatus is where an order's processing stands.
type OrderStatus string

// The order statuses. The side states are Unrouted, ActionRequired, Rejected, Cancelled and Expired.
const (
	OrderRouted             OrderStatus = "routed"
	OrderProcessing         OrderStatus = "processing"
	OrderPartiallyCompleted OrderStatus = "partially_completed"
	OrderStatusCompleted    OrderStatus = "completed"
	OrderUnrouted           OrderStatus = "unrouted"
	OrderActionRequired     OrderStatus = "action_required"
	OrderStatusRejected     OrderStatus = "rejected"
	OrderCancelled          OrderStatus = "cancelled"
	OrderExpired            OrderStatus = "expired"
)

// OrderStatuses lists every order status.
func OrderStatuses() []OrderStatus {
	return []OrderStatus{
		OrderRouted, OrderProcessing, OrderPartiallyCompleted, OrderStatusCompleted, OrderUnrouted, OrderActionRequired,
		OrderStatusRejected, OrderCancelled, OrderExpired,
	}
}

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

// TaskStatus is where one provider's piece of work stands.
type TaskStatus string

// The task statuses.
const (
	TaskStatusOffered   TaskStatus = "offered"
	TaskStatusAccepted  TaskStatus = "accepted"
	TaskStatusCompleted TaskStatus = "completed"
	TaskIncomplete      TaskStatus = "incomplete"
	TaskStatusRejected  TaskStatus = "rejected"
)

// TaskStatuses lists every task status.
func TaskStatuses() []TaskStatus {
	return []TaskStatus{TaskStatusOffered, TaskStatusAccepted, TaskStatusCompleted, TaskIncomplete, TaskStatusRejected}
}

// Action is what a provider may do with a task.
type Action string

// The actions.
const (
	ActionAccept Action = "accept"
	ActionReject Action = "reject"
	ActionResult Action = "result"
)

// Actions are what a task's status allows: the table that Decide itself runs on.
func (s TaskStatus) Actions() []Action {
	switch s {
	case TaskStatusOffered:
		return []Action{ActionAccept, ActionReject, ActionResult}
	case TaskStatusAccepted:
		return []Action{ActionReject, ActionResult}
	}
	return []Action{}
}

// Open says whether work on the task may still come.
func (s TaskStatus) Open() bool { return len(s.Actions()) > 0 }

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
	Lines             []Line            `json:"lines"`
	SyncStatus        []SyncStatus      `json:"sync_status"`
	Tasks             []Task            `json:"tasks"`
	Results           []Result          `json:"results"`
}

// Line is a line of the order document.
type Line struct {
	PlacedLine
	Quantities Quantities `json:"quantities"`
}

// Quantities are a line's counters. Fulfilled + Rejected + Cancelled <= Ordered, always.
type Quantities struct {
	Ordered   int64 `json:"ordered"`
	Assigned  int64 `json:"assigned"` // held by tasks that are open or ended with a result
	Accepted  int64 `json:"accepted"` // of those, taken on by their providers
	Fulfilled int64 `json:"fulfilled"`
	Rejected  int64 `json:"rejected"`
	Cancelled int64 `json:"cancelled"`
	Returned  int64 `json:"returned"`
}

// Open is what is neither fulfilled nor given up.
func (q Quantities) Open() int64 { return q.Ordered - q.Fulfilled - q.Rejected - q.Cancelled }

// SyncStatus is how far one party is with the order.
type SyncStatus struct {
	Party    string    `json:"party"`
	Kind     string    `json:"kind"` // provider or auxiliary
	Status   SyncState `json:"status"`
	Since    time.Time `json:"since"`
	Position int64     `json:"position"` // of the event that changed it
}

// Task is one provider's piece of work on the order.
type Task struct {
	ID               string     `json:"id"`
	OrderID          string     `json:"order_id"`
	Provider         string     `json:"provider"`
	BusinessType     string     `json:"business_type"`
	Status           TaskStatus `json:"status"`
	SupportedActions []Action   `json:"supported_actions"`
	Version          int64      `json:"version"`
	Attempt          int        `json:"attempt"`
	AcceptBy         time.Time  `json:"accept_by,omitzero"`
	CompleteBy       time.Time  `json:"complete_by,omitzero"`
	OfferedAt        time.Time  `json:"offered_at"`
	UpdatedAt        time.Time  `json:"updated_at"`
	DelegatedFrom    string     `json:"delegated_from,omitempty"`
	Lines            []TaskLine `json:"lines"`
	Rejected         *Rejection `json:"rejected,omitempty"`
	Routing          Routing    `json:"routing"`
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
