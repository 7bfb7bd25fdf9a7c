package projection

import "github.com/orderstore/orderstore/internal/postgres"

// timeline keeps the events themselves, by order, tenant and provider. It looks at no payload, so that an event of a newer
// version is kept and announced by a node that cannot read it.
func timeline() view {
	return view{name: Timeline, code: 1, needs: needHeader, pace: together, write: writeTimeline}
}

const copyTimeline = `timeline (position, tenant, provider, order_id, event)`

func writeTimeline(b *batch, to *postgres.Bulk) error {
	to.Copy(copyTimeline, 5)
	for i := range b.facts {
		f := &b.facts[i]
		to.Row()
		to.Int8(f.Position)
		to.TextOrNull(f.event.Tenant)
		to.TextOrNull(f.event.Provider)
		if f.orderID.Valid {
			to.UUID(f.orderID.Bytes)
		} else {
			to.Null()
		}
		to.Bytes(f.Body)
	}
	return nil
}
