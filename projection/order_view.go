package projection

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/events"
)

// orderView keeps each order's document and the columns that lists go by.
func orderView() view {
	return view{name: OrderView, needs: needOrder, pace: together, statement: orderViewStatement}
}

const upsertOrders = `
INSERT INTO order_view (id, tenant, channel, external_ref, business_type, region, status, fulfillment_status, currency,
    total, placed_at, updated_at, version, position, document)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::bigint[], $11::timestamptz[], $12::timestamptz[], $13::bigint[], $14::bigint[], $15::bytea[])
ON CONFLICT (id) DO UPDATE SET status = excluded.status, fulfillment_status = excluded.fulfillment_status,
    total = excluded.total, updated_at = excluded.updated_at, version = excluded.version, position = excluded.position,
    document = excluded.document`

// orderColumns are the columns of order_view, in the order of the statement's parameters.
type orderColumns struct {
	id                                                           []pgtype.UUID
	tenant, channel, externalRef, businessType, region, currency []string
	status                                                       []events.OrderStatus
	fulfillmentStatus                                            []events.FulfillmentStatus
	total, version, position                                     []int64
	placedAt, updatedAt                                          []time.Time
	document                                                     [][]byte
}

func orderViewStatement(b *batch) (string, []any, error) {
	if len(b.orders) == 0 {
		return "", nil, nil
	}
	c := newOrderColumns(len(b.orders))
	for _, o := range b.orders {
		c.add(o)
	}
	return upsertOrders, []any{
		c.id, c.tenant, c.channel, c.externalRef, c.businessType, c.region, c.status, c.fulfillmentStatus, c.currency,
		c.total, c.placedAt, c.updatedAt, c.version, c.position, c.document,
	}, nil
}

func newOrderColumns(n int) *orderColumns {
	return &orderColumns{
		id: make([]pgtype.UUID, 0, n), tenant: make([]string, 0, n), channel: make([]string, 0, n),
		externalRef: make([]string, 0, n), businessType: make([]string, 0, n), region: make([]string, 0, n),
		currency: make([]string, 0, n), status: make([]events.OrderStatus, 0, n),
		fulfillmentStatus: make([]events.FulfillmentStatus, 0, n), total: make([]int64, 0, n),
		version: make([]int64, 0, n), position: make([]int64, 0, n), placedAt: make([]time.Time, 0, n),
		updatedAt: make([]time.Time, 0, n), document: make([][]byte, 0, n),
	}
}

func (c *orderColumns) add(o *changed) {
	c.id = append(c.id, o.id)
	c.tenant = append(c.tenant, o.order.Tenant)
	c.channel = append(c.channel, o.order.Channel)
	c.externalRef = append(c.externalRef, o.order.ExternalRef)
	c.businessType = append(c.businessType, o.order.BusinessType)
	c.region = append(c.region, o.order.Region)
	c.status = append(c.status, o.order.Status)
	c.fulfillmentStatus = append(c.fulfillmentStatus, o.order.FulfillmentStatus)
	c.currency = append(c.currency, o.order.Currency)
	c.total = append(c.total, o.order.Total)
	c.placedAt = append(c.placedAt, o.order.PlacedAt)
	c.updatedAt = append(c.updatedAt, o.order.UpdatedAt)
	c.version = append(c.version, o.order.Version)
	c.position = append(c.position, o.position)
	c.document = append(c.document, o.document)
}
