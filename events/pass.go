package events

// Pass books on an order what the header of an event says, where its payload is left out: version, statuses and time. The events that
// follow can then be applied. Where there is no order there is nothing to book on. It changes the order and says whether it did.
func Pass(o *Order, e *Event) bool {
	if o == nil || e.OrderID == "" {
		return false
	}
	o.settle(e)
	return true
}
