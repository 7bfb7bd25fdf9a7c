package events

// Machine is the state machine as it is published: the tables that the code itself runs on.
type Machine struct {
	Task   TaskMachine   `json:"task"`
	Order  OrderMachine  `json:"order"`
	Result ResultMachine `json:"result"`
}

// TaskMachine is what may become of a task.
type TaskMachine struct {
	Statuses    []TaskState  `json:"statuses"`
	Transitions []Transition `json:"transitions"`
}

// TaskState is a task status.
type TaskState struct {
	Status           TaskStatus `json:"status"`
	Open             bool       `json:"open"`
	SupportedActions []Action   `json:"supported_actions"`
}

// OrderMachine is how an order's statuses are derived: the first of the rules that holds is its status.
type OrderMachine struct {
	Statuses            []OrderState        `json:"statuses"`
	Rules               []OrderRule         `json:"rules"`
	FulfillmentStatuses []FulfillmentStatus `json:"fulfillment_statuses"`
	CancellationStates  []CancellationState `json:"cancellation_statuses"`
}

// OrderState is an order status.
type OrderState struct {
	Status  OrderStatus `json:"status"`
	AtEnd   bool        `json:"at_end"`
	Waiting bool        `json:"waiting"` // offered again when the providers change
}

// OrderRule says when an order has a status.
type OrderRule struct {
	Status OrderStatus `json:"status"`
	When   string      `json:"when"`
}

// ResultMachine is what a result may say.
type ResultMachine struct {
	Outcomes     []Outcome     `json:"outcomes"`
	LineOutcomes []LineOutcome `json:"line_outcomes"`
}

// Describe gives the state machine as it is published.
func Describe() Machine {
	m := Machine{
		Task: TaskMachine{Transitions: Transitions()},
		Order: OrderMachine{
			FulfillmentStatuses: []FulfillmentStatus{Unfulfilled, Partial, Fulfilled, Delivered, Returned},
			CancellationStates:  []CancellationState{CancellationRequested, CancellationRefused, CancellationDone},
		},
		Result: ResultMachine{
			Outcomes:     []Outcome{OutcomeCompleted, OutcomePartial, OutcomeFailed},
			LineOutcomes: []LineOutcome{LineFulfilled, LineRejected, LineCancelled},
		},
	}
	for _, s := range TaskStatuses() {
		m.Task.Statuses = append(m.Task.Statuses, TaskState{Status: s, Open: s.Open(), SupportedActions: s.Actions()})
	}
	for _, s := range OrderStatuses() {
		m.Order.Statuses = append(m.Order.Statuses, OrderState{Status: s, AtEnd: s.AtEnd(), Waiting: s.Waiting()})
	}
	for _, r := range orderRules {
		m.Order.Rules = append(m.Order.Rules, OrderRule{Status: r.status, When: r.when})
	}
	return m
}
