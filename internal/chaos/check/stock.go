package check

import (
	"github.com/orderstore/orderstore/events"
)

type stockKey struct{ tenant, sku string }

// stockBook is the stock up to a position, counted here.
type stockBook struct {
	until int64 // events after it are not counted
	items map[stockKey]*item
}

func (b *stockBook) item(tenant, sku string, at int64) *item {
	if at > b.until {
		return &item{} // nobody looks at it
	}
	key := stockKey{tenant, sku}
	i := b.items[key]
	if i == nil {
		i = &item{Tenant: tenant, SKU: sku}
		b.items[key] = i
	}
	return i
}

func (b *stockBook) reserve(e *events.Event, sku string, by int64) {
	b.item(e.Tenant, sku, e.Position).Reserved += by
}

// sell takes fulfilled units off the shelf.
func (b *stockBook) sell(e *events.Event, sku string, n int64) {
	i := b.item(e.Tenant, sku, e.Position)
	i.OnHand -= n
	i.Sold += n
}

// adjust takes over what a user says. What a return brings back was sold before; only what exceeds that is new.
func (b *stockBook) adjust(e *events.Event, l *events.AdjustedStock) {
	i := b.item(e.Tenant, l.SKU, e.Position)
	by, back := l.Delta, int64(0)
	if l.Counted != nil {
		by = *l.Counted - i.OnHand
	} else if l.Reason == events.ReasonReturn {
		back = max(0, min(by, i.Sold))
	}
	i.OnHand += by
	i.Sold -= back
	i.Received += by - back
	i.OnOrder = max(0, i.OnOrder+l.OnOrderDelta)
}

// back takes what a customer brought back.
func (b *stockBook) back(e *events.Event, l *events.ReturnedLine) {
	i := b.item(e.Tenant, l.SKU, e.Position)
	known := min(l.Quantity, i.Sold)
	i.Sold -= known
	i.Received -= known
	if l.Restock {
		i.OnHand += l.Quantity
		i.Received += l.Quantity
	}
}

// checkStock compares the stock of the auxiliary system.
func (l *ledger) checkStock(dir string, c *Copy) error {
	seen := map[stockKey]bool{}
	err := load(dir, c.File, func(got *item) error {
		key := stockKey{got.Tenant, got.SKU}
		seen[key] = true
		free := got.OnHand - got.Reserved
		if got.Reserved+got.Sold+free != got.Received {
			l.report.add(9, c.Name, "%s of %s: %d reserved, %d sold and %d free are not the %d received", got.SKU, got.Tenant, got.Reserved, got.Sold, free, got.Received)
		}
		want, known := l.stock.items[key]
		if !known {
			l.report.add(9, c.Name, "%s of %s is in no event", got.SKU, got.Tenant)
			return nil
		}
		have := *got
		have.Position = 0
		if have != *want {
			l.report.add(9, c.Name, "%s of %s is %+v at position %d, and %+v by the log", got.SKU, got.Tenant, have, c.Position, *want)
		}
		return nil
	})
	for key := range l.stock.items {
		if !seen[key] {
			l.report.add(9, c.Name, "%s of %s is missing", key.sku, key.tenant)
		}
	}
	return err
}
