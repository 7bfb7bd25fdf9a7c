package projection

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// storedRow is what is kept of a row until it is compared.
type storedRow struct {
	position          int64
	columns, document [sha256.Size]byte
}

// rowOf makes of a row what is compared. columns is a struct of texts and numbers.
func rowOf(position int64, columns any, document []byte) storedRow {
	return storedRow{position: position, columns: sha256.Sum256(fmt.Appendf(nil, "%#v", columns)), document: sha256.Sum256(document)}
}

// comparison is the stored rows of a pass, by view and id. What has been compared is taken out.
type comparison struct {
	v        *verifier
	p        *pass
	position int64
	stored   map[string]map[string]storedRow
}

// compareOrders compares the stored rows of a pass with those that its orders have to have, both ways.
func (v *verifier) compareOrders(ctx context.Context, position int64, p *pass) error {
	c := &comparison{v: v, p: p, position: position, stored: map[string]map[string]storedRow{}}
	for _, read := range []struct {
		view string
		rows func(ctx context.Context, keep func(id string, row storedRow)) error
	}{
		{OrderView, c.orderRows},
		{TaskInbox, c.taskRows},
		{OrderSearch, c.searchRows},
		{OrderFacets, c.facetRows},
	} {
		if !p.looksAt(read.view) {
			continue
		}
		rows := map[string]storedRow{}
		if err := read.rows(ctx, func(id string, row storedRow) { rows[id] = row }); err != nil {
			return fmt.Errorf("read %s: %w", read.view, err)
		}
		c.stored[read.view] = rows
	}
	for id, kept := range p.orders {
		if err := c.compare(ctx, id, kept); err != nil {
			return err
		}
	}
	c.left()
	return nil
}

// compare compares all rows of one order.
func (c *comparison) compare(ctx context.Context, id string, kept *expected) error {
	if kept.search != nil {
		row, err := kept.search.row()
		if err != nil {
			return err
		}
		c.row(OrderSearch, id, rowOf(row.position, row, nil))
	}
	if !c.p.looksAt(OrderView) && !c.p.looksAt(TaskInbox) && !c.p.looksAt(OrderFacets) || kept.position == 0 {
		return nil
	}
	want, err := c.p.want(ctx, id, kept)
	if err != nil {
		return err
	}
	if c.p.looksAt(OrderView) {
		c.row(OrderView, id, rowOf(want.position, orderRowOf(want), want.document))
	}
	if c.p.looksAt(OrderFacets) {
		c.facets(id, want)
	}
	if !c.p.looksAt(TaskInbox) {
		return nil
	}
	for _, t := range want.tasks {
		row, err := taskRowOf(want, t)
		if err != nil {
			return err
		}
		c.row(TaskInbox, row.task.ID, rowOf(row.position, inboxRowOf(want.order.ID, row), row.document))
	}
	return nil
}

// row compares one row that has to be there.
func (c *comparison) row(name, id string, want storedRow) {
	view := c.v.views[name]
	have, ok := c.stored[name][id]
	delete(c.stored[name], id)
	switch {
	case !ok:
		view.differs(want.position, "row %s is missing", id)
	case have.document != want.document:
		view.differs(want.position, "the document of %s is not the fold of its events up to %d", id, want.position)
	case have != want:
		view.differs(want.position, "the columns of %s are not those of its document", id)
	default:
		view.Rows++
	}
}

// left tells of rows that nothing in the log explains.
func (c *comparison) left() {
	for name, rows := range c.stored {
		for id, row := range rows {
			c.v.views[name].differs(row.position, "row %s is there, and the log up to %d has nothing of it", id, c.position)
		}
	}
}

// inPass is the condition for the rows of a pass, on the column that holds the order's id.
func inPass(column string) string {
	return " WHERE (256 * get_byte(uuid_send(" + column + "), 14) + get_byte(uuid_send(" + column + "), 15)) % $1 = $2"
}

// orderRow is the columns of order_view, as they are or as they have to be.
type orderRow struct {
	tenant, channel, externalRef, businessType, region, currency, status, fulfillment string
	total, version, position                                                          int64
	placedAt, updatedAt                                                               int64 // microseconds since 1970
}

func orderRowOf(o *changed) orderRow {
	return orderRow{
		tenant: o.order.Tenant, channel: o.order.Channel, externalRef: o.order.ExternalRef, businessType: o.order.BusinessType,
		region: o.order.Region, currency: o.order.Currency, status: string(o.order.Status), fulfillment: string(o.order.FulfillmentStatus),
		total: o.order.Total, version: o.order.Version, position: o.position,
		placedAt: o.order.PlacedAt.UnixMicro(), updatedAt: o.order.UpdatedAt.UnixMicro(),
	}
}

const selectOrderRows = `
SELECT id::text, tenant, channel, external_ref, business_type, region, status, fulfillment_status, currency, total, placed_at,
    updated_at, version, position, document FROM order_view`

func (c *comparison) orderRows(ctx context.Context, keep func(string, storedRow)) error {
	rows, err := c.v.tx.Query(ctx, selectOrderRows+inPass("id"), c.p.of, c.p.part)
	if err != nil {
		return err
	}
	var id string
	var have orderRow
	var placed, updated time.Time
	var document pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{
		&id, &have.tenant, &have.channel, &have.externalRef, &have.businessType, &have.region, &have.status, &have.fulfillment,
		&have.currency, &have.total, &placed, &updated, &have.version, &have.position, &document,
	}, func() error {
		have.placedAt, have.updatedAt = placed.UnixMicro(), updated.UnixMicro()
		keep(id, rowOf(have.position, have, document))
		return nil
	})
	return err
}

// inboxRow is the columns of task_inbox, as they are or as they have to be.
type inboxRow struct {
	order, provider, tenant, businessType, status string
	offeredAt, updatedAt                          int64 // microseconds since 1970
	version, position                             int64
}

func inboxRowOf(order string, r taskRow) inboxRow {
	return inboxRow{
		order: order, provider: r.task.Provider, tenant: r.tenant, businessType: r.task.BusinessType, status: string(r.task.Status),
		offeredAt: r.task.OfferedAt.UnixMicro(), updatedAt: r.task.UpdatedAt.UnixMicro(), version: r.task.Version, position: r.position,
	}
}

const selectTaskRows = `
SELECT id::text, order_id::text, provider, tenant, business_type, status, offered_at, updated_at, version, position, document
FROM task_inbox`

func (c *comparison) taskRows(ctx context.Context, keep func(string, storedRow)) error {
	rows, err := c.v.tx.Query(ctx, selectTaskRows+inPass("order_id"), c.p.of, c.p.part)
	if err != nil {
		return err
	}
	var id string
	var have inboxRow
	var offered, updated time.Time
	var document pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{
		&id, &have.order, &have.provider, &have.tenant, &have.businessType, &have.status, &offered, &updated, &have.version,
		&have.position, &document,
	}, func() error {
		have.offeredAt, have.updatedAt = offered.UnixMicro(), updated.UnixMicro()
		keep(id, rowOf(have.position, have, document))
		return nil
	})
	return err
}

const selectSearchRows = `SELECT id::text, tenant, position, search, grams::text FROM order_search`

func (c *comparison) searchRows(ctx context.Context, keep func(string, storedRow)) error {
	rows, err := c.v.tx.Query(ctx, selectSearchRows+inPass("id"), c.p.of, c.p.part)
	if err != nil {
		return err
	}
	var id string
	var have searchRow
	_, err = pgx.ForEachRow(rows, []any{&id, &have.tenant, &have.position, &have.search, &have.grams}, func() error {
		keep(id, rowOf(have.position, have, nil))
		return nil
	})
	return err
}
