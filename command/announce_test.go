package command

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// notice makes a subscription and says that it was disabled, as delivery does.
func (b *bench) notice(tenant, reason string) string {
	b.t.Helper()
	id := uuid.NewString()
	_, err := b.pool.Exec(b.t.Context(), `
WITH s AS (
	INSERT INTO subscriptions (id, kind, tenant, client_id, name, transport, types, business_types, created_at, updated_at)
	VALUES ($1::uuid, 'user', $2, 'c', $1::uuid::text, 'webhook', '{}', '{}', now(), now()) RETURNING id
)
INSERT INTO subscription_notices (id, subscription_id, kind, reason, created_at) SELECT gen_random_uuid(), id, 'disabled', $3, now() FROM s`,
		id, tenant, reason)
	require.NoError(b.t, err)
	return id
}

// TestPartyIsToldOnceOfItsSubscription: two nodes that see the same notice tell it once, and no restart tells it again.
func TestPartyIsToldOnceOfItsSubscription(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, second := b.node()
	subscriptions := []string{b.notice("demo", "nothing but failures for 5 days"), b.notice("shop", "gone")}
	for range 3 {
		for _, c := range []*Committer{b.committer, second} {
			require.NoError(t, NewAnnouncer(c).look(t.Context()))
		}
	}
	_, third := b.node()
	run(t, NewAnnouncer(third))
	b.place("after")

	rows, err := b.pool.Query(t.Context(), `SELECT event FROM order_events ORDER BY position`)
	require.NoError(t, err)
	defer rows.Close()
	told := map[string]string{}
	for rows.Next() {
		var body []byte
		require.NoError(t, rows.Scan(&body))
		e, err := events.Decode(1, body)
		require.NoError(t, err)
		if e.Type != events.SubscriptionDisabled {
			continue
		}
		var end events.SubscriptionEnd
		raw, err := json.Marshal(e.Data)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &end))
		require.NotContains(t, told, end.SubscriptionID)
		told[end.SubscriptionID] = e.Tenant + ": " + end.Reason
	}
	require.NoError(t, rows.Err())
	require.Equal(t, map[string]string{
		subscriptions[0]: "demo: nothing but failures for 5 days", subscriptions[1]: "shop: gone",
	}, told)
	open, err := b.committer.store.notices(t.Context())
	require.NoError(t, err)
	require.Empty(t, open)
}

// TestNoticeWaitsForThePrimary: what cannot be told now is told later.
func TestNoticeWaitsForThePrimary(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.notice("demo", "gone")
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE registry RENAME TO registry_away`)
	require.NoError(t, err)
	require.Error(t, NewAnnouncer(b.committer).look(t.Context()))
	_, err = b.pool.Exec(t.Context(), `ALTER TABLE registry_away RENAME TO registry`)
	require.NoError(t, err)
	require.NoError(t, NewAnnouncer(b.committer).look(t.Context()))
	require.Eventually(t, func() bool { return b.tip.Position() == 1 }, 10*time.Second, time.Millisecond)
}
