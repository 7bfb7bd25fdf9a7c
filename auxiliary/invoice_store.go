package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// An order's records are its invoice and then its credit notes, in the order in which they were made.
const selectInvoices = `
SELECT i.order_id::text, i.tenant, i.number, coalesce(i.credit, 0), r.kind, r.payload
FROM invoices i JOIN records r ON r.order_id = i.order_id AND r.system = $2
WHERE i.order_id = ANY ($1::text[]::uuid[]) ORDER BY i.order_id, r.position`

const selectSeries = `SELECT tenant, series, last FROM invoice_series WHERE tenant = ANY ($1)`

const selectSellers = `SELECT tenant, name FROM invoice_sellers WHERE tenant = ANY ($1)`

// load reads what the batch's invoices and credit notes need.
func (w *invoicing) load(ctx context.Context, all []events.Event) error {
	var orders, tenants []string
	for i := range all {
		e := &all[i]
		if e.OrderID != "" && (e.Type == events.OrderCompleted || e.Type == events.OrderReturned || credits(e)) {
			orders, tenants = append(orders, e.OrderID), append(tenants, e.Tenant)
		}
	}
	if len(orders) == 0 {
		return nil
	}
	if err := w.loadInvoices(ctx, distinct(orders)); err != nil {
		return err
	}
	var tenant, series, name string
	var last int64
	rows, err := w.tx.Query(ctx, selectSeries, distinct(tenants))
	if err != nil {
		return fmt.Errorf("read invoice numbers: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&tenant, &series, &last}, func() error {
		w.series[[2]string{tenant, series}] = last
		return nil
	})
	if err != nil {
		return fmt.Errorf("read invoice numbers: %w", err)
	}
	if rows, err = w.tx.Query(ctx, selectSellers, distinct(tenants)); err != nil {
		return fmt.Errorf("read sellers: %w", err)
	}
	_, err = pgx.ForEachRow(rows, []any{&tenant, &name}, func() error {
		w.sellers[tenant] = name
		return nil
	})
	if err != nil {
		return fmt.Errorf("read sellers: %w", err)
	}
	return nil
}

func (w *invoicing) loadInvoices(ctx context.Context, orders []string) error {
	rows, err := w.tx.Query(ctx, selectInvoices, orders, InvoiceName)
	if err != nil {
		return fmt.Errorf("read invoices: %w", err)
	}
	var id, kind string
	var have issued
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &have.tenant, &have.number, &have.credit, &kind, &payload}, func() error {
		v, err := decodeInvoice(payload)
		if err != nil {
			return err
		}
		if w.issued[id] == nil {
			row := have
			w.issued[id] = &row
		}
		if kind == invoiceRecord {
			w.issued[id].document = v
			return nil
		}
		w.issued[id].notes = append(w.issued[id].notes, v)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read invoices: %w", err)
	}
	return nil
}

const upsertSellers = `
INSERT INTO invoice_sellers (tenant, name) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (tenant) DO UPDATE SET name = excluded.name`

const upsertSeries = `
INSERT INTO invoice_series (tenant, series, last) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
ON CONFLICT (tenant, series) DO UPDATE SET last = excluded.last`

const upsertInvoices = `
INSERT INTO invoices (order_id, tenant, number, credit)
SELECT i.order_id::uuid, i.tenant, i.number, nullif(i.credit, 0)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS i (order_id, tenant, number, credit)
ON CONFLICT (order_id) DO UPDATE SET credit = excluded.credit`

// save writes what the batch made. named are the tenants' names that it changed.
func (w *invoicing) save(ctx context.Context, now time.Time, named map[string]string) error {
	if len(named) > 0 {
		var tenants, names []string
		for tenant, name := range named {
			tenants, names = append(tenants, tenant), append(names, name)
		}
		if _, err := w.tx.Exec(ctx, upsertSellers, tenants, names); err != nil {
			return fmt.Errorf("store sellers: %w", err)
		}
	}
	if len(w.records) == 0 {
		return nil
	}
	var tenants, series []string
	var last []int64
	for key, n := range w.series {
		tenants, series, last = append(tenants, key[0]), append(series, key[1]), append(last, n)
	}
	if _, err := w.tx.Exec(ctx, upsertSeries, tenants, series, last); err != nil {
		return fmt.Errorf("store invoice numbers: %w", err)
	}
	var orders, owners []string
	var numbers, credited []int64
	for id, i := range w.issued {
		if i.changed {
			orders, owners = append(orders, id), append(owners, i.tenant)
			numbers, credited = append(numbers, i.number), append(credited, i.credit)
		}
	}
	if _, err := w.tx.Exec(ctx, upsertInvoices, orders, owners, numbers, credited); err != nil {
		return fmt.Errorf("store invoices: %w", err)
	}
	made := make([]madeRecord, len(w.records))
	for i, r := range w.records {
		made[i] = madeRecord{r.document.OrderID, r.recordID, r.document.Kind, r.document.Seller.Tenant, r.document, r.position}
	}
	return storeMade(ctx, w.tx, InvoiceName, invoiceSchema, now, made)
}

// madeRecord is a record that a system of ours makes out of events.
type madeRecord struct {
	orderID, recordID, kind, tenant string
	payload                         any
	position                        int64
}

const upsertMade = `
INSERT INTO records AS r (order_id, system, record_id, tenant, kind, revision, schema_version, payload, position, updated_at)
SELECT n.order_id::uuid, $1, n.record_id, n.tenant, n.kind, 1, $2, n.payload, n.position, $3
FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bigint[])
     AS n (order_id, record_id, tenant, kind, payload, position)
ON CONFLICT (order_id, system, record_id) DO UPDATE
SET payload = excluded.payload, position = excluded.position, updated_at = excluded.updated_at, revision = r.revision + 1
WHERE r.payload <> excluded.payload OR r.position <> excluded.position`

// storeMade writes records, of which there is one at most for an order and record id.
func storeMade(ctx context.Context, tx pgx.Tx, system string, schema int, now time.Time, made []madeRecord) error {
	if len(made) == 0 {
		return nil
	}
	var orders, ids, tenants, kinds []string
	var payloads [][]byte
	var positions []int64
	for i := range made {
		m := &made[i]
		payload, err := json.Marshal(m.payload)
		if err != nil {
			return fmt.Errorf("encode record of order %s: %w", m.orderID, err)
		}
		orders, ids, tenants, kinds = append(orders, m.orderID), append(ids, m.recordID), append(tenants, m.tenant), append(kinds, m.kind)
		payloads, positions = append(payloads, payload), append(positions, m.position)
	}
	if _, err := tx.Exec(ctx, upsertMade, system, schema, now, orders, ids, tenants, kinds, payloads, positions); err != nil {
		return fmt.Errorf("store records: %w", err)
	}
	return nil
}

const (
	deleteInvoices = `DELETE FROM invoices`
	deleteSeries   = `DELETE FROM invoice_series`
	deleteSellers  = `DELETE FROM invoice_sellers`
	deleteMade     = `DELETE FROM records WHERE system = $1`
)

// Reset removes the invoices. They come again from the log, with the same numbers.
func (*Invoices) Reset(ctx context.Context, tx pgx.Tx) error {
	return reset(ctx, tx, InvoiceName, deleteInvoices, deleteSeries, deleteSellers)
}

// reset empties a system's own tables and removes its bills and records.
func reset(ctx context.Context, tx pgx.Tx, system string, own ...string) error {
	for _, sql := range own {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("reset %s: %w", system, err)
		}
	}
	for _, sql := range []string{resetBills, deleteMade} {
		if _, err := tx.Exec(ctx, sql, system); err != nil {
			return fmt.Errorf("reset %s: %w", system, err)
		}
	}
	return nil
}
