package broadcast

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/webhook"
	"github.com/orderstore/orderstore/migrations"
)

// BenchmarkWebhookDelivery delivers what waits of one subscription to a sink on this machine that does nothing but answer.
func BenchmarkWebhookDelivery(b *testing.B) {
	read, write := pgtest.Database(b, migrations.Read, "read"), pgtest.Database(b, migrations.Write, "write")
	_, err := read.Exec(b.Context(), `INSERT INTO checkpoints (view, position, digest) VALUES ('timeline', $2, $1), ('order_view', $2, $1)`, make([]byte, 32), b.N)
	require.NoError(b, err)
	_, err = read.Exec(b.Context(), `INSERT INTO timeline (position, tenant, order_id, event)
SELECT p, 'demo', o::uuid, convert_to('{"cell":1,"type":"task.offered","version":1,"time":"2026-01-02T03:04:05.123456Z","tenant":"demo","business_type":"retail.erp","order_id":"'
	|| o || '","order_version":2,"task_id":"0198f000-0000-7000-8000-000000000000","provider":"acme","data":{}}', 'UTF8')
FROM (SELECT p, '0198f000-0000-7000-8000-' || lpad(to_hex(p % 5000), 12, '0') AS o FROM generate_series(1, $1::bigint) p) x`, b.N)
	require.NoError(b, err)
	tip := &stream.Tip{}
	tip.Set(int64(b.N))
	live := NewLive(read, tip, discard())
	guard, err := webhook.NewGuard(webhook.GuardConfig{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	require.NoError(b, err)
	sender, err := webhook.NewSender(guard, webhook.SenderConfig{})
	require.NoError(b, err)
	defer sender.Close()

	var got atomic.Int64
	all := make(chan struct{})
	to := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if got.Add(1) == int64(b.N) {
			close(all)
		}
	}))
	defer to.Close()
	a := &api{log: write, store: NewSubscriptionStore(write), guard: guard}
	benchSubscription(b, a, to.URL)
	d := NewDispatcher(DispatcherConfig{Write: write, Read: read, Live: live, Sender: sender, Now: time.Now, Logger: discard()})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	b.ResetTimer()
	go func() { _ = live.Run(ctx) }()
	go func() { defer close(done); _ = d.Run(ctx) }()
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	cancel()
	<-done
	var position int64
	require.NoError(b, write.QueryRow(context.WithoutCancel(b.Context()), `SELECT position FROM subscription_positions`).Scan(&position))
	require.Equal(b, int64(b.N), position)
}

func benchSubscription(b *testing.B, a *api, target string) {
	b.Helper()
	_, err := a.log.Exec(b.Context(), `
WITH s AS (INSERT INTO subscriptions (id, kind, tenant, client_id, name, transport, types, business_types, settings, created_at, updated_at)
	VALUES (gen_random_uuid(), 'user', 'demo', 'c', 'bench', 'webhook', '{}', '{}', jsonb_build_object('url', $1::text, 'algorithm', 'hmac-sha256'), now(), now())
	RETURNING id),
p AS (INSERT INTO subscription_positions SELECT id, 0, now() FROM s),
h AS (INSERT INTO subscription_health (subscription_id) SELECT id FROM s)
INSERT INTO subscription_secrets (id, subscription_id, algorithm, secret, created_at)
SELECT gen_random_uuid(), id, 'hmac-sha256', 'whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=', now() FROM s`, target)
	require.NoError(b, err)
}
