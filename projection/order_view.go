package projection

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/internal/postgres"
)

// orderView keeps each order's document and the columns that lists go by.
func orderView() view {
	return view{name: OrderView, code: 1, needs: needOrder, pace: together, write: writeOrderView}
}

const copyOrders = `order_view (id, tenant, channel, external_ref, business_type, region, status, fulfillment_status, currency,
    total, placed_at, updated_at, version, position, document)`

const updateOrders = `
UPDATE order_view o SET status = t.status, fulfillment_status = t.fulfillment_status, total = t.total, updated_at = t.updated_at,
    version = t.version, position = t.position, document = t.document
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::bigint[], $7::bigint[], $8::bytea[])
    AS t (id, status, fulfillment_status, total, updated_at, version, position, document)
WHERE o.id = t.id`

// orderColumns are the columns of orders that are changed, in the order of the statement's parameters.
type orderColumns struct {
	id                        []pgtype.UUID
	status, fulfillmentStatus []string
	total, version, position  []int64
	updatedAt                 []time.Time
	document                  [][]byte
}

func writeOrderView(b *batch, to *postgres.Bulk) error {
	var known orderColumns
	copied := false
	for _, o := range b.orders {
		if !o.placed {
			known.add(o)
			continue
		}
		if !copied {
			to.Copy(copyOrders, 15)
			copied = true
		}
		copyOrder(o, to)
	}
	if c := &known; len(c.id) > 0 {
		to.Query(updateOrders, c.id, c.status, c.fulfillmentStatus, c.total, c.updatedAt, c.version, c.position, c.document)
	}
	return nil
}

func copyOrder(o *changed, to *postgres.Bulk) {
	to.Row()
	to.UUID(o.id.Bytes)
	to.Text(o.order.Tenant)
	to.Text(o.order.Channel)
	to.Text(o.order.ExternalRef)
	to.Text(o.order.BusinessType)
	to.Text(o.order.Region)
	to.Text(string(o.order.Status))
	to.Text(string(o.order.FulfillmentStatus))
	to.Text(o.order.Currency)
	to.Int8(o.order.Total)
	to.Time(o.order.PlacedAt)
	to.Time(o.order.UpdatedAt)
	to.Int8(o.order.Version)
	to.Int8(o.position)
	to.Bytes(o.document)
}

func (c *orderColumns) add(o *changed) {
	c.id = append(c.id, o.id)
	c.status = append(c.status, string(o.order.Status))
	c.fulfillmentStatus = append(c.fulfillmentStatus, string(o.order.FulfillmentStatus))
	c.total = append(c.total, o.order.Total)
	c.updatedAt = append(c.updatedAt, o.order.UpdatedAt)
	c.version = append(c.version, o.order.Version)
	c.position = append(c.position, o.position)
	c.document = append(c.document, o.document)
}
