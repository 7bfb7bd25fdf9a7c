package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// successor is a broker on an empty folder, at the address and with the credentials of one that is gone.
func successor(t *testing.T, address string) *stream.Server {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	password, _ := u.User.Password()
	broker, err := stream.StartServer(stream.ServerConfig{
		Dir: t.TempDir(), Port: port, User: u.User.Username(), Password: password, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(broker.Shutdown)
	return broker
}

// While the broker is away orders are taken, views follow the log, and parties hear of their events. One that comes back with nothing is
// filled again, and all go on by themselves.
func TestIntakeAndViewsGoOnWithoutTheBroker(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	writes, reads := o.serve(t, "command,relay"), o.serve(t, "projection,query,broadcast")
	launch(t, o.env, "orderaux")
	as := o.parties(t)
	_, err := newClient(t, writes, as.Operator).PutProvider(t.Context(), client.Provider{ID: "demo-provider", BusinessTypes: []string{"retail.erp"}})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	var hearing sync.WaitGroup
	t.Cleanup(func() { stop(); hearing.Wait() })
	heard := make(chan int64, 1000)
	hearing.Go(func() {
		for event, err := range newClient(t, reads, as.User).Events(ctx, client.From{}, client.OverSSE()) {
			if err == nil {
				heard <- event.Position
			}
		}
	})
	submit := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			order, err := newClient(t, writes, as.User).SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("lost-", i)))
			require.NoError(t, err)
			read, err := newClient(t, reads, as.User).GetOrder(t.Context(), order.ID, client.GetOptions{Position: order.Meta.Position})
			require.NoError(t, err)
			require.Equal(t, order.ID, read.ID)
		}
	}
	submit(0, 5)
	o.broker.Shutdown()
	submit(5, 15)
	lag, err := newClient(t, writes, as.Operator).Lag(t.Context())
	require.NoError(t, err)
	require.Equal(t, "does not answer", lag.Stream.Stopped)
	require.Positive(t, lag.Stream.Lag)

	broker := successor(t, o.broker.URL())
	submit(15, 20)
	system := &system{t: t, at: endpoints{HTTP: writes}, as: *as}
	system.level()
	own := o.verifiedStream(t, broker)
	require.Greater(t, len(own), 20)
	for _, at := range own {
		select {
		case position := <-heard:
			require.Equal(t, at, position)
		case <-time.After(20 * time.Second):
			require.Failf(t, "an event was missed", "%d of %v", at, own)
		}
	}
}

// verifiedStream compares the broker's stream with the log, and gives the positions of the user's events.
func (o *outside) verifiedStream(t *testing.T, broker *stream.Server) []int64 {
	t.Helper()
	pool, err := postgres.Open(t.Context(), o.write, postgres.PoolConfig{Name: "test", MaxConns: 1})
	require.NoError(t, err)
	defer pool.Close()
	log := stream.NewLog(pool)
	head, _, err := log.Head(t.Context())
	require.NoError(t, err)
	nc, err := broker.Connect(t.Context())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	v, err := broadcast.Verify(t.Context(), js, log, head, func(int64) {})
	require.NoError(t, err)
	require.Empty(t, v.Difference)
	require.Equal(t, stream.Bounds{First: 1, Last: head, Messages: head}, v.Bounds)
	rows, err := pool.Query(t.Context(), `SELECT position FROM order_events WHERE subject LIKE 'orders.demo.%' ORDER BY position`)
	require.NoError(t, err)
	own, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(t, err)
	return own
}
