package limits_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/limits"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

// clock is a time that the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func limiter(t *testing.T, defaults limits.Limits) (*limits.Limiter, *clock) {
	t.Helper()
	c := &clock{at: time.Unix(1_700_000_000, 0)}
	l, err := limits.New(defaults, c.now)
	require.NoError(t, err)
	return l, c
}

func TestRateOfAClient(t *testing.T) {
	t.Parallel()
	l, clock := limiter(t, limits.Limits{ReadsPerSecond: 2, Burst: 3})
	require.Equal(t, limits.Verdict{Limited: true, Limit: 3, Remaining: 2, Reset: 500 * time.Millisecond}, l.Take("a", "", limits.Reads))
	require.Equal(t, int64(1), l.Take("a", "", limits.Reads).Remaining)
	require.Equal(t, limits.Verdict{Limited: true, Limit: 3, Reset: 1500 * time.Millisecond}, l.Take("a", "", limits.Reads))
	for range 3 {
		require.Equal(t, limits.Verdict{Limited: true, Limit: 3, Reset: 1500 * time.Millisecond, Wait: 500 * time.Millisecond},
			l.Take("a", "", limits.Reads), "what is refused is not counted")
	}
	require.Zero(t, l.Take("b", "", limits.Reads).Wait, "another client has its own")
	require.False(t, l.Take("a", "", limits.Orders).Limited, "orders have no limit here")
	clock.at = clock.at.Add(500 * time.Millisecond)
	require.Zero(t, l.Take("a", "", limits.Reads).Wait, "who waits as long as told gets it")
	require.NotZero(t, l.Take("a", "", limits.Reads).Wait)
}

func TestTenantsClientsShareItsRate(t *testing.T) {
	t.Parallel()
	l, clock := limiter(t, limits.Limits{OrdersPerSecond: 100})
	l.Set(&limits.Settings{
		Tenants: map[string]limits.Limits{"t": {OrdersPerSecond: 5, MaxStreams: 2}}, Clients: map[string]limits.Limits{"slow": {OrdersPerSecond: 1}},
	})
	require.Zero(t, l.Take("slow", "t", limits.Orders).Wait)
	require.NotZero(t, l.Take("slow", "t", limits.Orders).Wait, "its own limit")
	for i := range 4 {
		v := l.Take(fmt.Sprint("c", i), "t", limits.Orders)
		require.Zero(t, v.Wait)
		require.Equal(t, int64(3-i), v.Remaining, "that of the tenant, who has less left")
	}
	require.NotZero(t, l.Take("c9", "t", limits.Orders).Wait)
	require.Equal(t, int64(99), l.Take("c9", "", limits.Orders).Remaining, "what the tenant was refused was not taken from the client")
	clock.at = clock.at.Add(time.Minute)
	l.Set(&limits.Settings{Tenants: map[string]limits.Limits{"t": {OrdersPerSecond: 1}}})
	require.Equal(t, int64(1), l.Take("c0", "t", limits.Orders).Limit, "a new limit counts at once")

	l.Set(&limits.Settings{Tenants: map[string]limits.Limits{"t": {MaxStreams: 2}}})
	first, err := l.Open("a", "t")
	require.NoError(t, err)
	_, err = l.Open("b", "t")
	require.NoError(t, err)
	_, err = l.Open("c", "t")
	require.Equal(t, fault.TooManyRequests, fault.CodeOf(err))
	first()
	_, err = l.Open("c", "t")
	require.NoError(t, err, "one was closed")
}

// TestSettingsAreRead: what is in the registry and with the clients counts, and what is no more there counts no more.
func TestSettingsAreRead(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	exec := func(sql string) {
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	exec(`INSERT INTO registry VALUES ('tenant', 't', 7, '{"tenant":"t","name":"T","limits":{"reads_per_second":3,"orders_per_day":9}}'), ('route', 't', 8, '{}')`)
	exec(`INSERT INTO clients (client_id, secret_hash, kind, tenant, scopes, limits)
		VALUES ('c', decode(repeat('00', 32), 'hex'), 'user', 't', '{orders:read}', '{"reads_per_second":2}')`)
	l, err := limits.New(limits.Limits{}, time.Now)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- limits.NewReader(pool, l, slog.New(slog.DiscardHandler)).Run(ctx) }()
	limit := func(client string, want int64) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			assert.Equal(c, want, l.Take(client, "t", limits.Reads).Limit)
		}, 20*time.Second, 20*time.Millisecond)
	}
	limit("c", 2)
	limit("other", 3)
	exec(`UPDATE registry SET position = 9, document = '{"tenant":"t"}' WHERE id = 't' AND kind = 'tenant'`)
	exec(`UPDATE clients SET limits = NULL`)
	limit("c", 0)
	cancel()
	require.NoError(t, <-done)
}
