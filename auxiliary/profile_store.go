package auxiliary

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

const selectKeys = `
SELECT k.tenant, k.key, c.customer_id::text, c.since
FROM unnest($1::text[], $2::bytea[]) AS w (tenant, key)
JOIN customer_keys k ON k.tenant = w.tenant AND k.key = w.key
JOIN customers c ON c.customer_id = k.customer_id`

const selectCustomerOrders = `
SELECT order_id::text, tenant, coalesce(customer_id::text, ''), channel, currency, total, state, placed_at, position, skus, quantities
FROM customer_orders WHERE order_id = ANY ($1::text[]::uuid[])`

// load reads the keys that the batch names and the orders that it changes. A stored key leads to a customer that is not merged.
func (w *profiling) load(ctx context.Context, all []events.Event) error {
	wanted := map[customerKey]bool{}
	placed := map[string]bool{}
	var ids []string
	for i := range all {
		e := &all[i]
		var who *events.Customer
		switch data := e.Data.(type) {
		case *events.Placed:
			who, placed[e.OrderID] = data.Customer, true
		case *events.Amended:
			who = data.Customer
		}
		keys, _ := keysOf(e.Tenant, who)
		for _, key := range keys {
			wanted[key] = true
		}
		if changesProfile(e) && !placed[e.OrderID] {
			ids = append(ids, e.OrderID)
		}
	}
	if err := w.loadKeys(ctx, wanted); err != nil {
		return err
	}
	return w.loadOrders(ctx, distinct(ids))
}

func changesProfile(e *events.Event) bool {
	return e.OrderID != "" && (e.Type == events.OrderAmended || e.Type == events.OrderCompleted || e.Type == events.OrderRejected ||
		e.Type == events.OrderReturned || credits(e))
}

func (w *profiling) loadKeys(ctx context.Context, wanted map[customerKey]bool) error {
	if len(wanted) == 0 {
		return nil
	}
	tenants, hashes := make([]string, 0, len(wanted)), make([][]byte, 0, len(wanted))
	for key := range wanted {
		tenants, hashes = append(tenants, key.tenant), append(hashes, slices.Clone(key.hash[:]))
	}
	rows, err := w.tx.Query(ctx, selectKeys, tenants, hashes)
	if err != nil {
		return fmt.Errorf("read customers: %w", err)
	}
	var c customer
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&c.tenant, &hash, &c.id, &c.since}, func() error {
		w.keys[customerKey{c.tenant, [32]byte(hash)}] = c.id
		if w.customers[c.id] == nil {
			one := c
			w.customers[c.id] = &one
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read customers: %w", err)
	}
	return nil
}

func (w *profiling) loadOrders(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := w.tx.Query(ctx, selectCustomerOrders, ids)
	if err != nil {
		return fmt.Errorf("read customers' orders: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanCustomerOrder)
	if err != nil {
		return fmt.Errorf("read customers' orders: %w", err)
	}
	for _, o := range found {
		w.orders[o.id] = o
	}
	return nil
}

func scanCustomerOrder(row pgx.CollectableRow) (*profileOrder, error) {
	o := new(profileOrder)
	err := row.Scan(&o.id, &o.tenant, &o.customer, &o.channel, &o.currency, &o.total, &o.state, &o.placedAt, &o.position, &o.skus, &o.quantities)
	return o, err
}

const upsertCustomers = `
INSERT INTO customers (customer_id, tenant, since, merged_into)
SELECT c.id::uuid, c.tenant, c.since, nullif(c.merged_into, '')::uuid
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS c (id, tenant, since, merged_into)
ON CONFLICT (customer_id) DO UPDATE SET merged_into = excluded.merged_into`

const upsertKeys = `
INSERT INTO customer_keys (tenant, key, customer_id)
SELECT k.tenant, k.key, k.id::uuid FROM unnest($1::text[], $2::bytea[], $3::text[]) AS k (tenant, key, id)
ON CONFLICT (tenant, key) DO UPDATE SET customer_id = excluded.customer_id`

// Lists of goods travel as text: unnest would take an array of arrays apart.
const upsertCustomerOrders = `
INSERT INTO customer_orders (order_id, tenant, customer_id, channel, currency, total, state, placed_at, position, skus, quantities)
SELECT o.id::uuid, o.tenant, nullif(o.customer, '')::uuid, o.channel, o.currency, o.total, o.state, o.placed_at, o.position,
       string_to_array(o.skus, E'\x01'), string_to_array(o.quantities, ',')::bigint[]
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::timestamptz[], $9::bigint[],
            $10::text[], $11::text[])
     AS o (id, tenant, customer, channel, currency, total, state, placed_at, position, skus, quantities)
ON CONFLICT (order_id) DO UPDATE
SET customer_id = excluded.customer_id, total = excluded.total, state = excluded.state, skus = excluded.skus, quantities = excluded.quantities`

// What leads to a merged customer leads to the one it was merged into: keys, orders, and customers merged before.
const (
	moveKeys   = `UPDATE customer_keys SET customer_id = $2 WHERE customer_id = $1`
	moveOrders = `UPDATE customer_orders SET customer_id = $2 WHERE customer_id = $1`
	moveMerged = `UPDATE customers SET merged_into = $2 WHERE merged_into = $1`
)

func (w *profiling) save(ctx context.Context, now time.Time) error {
	if err := w.saveCustomers(ctx); err != nil {
		return err
	}
	if err := w.saveOrders(ctx); err != nil {
		return err
	}
	moves := &pgx.Batch{}
	for _, m := range w.merges {
		for _, sql := range []string{moveKeys, moveOrders, moveMerged} {
			moves.Queue(sql, m[0], m[1])
		}
	}
	if moves.Len() > 0 {
		if err := w.tx.SendBatch(ctx, moves).Close(); err != nil {
			return fmt.Errorf("merge customers: %w", err)
		}
	}
	return storeMade(ctx, w.tx, ProfileName, profileSchema, now, slices.Collect(maps.Values(w.made)))
}

func (w *profiling) saveCustomers(ctx context.Context) error {
	var ids, tenants, into []string
	var since []int64
	for _, c := range w.customers {
		if c.changed {
			ids, tenants, into, since = append(ids, c.id), append(tenants, c.tenant), append(into, c.mergedInto), append(since, c.since)
		}
	}
	if len(ids) > 0 {
		if _, err := w.tx.Exec(ctx, upsertCustomers, ids, tenants, since, into); err != nil {
			return fmt.Errorf("store customers: %w", err)
		}
	}
	var owners, named []string
	var hashes [][]byte
	for key := range w.fresh {
		owners, hashes, named = append(owners, key.tenant), append(hashes, slices.Clone(key.hash[:])), append(named, w.keys[key])
	}
	if len(owners) > 0 {
		if _, err := w.tx.Exec(ctx, upsertKeys, owners, hashes, named); err != nil {
			return fmt.Errorf("store customers' keys: %w", err)
		}
	}
	return nil
}

func (w *profiling) saveOrders(ctx context.Context) error {
	var ids, tenants, owners, channels, currencies, states, skus, quantities []string
	var totals, positions []int64
	var times []time.Time
	for _, o := range w.orders {
		if !o.changed {
			continue
		}
		ids, tenants, owners, channels = append(ids, o.id), append(tenants, o.tenant), append(owners, o.customer), append(channels, o.channel)
		currencies, totals, states = append(currencies, o.currency), append(totals, o.total), append(states, o.state)
		times, positions = append(times, o.placedAt), append(positions, o.position)
		skus = append(skus, strings.Join(o.skus, "\x01"))
		quantities = append(quantities, strings.Trim(strings.ReplaceAll(fmt.Sprint(o.quantities), " ", ","), "[]"))
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := w.tx.Exec(ctx, upsertCustomerOrders, ids, tenants, owners, channels, currencies, totals, states, times, positions, skus, quantities)
	if err != nil {
		return fmt.Errorf("store customers' orders: %w", err)
	}
	return nil
}

const (
	deleteCustomerOrders = `DELETE FROM customer_orders`
	deleteCustomerKeys   = `DELETE FROM customer_keys`
	deleteCustomers      = `DELETE FROM customers`
)

// Reset removes all profiles. They come again from the log, under the same ids.
func (*Profiles) Reset(ctx context.Context, tx pgx.Tx) error {
	return reset(ctx, tx, ProfileName, deleteCustomerOrders, deleteCustomerKeys, deleteCustomers)
}
