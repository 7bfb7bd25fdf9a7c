package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
)

// What may become of an effect.
const (
	stateQueued     = "queued"
	stateSent       = "sent"
	stateSuppressed = "suppressed" // its event is at or before quiet_to
	stateDead       = "dead"       // given up; it waits for a person
	stateDiscarded  = "discarded"  // a person gave it up for good
)

// Effect is something to be done outside. Position and channel are its identity: the same event read again asks for the
// same effect, and not for another.
type Effect struct {
	Position int64
	Channel  string
	OrderID  string
	Payload  []byte
	Attempts int // this one included
}

// outcome is what became of an attempt.
type outcome struct {
	effect  Effect
	state   string    // queued: to be tried again at next
	next    time.Time // when state is queued
	reason  string    // why it was not made; empty when it was
	untried bool      // given back without an attempt
}

const insertEffects = `
INSERT INTO outbox (system, position, channel, order_id, state, next_at, payload, changed_at)
SELECT $1, e.position, e.channel, e.order_id::uuid, CASE WHEN e.position <= $2 THEN 'suppressed' ELSE 'queued' END, $3,
       CASE WHEN e.position <= $2 THEN NULL ELSE e.payload END, $3
FROM unnest($4::bigint[], $5::text[], $6::text[], $7::bytea[]) AS e (position, channel, order_id, payload)
ON CONFLICT (system, position, channel) DO UPDATE SET position = outbox.position`

// The update changes nothing and locks the row: a sender that is just noting what became of it is waited for, or waits, so that
// one of the two sees what the other has written.

// queue writes effects to be made after the commit. One that is known already stays as it is: sent, or still to be.
func queue(ctx context.Context, tx pgx.Tx, system string, batch Batch, effects []Effect) error {
	if len(effects) == 0 {
		return nil
	}
	positions, channels := make([]int64, len(effects)), make([]string, len(effects))
	orders, payloads := make([]string, len(effects)), make([][]byte, len(effects))
	for i, e := range effects {
		positions[i], channels[i], orders[i], payloads[i] = e.Position, e.Channel, e.OrderID, e.Payload
	}
	if _, err := tx.Exec(ctx, insertEffects, system, batch.QuietTo, batch.Now, positions, channels, orders, payloads); err != nil {
		return fmt.Errorf("queue effects: %w", err)
	}
	return nil
}

// The commits of a claim and of its outcome are flushed even where the pool's commits are not. A flush takes every commit
// before it along, so no effect is made whose queueing could still vanish.
const flushCommit = `SET LOCAL synchronous_commit = on`

// The rows are taken by their place in the table: joined by key, a plan made for any limit reads the whole table.
const claimEffects = `
UPDATE outbox o SET claimed_until = $3, attempts = o.attempts + 1
WHERE o.ctid = ANY (ARRAY(
      SELECT ctid FROM outbox
      WHERE system = $1 AND state = 'queued' AND next_at <= $2 AND (claimed_until IS NULL OR claimed_until <= $2)
        AND ($5 = '' OR channel = $5)
        AND NOT EXISTS (SELECT FROM checkpoints WHERE system = $1 AND paused)
      ORDER BY next_at, position LIMIT $4 FOR UPDATE SKIP LOCKED))
RETURNING o.position, o.channel, o.order_id::text, o.payload, o.attempts`

// claim takes effects of a channel, or of all where none is named, that are due. A paused system has none. Until the claim runs out no other sender takes them; after that they are taken for lost
// with their sender, and given to the next.
func claim(ctx context.Context, pool *pgxpool.Pool, system, channel string, now, until time.Time, limit int) ([]Effect, error) {
	var effects []Effect
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, flushCommit); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, claimEffects, system, now, until, limit, channel)
		if err != nil {
			return err
		}
		effects, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Effect, error) {
			var e Effect
			err := row.Scan(&e.Position, &e.Channel, &e.OrderID, &e.Payload, &e.Attempts)
			return e, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim effects: %w", err)
	}
	return effects, nil
}

const settleEffects = `
UPDATE outbox o SET state = e.state, claimed_until = NULL, next_at = coalesce(e.next_at, o.next_at), failure = e.failure,
       attempts = o.attempts - e.untried, changed_at = $2,
       payload = CASE WHEN e.state = 'sent' THEN NULL ELSE o.payload END
FROM unnest($3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::int[])
     AS e (position, channel, state, next_at, failure, untried)
WHERE o.system = $1 AND o.position = e.position AND o.channel = e.channel AND o.state = 'queued'`

func settle(ctx context.Context, tx pgx.Tx, system string, now time.Time, outcomes []outcome) error {
	var (
		positions []int64
		channels  []string
		states    []string
		next      []*time.Time
		failures  []string
		untried   []int32
	)
	for _, o := range outcomes {
		positions, channels = append(positions, o.effect.Position), append(channels, o.effect.Channel)
		states, failures = append(states, o.state), append(failures, o.reason)
		var at *time.Time
		if !o.next.IsZero() {
			at = &o.next
		}
		var back int32
		if o.untried {
			back = 1
		}
		next, untried = append(next, at), append(untried, back)
	}
	if _, err := tx.Exec(ctx, flushCommit); err != nil {
		return fmt.Errorf("settle effects: %w", err)
	}
	if _, err := tx.Exec(ctx, settleEffects, system, now, positions, channels, states, next, failures, untried); err != nil {
		return fmt.Errorf("settle effects: %w", err)
	}
	return nil
}

const hastenEffects = `
UPDATE outbox SET next_at = $2 WHERE system = $1 AND state = 'queued' AND next_at > $2 AND claimed_until IS NULL
  AND ($3 = '' OR channel = $3)`

// hasten makes everything that waits for its next attempt due: the target takes effects again.
func hasten(ctx context.Context, tx pgx.Tx, system, channel string, now time.Time) error {
	if _, err := tx.Exec(ctx, hastenEffects, system, now, channel); err != nil {
		return fmt.Errorf("hasten effects: %w", err)
	}
	return nil
}

const countEffects = `
SELECT (SELECT count(*) FROM outbox WHERE system = $1 AND state = 'queued' AND ($2 = '' OR channel = $2)),
       (SELECT count(*) FROM outbox WHERE system = $1 AND state = 'dead' AND ($2 = '' OR channel = $2))`

func countWaiting(ctx context.Context, pool *pgxpool.Pool, system, channel string) (queued, dead int64, err error) {
	if err := pool.QueryRow(ctx, countEffects, system, channel).Scan(&queued, &dead); err != nil {
		return 0, 0, fmt.Errorf("count effects: %w", err)
	}
	return queued, dead, nil
}

// errUndeliverable and errTargetAway are matched with errors.Is.
var (
	errUndeliverable = errors.New("cannot be delivered")
	errTargetAway    = errors.New("target is away")
)

// Undeliverable says that trying again cannot help: the effect is parked at once.
func Undeliverable(cause error) error { return fmt.Errorf("%w: %w", errUndeliverable, cause) }

// TargetAway says that it is the target and not this effect: others are held back too until one gets through.
func TargetAway(cause error) error { return fmt.Errorf("%w: %w", errTargetAway, cause) }
