package projection

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/orderstore/orderstore/events"
)

// register adds a product or a vendor, or changes it.
func (w *world) register() {
	w.t.Helper()
	tenant := w.pick("demo", "other")
	if w.rng.IntN(2) == 0 {
		w.add(events.Event{
			Cell: 1, Type: events.VendorChanged, Version: 1, Time: w.now, Tenant: w.pick(tenant, ""),
			Data: &events.Vendor{ID: w.pick("v-1", "v-2"), Tenant: w.pick(tenant, ""), Name: w.pick("Bürobedarf", "文具")},
		})
		return
	}
	w.add(events.Event{
		Cell: 1, Type: events.ProductChanged, Version: 1, Time: w.now, Tenant: tenant,
		Data: &events.Product{SKU: fmt.Sprintf("SKU-%04d", w.rng.IntN(20)), Tenant: tenant, Name: w.pick("Stuhl", "椅子"), VendorID: w.pick("v-1", "v-2", ""), ReorderLevel: 5},
	})
}

// rewrite replaces the lines' SKUs and, sometimes, the customer.
func (w *world) rewrite(o *events.Order) {
	w.t.Helper()
	data := &events.Amended{Changed: []string{"lines"}, ExternalRef: o.ExternalRef, Shipping: o.Shipping, Total: o.Total, Attributes: o.Attributes}
	for i := range o.Lines {
		line := o.Lines[i].PlacedLine
		line.SKU = fmt.Sprintf("SKU-%04d", w.rng.IntN(500))
		data.Lines = append(data.Lines, line)
	}
	if w.rng.IntN(2) == 0 {
		data.Changed = append(data.Changed, "customer")
		if w.rng.IntN(2) == 0 {
			data.Customer = &events.Customer{Name: "Ada", Email: w.pick("ada@example.com", "a@example.com"), Phone: "+49 30 " + strconv.Itoa(1000+w.rng.IntN(9))}
		}
	}
	i := slices.Index(w.orders, o)
	w.orders[i] = w.fold(o, w.about(o, events.OrderAmended, data))
}

// offerAgain offers the order's work to one more provider.
func (w *world) offerAgain(o *events.Order) {
	w.t.Helper()
	offer := w.about(o, events.TaskOffered, &events.Offered{
		Attempt: len(o.Tasks) + 1, Lines: []events.TaskQuantity{{LineID: o.Lines[0].LineID, Quantity: 1}},
		Routing: events.Routing{Policy: events.PolicyAll, Why: "once more"},
	})
	offer.TaskID, offer.Provider = w.id(), w.pick("acme", "beta", "gamma")
	i := slices.Index(w.orders, o)
	w.orders[i] = w.fold(o, offer)
}
