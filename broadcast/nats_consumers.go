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
