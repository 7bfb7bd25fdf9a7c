package auxiliary

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

const selectStockOrders = `SELECT order_id::text, tenant, lines FROM stock_orders WHERE order_id = ANY ($1::text[]::uuid[])`

func loadStockOrders(ctx context.Context, tx pgx.Tx, book *stockBook, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectStockOrders, ids)
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	var id, tenant string
	var lines []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &lines}, func() error {
		o := &stockOrder{id: id, tenant: tenant, stored: true}
		if err := json.Unmarshal(lines, &o.lines); err != nil {
			return fmt.Errorf("lines of %s: %w", id, err)
		}
		book.orders[id] = o
		return nil
	})
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	return nil
}

const (
	insertStockOrders = `
INSERT INTO stock_orders (order_id, tenant, lines)
SELECT o.order_id::uuid, o.tenant, o.lines FROM unnest($1::text[], $2::text[], $3::bytea[]) AS o (order_id, tenant, lines)
ON CONFLICT (order_id) DO UPDATE SET lines = excluded.lines`
	deleteStockOrders = `DELETE FROM stock_orders WHERE order_id = ANY ($1::text[]::uuid[])`
)

func saveStockOrders(ctx context.Context, tx pgx.Tx, book *stockBook) error {
	var ids, tenants, ended []string
	var lines [][]byte
	for _, o := range book.orders {
		switch {
		case o.ended && o.stored:
			ended = append(ended, o.id)
		case !o.ended && o.changed:
			encoded, err := json.Marshal(o.lines)
			if err != nil {
				return fmt.Errorf("encode lines: %w", err)
			}
			ids, tenants, lines = append(ids, o.id), append(tenants, o.tenant), append(lines, encoded)
		}
	}
	if len(ids) > 0 {
		if _, err := tx.Exec(ctx, insertStockOrders, ids, tenants, lines); err != nil {
			return fmt.Errorf("store orders: %w", err)
		}
	}
	if len(ended) > 0 {
		if _, err := tx.Exec(ctx, deleteStockOrders, ended); err != nil {
			return fmt.Errorf("forget orders: %w", err)
		}
	}
	return nil
}

const (
	stockColumns = `s.tenant, s.sku, s.name, s.vendor_id, s.reorder_level, s.target_level, s.discontinued, s.listed, s.adjusted,
    s.on_hand, s.reserved, s.sold, s.received, s.on_order, s.position`
	selectStock = `
SELECT ` + stockColumns + `
FROM unnest($1::text[], $2::text[]) AS k (tenant, sku)
CROSS JOIN LATERAL (SELECT * FROM stock WHERE tenant = k.tenant AND sku = k.sku LIMIT 1) s`
)

func scanStock(row pgx.CollectableRow) (*stockItem, error) {
	i := new(stockItem)
	err := row.Scan(&i.tenant, &i.sku, &i.name, &i.vendorID, &i.reorderLevel, &i.targetLevel, &i.discontinued, &i.listed, &i.adjusted,
		&i.onHand, &i.reserved, &i.sold, &i.received, &i.onOrder, &i.position)
	return i, err
}

func loadStock(ctx context.Context, tx pgx.Tx, book *stockBook, keys map[stockKey]bool) error {
	if len(keys) == 0 {
		return nil
	}
	tenants, skus := make([]string, 0, len(keys)), make([]string, 0, len(keys))
	for k := range keys {
		tenants, skus = append(tenants, k.tenant), append(skus, k.sku)
	}
	rows, err := tx.Query(ctx, selectStock, tenants, skus)
	if err != nil {
		return fmt.Errorf("read stock: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanStock)
	if err != nil {
		return fmt.Errorf("read stock: %w", err)
	}
	for _, item := range found {
		book.items[item.stockKey] = item
	}
	return nil
}

const upsertStock = `
INSERT INTO stock (tenant, sku, name, vendor_id, reorder_level, target_level, discontinued, listed, adjusted,
    on_hand, reserved, sold, received, on_order, position)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::boolean[], $8::boolean[],
    $9::boolean[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[])
ON CONFLICT (tenant, sku) DO UPDATE SET name = excluded.name, vendor_id = excluded.vendor_id,
    reorder_level = excluded.reorder_level, target_level = excluded.target_level, discontinued = excluded.discontinued,
    listed = excluded.listed, adjusted = excluded.adjusted, on_hand = excluded.on_hand, reserved = excluded.reserved,
    sold = excluded.sold, received = excluded.received, on_order = excluded.on_order, position = excluded.position`

func saveStock(ctx context.Context, tx pgx.Tx, book *stockBook) error {
	var changed []*stockItem
	for _, item := range book.items {
		if item.changed {
			changed = append(changed, item)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.SortFunc(changed, func(a, b *stockItem) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.sku, b.sku))
	})
	if _, err := tx.Exec(ctx, upsertStock,
		columnOf(changed, func(i *stockItem) string { return i.tenant }), columnOf(changed, func(i *stockItem) string { return i.sku }),
		columnOf(changed, func(i *stockItem) string { return i.name }), columnOf(changed, func(i *stockItem) string { return i.vendorID }),
		columnOf(changed, func(i *stockItem) int64 { return i.reorderLevel }), columnOf(changed, func(i *stockItem) int64 { return i.targetLevel }),
		columnOf(changed, func(i *stockItem) bool { return i.discontinued }), columnOf(changed, func(i *stockItem) bool { return i.listed }),
		columnOf(changed, func(i *stockItem) bool { return i.adjusted }), columnOf(changed, func(i *stockItem) int64 { return i.onHand }),
		columnOf(changed, func(i *stockItem) int64 { return i.reserved }), columnOf(changed, func(i *stockItem) int64 { return i.sold }),
		columnOf(changed, func(i *stockItem) int64 { return i.received }), columnOf(changed, func(i *stockItem) int64 { return i.onOrder }),
		columnOf(changed, func(i *stockItem) int64 { return i.position }),
	); err != nil {
		return fmt.Errorf("store stock: %w", err)
	}
	return nil
}

func columnOf[T any](items []*stockItem, of func(*stockItem) T) []T {
	all := make([]T, len(items))
	for i, item := range items {
		all[i] = of(item)
	}
	return all
}

// stockVendor is a vendor's name.
type stockVendor struct{ tenant, id, name string }

func vendorIn(e *events.Event) (stockVendor, bool) {
	v, ok := e.Data.(*events.Vendor)
	if !ok {
		return stockVendor{}, false
	}
	return stockVendor{v.Tenant, v.ID, v.Name}, true
}

const upsertStockVendor = `
INSERT INTO stock_vendors (tenant, vendor_id, name) VALUES ($1, $2, $3)
ON CONFLICT (tenant, vendor_id) DO UPDATE SET name = excluded.name`

func saveStockVendors(ctx context.Context, tx pgx.Tx, vendors []stockVendor) error {
	if len(vendors) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	for _, v := range vendors {
		batch.Queue(upsertStockVendor, v.tenant, v.id, v.name)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store vendors: %w", err)
	}
	return nil
}
