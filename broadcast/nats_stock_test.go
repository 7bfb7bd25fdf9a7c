package broadcast

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

// A user reads its own tenant's levels with nats.go: one by its key, and changes as they are written. It reads nobody else's, writes none,
// and what it asks for goes nowhere but to itself.
func TestATenantReadsItsLevelsOnNATS(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.answer(0)
	bucket, err := g.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "STOCK"})
	require.NoError(t, err)
	for _, key := range []string{"demo.cup", "demo.pen=2F1", "shop.cup"} {
		_, err := bucket.PutString(t.Context(), key, `{"of":"`+key+`"}`)
		require.NoError(t, err)
	}
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	shop := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "shop"})
	provider := g.client(auth.NewClient{Kind: auth.KindProvider, Provider: "acme"})
	var told violations
	nc := g.login(demo, told.option())
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), "STOCK")
	require.NoError(t, err)
	for _, key := range []string{"demo.cup", "demo.pen=2F1"} {
		entry, err := kv.Get(t.Context(), key)
		require.NoError(t, err)
		require.JSONEq(t, `{"of":"`+key+`"}`, string(entry.Value()))
	}
	_, err = kv.Get(t.Context(), "demo.none")
	require.ErrorIs(t, err, jetstream.ErrKeyNotFound)

	levels, err := nc.SubscribeSync(stream.StockLevels + "demo.>")
	require.NoError(t, err)
	require.NoError(t, nc.FlushTimeout(10*time.Second))
	_, err = bucket.PutString(t.Context(), "shop.cup", `{"new":"shop"}`)
	require.NoError(t, err)
	_, err = bucket.PutString(t.Context(), "demo.cup", `{"new":"demo"}`)
	require.NoError(t, err)
	m, err := levels.NextMsg(10 * time.Second)
	require.NoError(t, err)
	require.Equal(t, "$KV.STOCK.demo.cup", m.Subject, "the other tenant's came before and is not heard")
	require.JSONEq(t, `{"new":"demo"}`, string(m.Data))

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = kv.Get(short, "shop.cup")
	require.Error(t, err)
	refused := func(nc *nats.Conn, told *violations, subject string) {
		t.Helper()
		require.NoError(t, nc.PublishRequest(subject, InboxPrefix(demo.ClientID)+".reply", nil))
		require.NoError(t, nc.FlushTimeout(10*time.Second))
		require.Eventually(t, func() bool { return told.of(subject) }, 10*time.Second, time.Millisecond, subject)
	}
	for _, subject := range []string{
		stream.StockGet + "shop.cup", stream.StockGet + "*.cup", stream.StockGet + ">", "$JS.API.DIRECT.GET.KV_STOCK", "$KV.STOCK.demo.cup", "$KV.STOCK.shop.cup",
		"$JS.API.STREAM.MSG.GET.KV_STOCK", "$JS.API.CONSUMER.CREATE.KV_STOCK.mine.$KV.STOCK.demo.>", "$JS.API.CONSUMER.CREATE.KV_STOCK",
		"$JS.API.STREAM.PURGE.KV_STOCK", "$JS.API.STREAM.DELETE.KV_STOCK", stream.StockInfoService,
	} {
		refused(nc, &told, subject)
	}
	for _, subject := range []string{"$KV.STOCK.>", "$KV.STOCK.shop.>", "$KV.STOCK.*.cup"} {
		_, err := nc.SubscribeSync(subject)
		require.NoError(t, err)
		require.NoError(t, nc.FlushTimeout(10*time.Second))
		require.Eventually(t, func() bool { return told.of(subject) }, 10*time.Second, time.Millisecond, subject)
	}
	// JetStream answers to whatever reply is named: nothing of it is stored.
	for _, reply := range []string{"orders.demo.hotel.-.order.placed", "$KV.STOCK.shop.cup"} {
		require.NoError(t, nc.PublishRequest(stream.StockGet+"demo.cup", reply, nil))
	}
	require.NoError(t, nc.FlushTimeout(10*time.Second))
	entry, err := kv.Get(t.Context(), "demo.cup") // asked after those, and answered
	require.NoError(t, err)
	require.JSONEq(t, `{"new":"demo"}`, string(entry.Value()))
	entry, err = bucket.Get(t.Context(), "shop.cup")
	require.NoError(t, err)
	require.JSONEq(t, `{"new":"shop"}`, string(entry.Value()))
	orders, err := g.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	require.Zero(t, orders.CachedInfo().State.LastSeq)

	theirs, err := jetstream.New(g.login(shop))
	require.NoError(t, err)
	kv, err = theirs.KeyValue(t.Context(), "STOCK")
	require.NoError(t, err)
	entry, err = kv.Get(t.Context(), "shop.cup")
	require.NoError(t, err)
	require.JSONEq(t, `{"new":"shop"}`, string(entry.Value()))
	var toProvider violations
	refused(g.login(provider, toProvider.option()), &toProvider, stream.StockGet+"demo.cup")
}
