package broadcast

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/auth"
)

const (
	consumerAckWait    = 30 * time.Second // after which what was not acknowledged is delivered again
	consumerInFlight   = 256              // delivered and not acknowledged
	consumerBatch      = 500              // messages of one request
	consumerPoll       = 5 * time.Minute  // longest that a request may wait
	consumersPerParty  = 1000             // that one login may use: each takes a part of the login's size
	consumerVersionKey = "orderstore-version"
)

// consumerConfig is the durable consumer of a subscription, from its stored position on. It holds the version that it was made for: a
// subscription that has changed, or was moved, gets another one.
func consumerConfig(s *Subscription) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:           consumerName(s.ID),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       uint64(s.Position + 1), //nolint:gosec // positions are never negative
		AckPolicy:         jetstream.AckExplicitPolicy,
		AckWait:           consumerAckWait,
		MaxDeliver:        -1,
		MaxAckPending:     consumerInFlight,
		MaxRequestBatch:   consumerBatch,
		MaxRequestExpires: consumerPoll,
		HeadersOnly:       true,
		FilterSubjects:    filterSubjects(s.Owner, s.Filter),
		Metadata:          map[string]string{consumerVersionKey: strconv.FormatInt(s.Version, 10)},
	}
}

const selectConsumers = `SELECT s.id FROM subscriptions s WHERE` + ofOwner + `
	AND s.transport = 'nats' AND s.status <> 'disabled' ORDER BY s.id LIMIT $5`

// Consumers gives the names of the consumers that a party may use: of its active and its paused subscriptions on NATS, the oldest of
// them when there are over a thousand.
func (st *SubscriptionStore) Consumers(ctx context.Context, who auth.Identity) ([]string, error) {
	rows, err := st.pool.Query(ctx, selectConsumers, owned(OwnerOf(who), consumersPerParty)...)
	if err != nil {
		return nil, fmt.Errorf("read consumers: %w", err)
	}
	names, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		var id uuid.UUID
		err := row.Scan(&id)
		return consumerName(id), err
	})
	if err != nil {
		return nil, fmt.Errorf("read consumers: %w", err)
	}
	return names, nil
}

// moved is how far the party of a subscription is, as of a version of it.
type moved struct {
	id       uuid.UUID
	version  int64
	position int64
}

// The subscriptions are locked while their positions are written: one that is moved at the same time has another version by then, and
// is left where it was moved to.
const acknowledgeAll = `
WITH known AS (
	SELECT s.id, m.position FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS m (id, version, position)
	JOIN subscriptions s ON s.id = m.id AND s.version = m.version
	ORDER BY s.id FOR SHARE OF s
)
UPDATE subscription_positions p SET position = known.position, updated_at = $4
FROM known WHERE p.subscription_id = known.id AND p.position < known.position`

// acknowledge stores how far the parties of many subscriptions are. None goes back, and none that has changed meanwhile is touched.
func (st *SubscriptionStore) acknowledge(ctx context.Context, all []moved, now time.Time) error {
	if len(all) == 0 {
		return nil
	}
	ids, versions, positions := make([]uuid.UUID, len(all)), make([]int64, len(all)), make([]int64, len(all))
	for i, m := range all {
		ids[i], versions[i], positions[i] = m.id, m.version, m.position
	}
	if _, err := st.pool.Exec(ctx, acknowledgeAll, ids, versions, positions, now); err != nil {
		return fmt.Errorf("store positions of subscriptions: %w", err)
	}
	return nil
}
