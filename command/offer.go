package command

import (
	"net/http"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// offer records one task.offered for each provider that was chosen. ids are those of the tasks; nil makes new ones.
func (d *Decision) offer(a *assignment, businessType string, offered *events.Offered, ids []string) error {
	for i, provider := range a.providers {
		data := *offered
		data.AcceptBy, data.CompleteBy, data.Routing = a.acceptBy, a.completeBy, a.routing
		e := events.New(events.TaskOffered, d.at, &data)
		e.Provider, e.BusinessType = provider, businessType
		if ids == nil {
			e.TaskID = d.newID()
		} else {
			e.TaskID = ids[i]
		}
		if err := d.record(e); err != nil {
			return err
		}
	}
	return nil
}

// offerOpen offers all that is open of the order to the providers that were chosen.
func (d *Decision) offerOpen(a *assignment) error {
	if len(a.providers) == 0 {
		return nil
	}
	businessType := d.Order.BusinessType
	return d.offer(a, businessType, &events.Offered{Lines: openLines(d.Order), Attempt: attemptsAt(d.Order, businessType) + 1}, nil)
}

// offerNext offers what is open to the next candidates. Without one the order waits.
func (d *Decision) offerNext() error {
	a := d.next(d.Order.BusinessType, nil)
	return d.offerOpen(&a)
}

// next chooses who is asked next. Who has rejected or let time pass is not asked again, unless the route asks for more attempts than
// there are providers to ask. Who has rejected for good is never asked again.
func (d *Decision) next(businessType string, chain map[string]string) assignment {
	limit, used := d.registry.route(businessType, d.Order.Region).MaxAttempts, attemptsAt(d.Order, businessType)
	if limit > 0 && used >= limit {
		return assignment{}
	}
	a := d.assign(businessType, chain, true)
	if len(a.providers) == 0 && limit > 0 {
		a = d.assign(businessType, chain, false)
	}
	return a
}

// assign is routing for the order as it stands. strict bars those who were asked before; chain bars those who asked.
func (d *Decision) assign(businessType string, chain map[string]string, strict bool) assignment {
	barred := barredOf(d.Order, businessType, strict)
	for provider, why := range chain {
		barred[provider] = why
	}
	return d.registry.assign(businessType, d.Order.Region, d.at, barred)
}

// attemptsAt counts how often the order was offered to providers of a business type. What was taken back does not count.
func attemptsAt(o *events.Order, businessType string) int {
	attempts := 0
	for i := range o.Tasks {
		if task := &o.Tasks[i]; task.BusinessType == businessType && task.Status != events.TaskStatusCancelled {
			attempts = max(attempts, task.Attempt)
		}
	}
	return attempts
}

// openLines is what of the order is still to be done.
func openLines(o *events.Order) []events.TaskQuantity {
	lines := make([]events.TaskQuantity, 0, len(o.Lines))
	for i := range o.Lines {
		if open := o.Lines[i].Quantities.Open(); open > 0 {
			lines = append(lines, events.TaskQuantity{LineID: o.Lines[i].LineID, Quantity: open})
		}
	}
	return lines
}

// barredOf lists the providers that are not asked for an order's work of a business type, and why.
func barredOf(o *events.Order, businessType string, strict bool) map[string]string {
	barred := map[string]string{}
	for i := range o.Tasks {
		task := &o.Tasks[i]
		same := task.BusinessType == businessType
		switch {
		case task.Rejected != nil && task.Rejected.Blocking:
			barred[task.Provider] = "rejected the order for good"
		case barred[task.Provider] != "" || !same:
		case task.Status.Open():
			barred[task.Provider] = "has an open task on the order"
		case !strict:
		case task.Rejected != nil:
			barred[task.Provider] = "rejected the order"
		case task.Status == events.TaskStatusExpired:
			barred[task.Provider] = "let the order expire"
		}
	}
	return barred
}

// OfferOrder offers an order that waits for a provider to those that match by now. It does nothing to any other order.
type OfferOrder struct{ OrderID string }

func (c *OfferOrder) wants(w *wants) { w.orders = append(w.orders, c.OrderID) }

func (c *OfferOrder) apply(r *round) (reply, error) {
	state, ok := r.orders[c.OrderID]
	if !ok {
		return reply{}, fault.New(fault.NotFound, "no such order")
	}
	replayed, err := r.run(state, "", c)
	return reply{status: http.StatusOK, order: state, replayed: replayed}, err
}

func (c *OfferOrder) decide(d *Decision) error {
	standing := d.Order.Standing()
	if !d.Order.Status.Waiting() || standing.AnyOpenTask() || standing.Open() == 0 || d.cancelling {
		return nil
	}
	return d.offerNext()
}
