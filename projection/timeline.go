package projection

import "github.com/jackc/pgx/v5/pgtype"

// timeline keeps the events themselves, by order, tenant and provider. It looks at no payload, so that an event of a newer
// version is kept and announced by a node that cannot read it.
func timeline() view {
	return view{name: Timeline, needs: needHeader, pace: together, statement: timelineStatement}
}

const insertTimeline = `
INSERT INTO timeline (position, tenant, provider, order_id, event)
SELECT t.position, nullif(t.tenant, ''), nullif(t.provider, ''), t.order_id, t.event
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::uuid[], $5::bytea[]) AS t (position, tenant, provider, order_id, event)`

func timelineStatement(b *batch) (string, []any, error) {
	n := len(b.facts)
	position, orderID, event := make([]int64, n), make([]pgtype.UUID, n), make([][]byte, n)
	tenant, provider := make([]string, n), make([]string, n)
	for i := range b.facts {
		f := &b.facts[i]
		position[i], orderID[i], event[i] = f.Position, f.orderID, f.Body
		tenant[i], provider[i] = f.event.Tenant, f.event.Provider
	}
	return insertTimeline, []any{position, tenant, provider, orderID, event}, nil
}
