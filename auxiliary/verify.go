package auxiliary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	verifyBatch    = 2_000 // events read at a time
	maxDifferences = 20    // told in words; all are counted
)

// LogReader reads the log: a stream.Log.
type LogReader interface {
	Read(ctx context.Context, after int64, limit int) ([]stream.Record, error)
}

// Report is what Verify found.
type Report struct {
	System      string
	Position    int64 // the system's, up to which it was compared
	Orders      int64
	Notices     int64
	Sent        int64 // mails
	Called      int64 // webhooks
	Differences int64
	Details     []string // the first differences
}

// Clean tells that nothing differs.
func (r *Report) Clean() bool { return r.Differences == 0 }

func (r *Report) differ(format string, args ...any) {
	r.Differences++
	if len(r.Details) < maxDifferences {
		r.Details = append(r.Details, fmt.Sprintf(format, args...))
	}
}

const createExpected = `
CREATE TEMPORARY TABLE expected_notices (
    position bigint, order_id uuid, event text, at timestamptz, address text, phone text, quiet text, by_mail boolean, by_webhook boolean)`

const dropExpected = `DROP TABLE IF EXISTS expected_notices`

// Verify folds the log again up to where the notices are and compares: each record says what the fold says, each mail belongs
// to an event that asks for it, and no event has more than one. It looks at one state of the auxiliary database and may run
// beside the systems.
func Verify(ctx context.Context, pool *pgxpool.Pool, log LogReader, keys *customerkeys.Keys) (Report, error) {
	report := Report{System: NoticesName}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return report, fmt.Errorf("verify notices: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, createExpected); err != nil {
		return report, fmt.Errorf("verify notices: %w", err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), dropExpected) }()
	err = postgres.InSnapshot(ctx, conn, func(tx pgx.Tx) error {
		v := verification{tx: tx, keys: keys, report: &report}
		if err := v.fold(ctx, log); err != nil {
			return err
		}
		if err := v.compareRecords(ctx); err != nil {
			return err
		}
		return v.findStrangers(ctx)
	})
	if err != nil {
		return report, fmt.Errorf("verify notices: %w", err)
	}
	return report, nil
}

type verification struct {
	settings settingsHistory
	tx       pgx.Tx
	keys     *customerkeys.Keys
	report   *Report
}

// fold writes what the log says to a temporary table: an order's notices may be millions of events apart.
func (v *verification) fold(ctx context.Context, log LogReader) error {
	cp, err := scanCheckpoint(v.tx.QueryRow(ctx, selectCheckpoint, NoticesName))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // they never ran
	}
	if err != nil {
		return err
	}
	v.report.Position = cp.position
	if v.settings, err = readSettings(ctx, v.tx, nil); err != nil {
		return err
	}
	var digest [32]byte
	for after := int64(0); after < cp.position; {
		records, err := log.Read(ctx, after, int(min(verifyBatch, cp.position-after)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			v.report.differ("the notices are at %d, the log ends at %d", cp.position, after)
			return nil
		}
		if err := v.expect(ctx, records); err != nil {
			return err
		}
		last := &records[len(records)-1]
		after, digest = last.Position, last.Digest
	}
	if digest != cp.digest {
		v.report.differ("the digest at %d is not the log's", cp.position)
	}
	return nil
}

func (v *verification) expect(ctx context.Context, records []stream.Record) error {
	all, opened, why, err := v.read(ctx, records)
	if err != nil {
		return err
	}
	var rows [][]any
	for i := range all {
		e := &all[i]
		s := v.settings.at(e.Tenant, e.Position)
		row := []any{
			e.Position, e.OrderID, string(e.Type), e.Time, nil, nil, nil,
			slices.Contains(s.mail, string(e.Type)), slices.Contains(s.webhook, string(e.Type)),
		}
		switch e.Data.(type) {
		case *events.Placed:
			row[4], row[5], row[6] = "", "", quietNoAddress
			customer := opened[i]
			if customer == nil {
				row[6] = cmp.Or(why[i], quietNoAddress)
				break
			}
			if row[5] = customer.Phone; customer.Email == "" {
				break
			}
			address, usable := usableAddress(customer.Email)
			if row[4], row[6] = address, ""; !usable {
				row[4], row[6] = "", quietBadAddress
			}
		case *events.Closed, *events.OrderCancellation, *events.OrderReturn:
		default:
			continue
		}
		rows = append(rows, row)
	}
	columns := []string{"position", "order_id", "event", "at", "address", "phone", "quiet", "by_mail", "by_webhook"}
	if _, err := v.tx.CopyFrom(ctx, pgx.Identifier{"expected_notices"}, columns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("store what is expected: %w", err)
	}
	return nil
}

// read decodes events, with whom the placed orders are for.
func (v *verification) read(ctx context.Context, records []stream.Record) (all []events.Event, opened []*events.Customer, why []string, err error) {
	all, sealed := make([]events.Event, len(records)), make([]*events.Customer, len(records))
	for i := range records {
		if all[i], err = events.Decode(records[i].Position, records[i].Body); err != nil {
			return nil, nil, nil, err
		}
		if placed, ok := all[i].Data.(*events.Placed); ok {
			sealed[i] = placed.Customer
		}
	}
	opened, why, err = openCustomers(ctx, v.keys, sealed)
	return all, opened, why, err
}

const selectExpected = `
SELECT e.order_id::text, e.position, e.event, e.at, p.address, p.phone, p.quiet, e.by_mail, e.by_webhook, coalesce(b.state, ''),
       coalesce(w.state, ''), r.payload, coalesce(r.position, 0)
FROM expected_notices e
JOIN expected_notices p ON p.order_id = e.order_id AND p.event = $4
LEFT JOIN outbox b ON b.system = $1 AND b.position = e.position AND b.channel = $3
LEFT JOIN outbox w ON w.system = $1 AND w.position = e.position AND w.channel = $5
LEFT JOIN records r ON r.order_id = e.order_id AND r.system = $1 AND r.record_id = $2
ORDER BY e.order_id, e.position`

// compareRecords goes through the orders one by one.
func (v *verification) compareRecords(ctx context.Context) error {
	rows, err := v.tx.Query(ctx, selectExpected, NoticesName, noticesRecord, mailChannel, string(events.OrderPlaced), hookChannel)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	defer rows.Close()
	var order orderNotices
	var payload []byte
	var position int64
	for rows.Next() {
		var id string
		var n toldNotice
		var recordPosition int64
		var recordPayload []byte
		err := rows.Scan(&id, &n.position, &n.event, &n.at, &n.address, &n.phone, &n.quiet, &n.byMail, &n.byHook, &n.mailState,
			&n.hookState, &recordPayload, &recordPosition)
		if err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		if id != order.orderID {
			v.compare(&order, payload, position)
			order, payload, position = orderNotices{orderID: id}, recordPayload, recordPosition
		}
		if n.mailState == stateSent {
			v.report.Sent++
		}
		if n.hookState == stateSent {
			v.report.Called++
		}
		order.entries = append(order.entries, n.entries()...)
	}
	v.compare(&order, payload, position)
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	return nil
}

func (v *verification) compare(want *orderNotices, payload []byte, position int64) {
	if want.orderID == "" {
		return
	}
	v.report.Orders++
	v.report.Notices += int64(len(want.entries))
	var have noticeLog
	switch {
	case payload == nil:
		v.report.differ("order %s has no record", want.orderID)
		return
	case json.Unmarshal(payload, &have) != nil:
		v.report.differ("order %s: the record cannot be read", want.orderID)
		return
	}
	for _, e := range want.entries {
		if e.State == "" {
			v.report.differ("order %s: event %d has no mail or call", want.orderID, e.Position)
		}
	}
	if last := want.entries[len(want.entries)-1].Position; position != last {
		v.report.differ("order %s: the record is at %d, its last notice at %d", want.orderID, position, last)
	}
	if !slices.EqualFunc(have.Notices, want.entries, sameEntry) {
		v.report.differ("order %s: the record has not the notices of the log", want.orderID)
	}
}

func sameEntry(a, b noticeEntry) bool {
	sameTime := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return sameTime && a == b
}

const selectStrangeRecords = `
SELECT r.order_id::text FROM records r
WHERE r.system = $1 AND NOT EXISTS (SELECT FROM expected_notices e WHERE e.order_id = r.order_id AND r.record_id = $2)`

const selectStrangeMails = `
SELECT b.position::text FROM outbox b
WHERE b.system = $1 AND b.position <= $2 AND NOT EXISTS (
    SELECT FROM expected_notices e JOIN expected_notices p ON p.order_id = e.order_id AND p.event = $5
    WHERE e.position = b.position AND e.order_id = b.order_id
      AND (b.channel = $3 AND e.by_mail AND p.address <> ''
        OR b.channel = $4 AND e.by_webhook AND (p.address <> '' OR p.phone <> '')))`

// findStrangers looks for records and mails that no event asks for.
func (v *verification) findStrangers(ctx context.Context) error {
	found, err := v.list(ctx, selectStrangeRecords, NoticesName, noticesRecord)
	if err != nil {
		return err
	}
	for _, id := range found {
		v.report.differ("order %s has a record and is not in the log", id)
	}
	found, err = v.list(ctx, selectStrangeMails, NoticesName, v.report.Position, mailChannel, hookChannel, string(events.OrderPlaced))
	if err != nil {
		return err
	}
	for _, position := range found {
		v.report.differ("event %s has a mail or call that it does not ask for", position)
	}
	return nil
}

func (v *verification) list(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := v.tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("look for strangers: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for strangers: %w", err)
	}
	return found, nil
}
