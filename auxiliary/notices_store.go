package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

const insertNoticeOrdersSQL = `
INSERT INTO notice_orders (order_id, tenant, channel, external_ref, currency, total, name, address, quiet, phone, language,
    customer_key)
SELECT o.order_id::uuid, o.tenant, o.channel, o.external_ref, o.currency, o.total, o.name, o.address, o.quiet, o.phone, o.language,
    o.customer_key
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[])
     AS o (order_id, tenant, channel, external_ref, currency, total, name, address, quiet, phone, language, customer_key)`

func insertNoticeOrders(ctx context.Context, tx pgx.Tx, orders []*noticeOrder) error {
	if len(orders) == 0 {
		return nil
	}
	var ids, tenants, channels, refs, currencies, names, addresses, quiets, phones, languages, keys []string
	var totals []int64
	for _, o := range orders {
		ids, tenants, channels = append(ids, o.id), append(tenants, o.tenant), append(channels, o.channel)
		refs, currencies, totals = append(refs, o.ref), append(currencies, o.currency), append(totals, o.total)
		names, addresses, quiets = append(names, o.name), append(addresses, o.address), append(quiets, o.quiet)
		phones, languages, keys = append(phones, o.phone), append(languages, o.language), append(keys, o.key)
	}
	_, err := tx.Exec(ctx, insertNoticeOrdersSQL, ids, tenants, channels, refs, currencies, totals, names, addresses, quiets,
		phones, languages, keys)
	if err != nil {
		return fmt.Errorf("store orders: %w", err)
	}
	return nil
}

const selectNoticeOrdersSQL = `
SELECT order_id::text, tenant, channel, external_ref, currency, total, name, address, quiet, phone, language
FROM notice_orders WHERE order_id = ANY ($1::text[]::uuid[])`

func selectNoticeOrders(ctx context.Context, tx pgx.Tx, ids []string, into map[string]*noticeOrder) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, selectNoticeOrdersSQL, ids)
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*noticeOrder, error) {
		o := new(noticeOrder)
		err := row.Scan(&o.id, &o.tenant, &o.channel, &o.ref, &o.currency, &o.total, &o.name, &o.address, &o.quiet,
			&o.phone, &o.language)
		return o, err
	})
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	for _, o := range found {
		into[o.id] = o
	}
	return nil
}

const (
	eraseNoticeOrders = `
UPDATE notice_orders SET name = '', address = '', phone = '', quiet = $2 WHERE customer_key = ANY ($1) AND quiet <> $2 RETURNING order_id::text`
	// Without an address nothing is queued again by a rebuild, so nothing need be remembered of what was sent.
	deleteErased = `
DELETE FROM outbox WHERE system = $1 AND position IN (SELECT position FROM notices WHERE order_id = ANY ($2::text[]::uuid[]))`
)

// forgetErased takes away what is known of customers whose keys were destroyed. What was not sent yet never is.
func forgetErased(ctx context.Context, tx pgx.Tx, batch Batch) error {
	var keys []string
	for i := range batch.Events {
		if erasure, ok := batch.Events[i].Data.(*events.Erasure); ok {
			keys = append(keys, erasure.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, eraseNoticeOrders, keys, quietErased)
	if err != nil {
		return fmt.Errorf("erase customers: %w", err)
	}
	orders, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("erase customers: %w", err)
	}
	if _, err := tx.Exec(ctx, deleteErased, NoticesName, orders); err != nil {
		return fmt.Errorf("erase notices: %w", err)
	}
	return refreshNotices(ctx, tx, orders, batch.Now)
}

const insertNoticesSQL = `
INSERT INTO notices (position, order_id, event, at, by_mail, by_webhook)
SELECT n.position, n.order_id::uuid, n.event, n.at, n.by_mail, n.by_webhook
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::bool[], $6::bool[])
     AS n (position, order_id, event, at, by_mail, by_webhook)`

func insertNotices(ctx context.Context, tx pgx.Tx, found []notice) error {
	positions, ids := make([]int64, len(found)), make([]string, len(found))
	types, times := make([]string, len(found)), make([]time.Time, len(found))
	mails, hooks := make([]bool, len(found)), make([]bool, len(found))
	for i, n := range found {
		positions[i], ids[i], types[i], times[i] = n.position, n.orderID, string(n.event), n.at
		mails[i], hooks[i] = n.byMail, n.byHook
	}
	if _, err := tx.Exec(ctx, insertNoticesSQL, positions, ids, types, times, mails, hooks); err != nil {
		return fmt.Errorf("store notices: %w", err)
	}
	return nil
}

// A record is computed from rows that two transactions may change at once, the worker's and the sender's. Whoever comes second
// waits here, and so computes from what the first has committed.
const lockRecords = `
SELECT 1 FROM records WHERE order_id = ANY ($1::text[]::uuid[]) AND system = $2 ORDER BY order_id, record_id FOR UPDATE`

// The limits say that there is one row to find, which makes a look-up by key of what would be a scan while a young table has no
// statistics.
const selectEntries = `
SELECT n.order_id::text, o.tenant, n.position, n.event, n.at, o.address, o.phone, o.quiet, n.by_mail, n.by_webhook,
       coalesce(m.state, ''), coalesce(w.state, '')
FROM notices n
CROSS JOIN LATERAL (SELECT tenant, address, phone, quiet FROM notice_orders WHERE order_id = n.order_id LIMIT 1) o
LEFT JOIN LATERAL (SELECT state FROM outbox WHERE system = $2 AND position = n.position AND channel = $3 LIMIT 1) m ON true
LEFT JOIN LATERAL (SELECT state FROM outbox WHERE system = $2 AND position = n.position AND channel = $4 LIMIT 1) w ON n.by_webhook
WHERE n.order_id = ANY ($1::text[]::uuid[])
ORDER BY n.order_id, n.position`

const upsertNoticeLogs = `
INSERT INTO records AS r (order_id, system, record_id, tenant, kind, revision, schema_version, payload, position, updated_at)
SELECT n.order_id::uuid, $1, $2, n.tenant, $3, 1, $4, n.payload, n.position, $5
FROM unnest($6::text[], $7::text[], $8::bytea[], $9::bigint[]) AS n (order_id, tenant, payload, position)
ON CONFLICT (order_id, system, record_id) DO UPDATE
SET payload = excluded.payload, position = excluded.position, updated_at = excluded.updated_at, revision = r.revision + 1
WHERE r.payload <> excluded.payload OR r.position <> excluded.position`

// refreshNotices makes the orders' records from what the tables say of their notices.
func refreshNotices(ctx context.Context, tx pgx.Tx, orders []string, now time.Time) error {
	ids := distinct(orders)
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, lockRecords, ids, NoticesName); err != nil {
		return fmt.Errorf("lock records: %w", err)
	}
	logs, err := readNoticeLogs(ctx, tx, ids)
	if err != nil {
		return err
	}
	var found, tenants []string
	var payloads [][]byte
	var positions []int64
	for _, l := range logs {
		payload, err := json.Marshal(noticeLog{Notices: l.entries})
		if err != nil {
			return fmt.Errorf("encode record: %w", err)
		}
		found, tenants, payloads = append(found, l.orderID), append(tenants, l.tenant), append(payloads, payload)
		positions = append(positions, l.entries[len(l.entries)-1].Position)
	}
	_, err = tx.Exec(ctx, upsertNoticeLogs, NoticesName, noticesRecord, noticesKind, noticesSchema, now,
		found, tenants, payloads, positions)
	if err != nil {
		return fmt.Errorf("store records: %w", err)
	}
	return nil
}

// orderNotices are an order's notices in the order of their events; one at least.
type orderNotices struct {
	orderID, tenant string
	entries         []noticeEntry
}

func readNoticeLogs(ctx context.Context, tx pgx.Tx, ids []string) ([]*orderNotices, error) {
	rows, err := tx.Query(ctx, selectEntries, ids, NoticesName, mailChannel, hookChannel)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	defer rows.Close()
	var logs []*orderNotices
	for rows.Next() {
		var id, tenant string
		var n toldNotice
		err := rows.Scan(&id, &tenant, &n.position, &n.event, &n.at, &n.address, &n.phone, &n.quiet, &n.byMail, &n.byHook, &n.mailState, &n.hookState)
		if err != nil {
			return nil, fmt.Errorf("read notices: %w", err)
		}
		if len(logs) == 0 || logs[len(logs)-1].orderID != id {
			logs = append(logs, &orderNotices{orderID: id, tenant: tenant})
		}
		last := logs[len(logs)-1]
		last.entries = append(last.entries, n.entries()...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	return logs, nil
}

const deleteNotices = `DELETE FROM notices`

const deleteNoticeOrders = `DELETE FROM notice_orders`

const deleteNoticeLogs = `DELETE FROM records WHERE system = $1`

// Reset removes the records and what they are made of. The outbox remembers what was sent.
func (*Notices) Reset(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{deleteNotices, deleteNoticeOrders} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("reset notices: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, deleteNoticeLogs, NoticesName); err != nil {
		return fmt.Errorf("reset notices: %w", err)
	}
	return nil
}
