package broadcast

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	extendAttempts = `SELECT extend_delivery_attempts($1::date)`

	// Who deletes a subscription, or queues replays of it, locks it first. So does this, and none waits for another who waits for it.
	shareSubscriptions = `SELECT FROM subscriptions WHERE id = ANY ($1) ORDER BY id FOR KEY SHARE`
	// A subscription that is deleted meanwhile is left out, so that it spoils nothing of the others'.
	upsertDeliveries = `
INSERT INTO deliveries AS d (subscription_id, position, order_id, event_type, delivery_id, state, replay, attempts, next_at, reason, created_at,
	updated_at)
SELECT u.subscription_id, u.position, u.order_id, u.event_type, u.delivery_id, u.state, u.replay, u.attempts, u.next_at, u.reason, u.at, u.at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::boolean[], $8::integer[], $9::timestamptz[], $10::text[],
	$11::timestamptz[]) AS u (subscription_id, position, order_id, event_type, delivery_id, state, replay, attempts, next_at, reason, at)
JOIN subscriptions s ON s.id = u.subscription_id
FOR KEY SHARE OF s
ON CONFLICT (subscription_id, position) DO UPDATE SET state = excluded.state, replay = excluded.replay, attempts = excluded.attempts,
	next_at = excluded.next_at, reason = excluded.reason, updated_at = excluded.updated_at`
	deleteDeliveries = `DELETE FROM deliveries d USING unnest($1::uuid[], $2::bigint[]) AS u (id, position)
WHERE d.subscription_id = u.id AND d.position = u.position`
	storePositions = `UPDATE subscription_positions p SET position = u.position, updated_at = $4
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (id, position, moves) WHERE p.subscription_id = u.id AND p.moves = u.moves`
	storeHealth = `UPDATE subscription_health h SET circuit = u.circuit, failing_since = u.failing_since, last_success_at = u.last_success_at,
	last_failure_at = u.last_failure_at, last_failure = u.last_failure, throttled_until = u.throttled_until
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::text[], $7::timestamptz[])
	AS u (id, circuit, failing_since, last_success_at, last_failure_at, last_failure, throttled_until) WHERE h.subscription_id = u.id`
	disableSubscription = `UPDATE subscriptions SET status = 'disabled', reason = $2, version = version + 1, updated_at = $3
WHERE id = $1 AND status = 'active'`
	insertNotice = `INSERT INTO subscription_notices (id, subscription_id, kind, reason, created_at)
SELECT $1, s.id, 'disabled', $3, $4 FROM subscriptions s WHERE s.id = $2 FOR KEY SHARE OF s`
)

// attemptColumns are the columns of delivery_attempts, in the order of attemptRow.values.
func attemptColumns() []string {
	return []string{
		"id", "subscription_id", "at", "position", "delivery_id", "order_id", "event_type", "attempt", "replay", "outcome", "status", "latency_us",
		"reason", "answer",
	}
}

// values are plain arrays where ids are meant: the driver takes those without a detour by text.
func (a *attemptRow) values() []any {
	return []any{
		[16]byte(a.id), [16]byte(a.subscription), a.at, a.position, [16]byte(a.delivery), a.order, a.kind, int32(a.number), a.replay, string(a.made.Kind), //nolint:gosec // few
		int32(a.made.Status), a.made.Latency.Microseconds(), a.made.Reason, a.made.Answer, //nolint:gosec // a status
	}
}

// ledgerWriter stores a ledger's entries on the connection that holds the node's shards, so that nothing is stored for a subscription
// that another node delivers.
type ledgerWriter struct {
	days map[string]bool // that have a partition
}

// write stores all of it, or nothing.
func (w *ledgerWriter) write(ctx context.Context, db *pgx.Conn, e *entries, now time.Time) error {
	if err := w.makeRoom(ctx, db, e.attempts); err != nil {
		return err
	}
	return postgres.InTx(ctx, db, func(tx pgx.Tx) error {
		if err := copyAttempts(ctx, tx, e.attempts); err != nil {
			return err
		}
		b := &pgx.Batch{}
		if ids := e.subscriptions(); len(ids) > 0 {
			b.Queue(shareSubscriptions, ids)
		}
		queueDeliveries(b, e.parked)
		queueHealth(b, e.health)
		for id, why := range e.disabled {
			b.Queue(disableSubscription, id, why.reason, now)
			if why.notice {
				b.Queue(insertNotice, uuid.Must(uuid.NewV7()), id, why.reason, now)
			}
		}
		queuePositions(b, e.positions, now)
		if b.Len() == 0 {
			return nil
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("store deliveries: %w", err)
		}
		return nil
	})
}

// makeRoom makes the partitions of the days that attempts were made on.
func (w *ledgerWriter) makeRoom(ctx context.Context, db *pgx.Conn, all []attemptRow) error {
	for i := range all {
		day := all[i].at.UTC().Format(time.DateOnly)
		if w.days[day] {
			continue
		}
		if _, err := db.Exec(ctx, extendAttempts, day); err != nil {
			return fmt.Errorf("make room for attempts of %s: %w", day, err)
		}
		w.days[day] = true
	}
	return nil
}

func copyAttempts(ctx context.Context, tx pgx.Tx, all []attemptRow) error {
	if len(all) == 0 {
		return nil
	}
	rows := pgx.CopyFromSlice(len(all), func(i int) ([]any, error) { return all[i].values(), nil })
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"delivery_attempts"}, attemptColumns(), rows); err != nil {
		return fmt.Errorf("store attempts: %w", err)
	}
	return nil
}

func queueDeliveries(b *pgx.Batch, parked map[deliveryKey]*deliveryRow) {
	var gone, ids, deliveries []uuid.UUID
	var gonePositions, positions []int64
	var orders, kinds, states, reasons []string
	var replays []bool
	var attempts []int32
	var next []*time.Time
	var at []time.Time
	for key, row := range parked {
		if row == nil {
			gone, gonePositions = append(gone, key.subscription), append(gonePositions, key.position)
			continue
		}
		ids, positions = append(ids, key.subscription), append(positions, key.position)
		deliveries = append(deliveries, deliveryID(key.subscription, key.position))
		orders, kinds, states, reasons = append(orders, row.order), append(kinds, row.kind), append(states, row.state), append(reasons, row.reason)
		replays, attempts = append(replays, row.replay), append(attempts, int32(row.attempts)) //nolint:gosec // few
		next, at = append(next, timeOrNull(row.nextAt)), append(at, row.at)
	}
	if len(gone) > 0 {
		b.Queue(deleteDeliveries, gone, gonePositions)
	}
	if len(ids) > 0 {
		b.Queue(upsertDeliveries, ids, positions, orders, kinds, deliveries, states, replays, attempts, next, reasons, at)
	}
}

func queueHealth(b *pgx.Batch, all map[uuid.UUID]healthRow) {
	if len(all) == 0 {
		return
	}
	var ids []uuid.UUID
	var circuits, failures []string
	var since, success, failure, throttled []*time.Time
	for id, h := range all {
		ids, circuits, failures = append(ids, id), append(circuits, h.circuit), append(failures, h.failure)
		since, success = append(since, timeOrNull(h.failingSince)), append(success, timeOrNull(h.lastSuccess))
		failure, throttled = append(failure, timeOrNull(h.lastFailure)), append(throttled, timeOrNull(h.throttledTill))
	}
	b.Queue(storeHealth, ids, circuits, since, success, failure, failures, throttled)
}

func queuePositions(b *pgx.Batch, all map[uuid.UUID]progress, now time.Time) {
	if len(all) == 0 {
		return
	}
	var ids []uuid.UUID
	var positions, moves []int64
	for id, p := range all {
		ids, positions, moves = append(ids, id), append(positions, p.position), append(moves, p.moves)
	}
	b.Queue(storePositions, ids, positions, moves, now)
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// deliveryID names the delivery of an event to a subscription: the same for all attempts, on whatever node.
func deliveryID(subscription uuid.UUID, position int64) uuid.UUID {
	var name [20]byte
	return uuid.NewSHA1(subscription, strconv.AppendInt(name[:0], position, 10))
}
