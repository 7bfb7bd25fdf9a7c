package client

import (
	"context"
	"fmt"
)

// StateMachine is what may become of tasks and orders: the tables that the store itself runs on.
type StateMachine struct {
	Task struct {
		Statuses    []TaskState  `json:"statuses"`
		Transitions []Transition `json:"transitions"`
	} `json:"task"`
	Order struct {
		Statuses             []OrderState `json:"statuses"`
		Rules                []OrderRule  `json:"rules"` // the first that holds gives an order its status
		FulfillmentStatuses  []string     `json:"fulfillment_statuses"`
		CancellationStatuses []string     `json:"cancellation_statuses"`
	} `json:"order"`
	Result struct {
		Outcomes     []string `json:"outcomes"`
		LineOutcomes []string `json:"line_outcomes"`
	} `json:"result"`

	Meta Meta `json:"-"`
}

// TaskState is a status of tasks.
type TaskState struct {
	Status           string   `json:"status"`
	Open             bool     `json:"open"`              // work on the task may still come
	SupportedActions []string `json:"supported_actions"` // of its provider
}

// Transition is something that may happen to a task. Nothing else does.
type Transition struct {
	From       string   `json:"from"` // empty: there is no task yet
	Action     string   `json:"action"`
	To         []string `json:"to"`
	Event      string   `json:"event"`
	ChildEvent string   `json:"child_event,omitempty"` // instead of Event, of a task that was delegated
	By         string   `json:"by"`                    // provider, user, clock or system
	Late       bool     `json:"late,omitempty"`        // kept and flagged, and counts nothing
}

// OrderState is a status of orders.
type OrderState struct {
	Status  string `json:"status"`
	AtEnd   bool   `json:"at_end"`  // nothing more comes of the order
	Waiting bool   `json:"waiting"` // it is offered again when the providers change
}

// OrderRule says when an order has a status.
type OrderRule struct {
	Status string `json:"status"`
	When   string `json:"when"`
}

// StateMachine reads the tables. It needs no credentials.
func (c *Client) StateMachine(ctx context.Context) (StateMachine, error) {
	var machine StateMachine
	meta, err := c.do(ctx, read("v1", "state-machine"), &machine)
	machine.Meta = meta
	if err != nil {
		return machine, fmt.Errorf("get state machine: %w", err)
	}
	return machine, nil
}
