package events

import "slices"

// OrderStatus is where an order's processing stands.
type OrderStatus string

// The order statuses.
const (
	OrderRouted             OrderStatus = "routed"
	OrderProcessing         OrderStatus = "processing"
	OrderPartiallyCompleted OrderStatus = "partially_completed"
	OrderStatusCompleted    OrderStatus = "completed"
	OrderUnrouted           OrderStatus = "unrouted"
	OrderActionRequired     OrderStatus = "action_required"
	OrderStatusRejected     OrderStatus = "rejected"
	OrderStatusCancelled    OrderStatus = "cancelled"
	OrderStatusExpired      OrderStatus = "expired"
)

// OrderStatuses lists every order status.
func OrderStatuses() []OrderStatus {
	return []OrderStatus{
		OrderRouted, OrderProcessing, OrderPartiallyCompleted, OrderStatusCompleted, OrderUnrouted, OrderActionRequired,
		OrderStatusRejected, OrderStatusCancelled, OrderStatusExpired,
	}
}

// AtEnd says whether nothing more will come of the order.
func (s OrderStatus) AtEnd() bool {
	return s == OrderStatusCompleted || s == OrderStatusRejected || s == OrderStatusCancelled
}

// Waiting says whether the order has units that no provider has in hand, and is offered again when the providers change.
func (s OrderStatus) Waiting() bool {
	return s == OrderUnrouted || s == OrderActionRequired || s == OrderStatusExpired
}

// Standing is what an order's statuses follow from. Delegated tasks are not in it: their delegator's task stands for them.
type Standing struct {
	Quantities // of all lines together

	openTasks   int
	heldTasks   int
	offers      int  // tasks that were not taken back
	lastExpired bool // a task of the last attempt ran into its deadline
	delivered   bool // each parcel is, and each result that fulfilled something names one
	cancelDone  bool // the order's cancellation is done
}

// Standing sums up the order.
func (o *Order) Standing() Standing {
	s := Standing{delivered: o.delivered(), cancelDone: o.Cancellation != nil && o.Cancellation.Status == CancellationDone}
	for i := range o.Lines {
		q := &o.Lines[i].Quantities
		s.Ordered += q.Ordered
		s.Assigned += q.Assigned
		s.Accepted += q.Accepted
		s.Fulfilled += q.Fulfilled
		s.Rejected += q.Rejected
		s.Cancelled += q.Cancelled
		s.Returned += q.Returned
	}
	last := 0
	for i := range o.Tasks {
		t := &o.Tasks[i]
		if t.DelegatedFrom != "" || t.Status == TaskStatusCancelled {
			continue
		}
		s.offers++
		if t.Status.Open() {
			s.openTasks++
		}
		if t.Status == TaskOnHold {
			s.heldTasks++
		}
		if t.Attempt > last {
			last, s.lastExpired = t.Attempt, false
		}
		s.lastExpired = s.lastExpired || t.Attempt == last && t.Status == TaskStatusExpired
	}
	return s
}

// AnyOpenTask says whether a provider still has the order in hand.
func (s *Standing) AnyOpenTask() bool { return s.openTasks > 0 }

// orderRule says when an order has a status. The first rule that holds counts.
type orderRule struct {
	status OrderStatus
	when   string
	holds  func(s *Standing) bool
}

// orderRules derive an order's status from its lines and tasks.
//
//nolint:gochecknoglobals // a table that nothing changes
var orderRules = []orderRule{
	{
		OrderActionRequired, "tasks are open and all of them are on hold",
		func(s *Standing) bool { return s.openTasks > 0 && s.openTasks == s.heldTasks },
	},
	{
		OrderPartiallyCompleted, "a task is open and a unit is fulfilled",
		func(s *Standing) bool { return s.openTasks > 0 && s.Fulfilled > 0 },
	},
	{
		OrderProcessing, "a task is open and units are accepted",
		func(s *Standing) bool { return s.openTasks > 0 && s.Accepted > 0 },
	},
	{OrderRouted, "a task is open", func(s *Standing) bool { return s.openTasks > 0 }},
	{
		OrderUnrouted, "no task is open, units are, and no provider has been asked since the order was last taken back",
		func(s *Standing) bool { return s.Open() > 0 && s.offers == 0 },
	},
	{
		OrderStatusExpired, "no task is open, units are, and a task of the last attempt ran into its deadline",
		func(s *Standing) bool { return s.Open() > 0 && s.lastExpired },
	},
	{OrderActionRequired, "no task is open, units are", func(s *Standing) bool { return s.Open() > 0 }},
	{
		OrderStatusCompleted, "no task and no unit is open, a unit is fulfilled",
		func(s *Standing) bool { return s.Fulfilled > 0 },
	},
	{
		OrderStatusRejected, "no task and no unit is open, none is fulfilled, some are rejected, and the order was not cancelled",
		func(s *Standing) bool { return s.Rejected > 0 && !s.cancelDone },
	},
	{OrderStatusCancelled, "no task and no unit is open, none is fulfilled", func(*Standing) bool { return true }},
}

// Status is the order status that follows.
func (s *Standing) Status() OrderStatus {
	i := slices.IndexFunc(orderRules, func(r orderRule) bool { return r.holds(s) })
	return orderRules[i].status // the last rule always holds
}

// Fulfillment is where the goods are. They are returned when all that was fulfilled has come back and nothing more is to come; of some
// that came back the counters tell.
func (s *Standing) Fulfillment() FulfillmentStatus {
	switch {
	case s.Fulfilled == 0:
		return Unfulfilled
	case s.Kept() == 0 && s.Open() == 0:
		return Returned
	case s.Open() > 0, s.Rejected+s.Cancelled > 0:
		return Partial
	case s.delivered:
		return Delivered
	}
	return Fulfilled
}
