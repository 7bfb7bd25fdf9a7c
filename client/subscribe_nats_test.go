package client_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// hall is a broker with one subscription's consumer, which it makes anew when the subscription is moved, as the store does.
type hall struct {
	t    *testing.T
	addr string
	js   jetstream.JetStream

	mu       sync.Mutex
	version  int64
	position int64
	seeks    []int64
}

func openHall(t *testing.T, events int) (*hall, *client.Client) {
	t.Helper()
	broker, err := server.NewServer(&server.Options{Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	require.NoError(t, err)
	broker.Start()
	t.Cleanup(broker.Shutdown)
	require.True(t, broker.ReadyForConnections(10*time.Second))
	h := &hall{t: t, addr: broker.ClientURL(), version: 1}
	h.js = h.connect()
	_, err = h.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	require.NoError(t, err)
	h.publish(1, events)
	h.make()
	store := httptest.NewServer(h)
	t.Cleanup(store.Close)
	c, err := client.New(client.Config{BaseURL: store.URL, NATSURL: h.addr, ClientID: "warehouse", ClientSecret: "secret"})
	require.NoError(t, err)
	return h, c
}

func (h *hall) connect() jetstream.JetStream {
	h.t.Helper()
	conn, err := nats.Connect(h.addr)
	require.NoError(h.t, err)
	h.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(h.t, err)
	return js
}

func (h *hall) publish(first, last int) {
	h.t.Helper()
	for p := first; p <= last; p++ {
		m := nats.NewMsg("orders.demo.wms.warehouse.task.offered")
		m.Header.Set("ce-id", strconv.Itoa(p))
		m.Header.Set("ce-time", "2026-01-31T12:00:00Z")
		_, err := h.js.PublishMsg(h.t.Context(), m)
		require.NoError(h.t, err)
	}
}

// make makes the consumer of the subscription as it is.
func (h *hall) make() {
	_ = h.js.DeleteConsumer(h.t.Context(), "ORDERS", "sub-s-1") // there may be none
	_, err := h.js.CreateConsumer(h.t.Context(), "ORDERS", jetstream.ConsumerConfig{
		Durable: "sub-s-1", AckPolicy: jetstream.AckExplicitPolicy, HeadersOnly: true, DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq: uint64(h.position + 1), AckWait: time.Hour, Metadata: map[string]string{"orderstore-version": strconv.FormatInt(h.version, 10)},
	})
	assert.NoError(h.t, err)
}

func (h *hall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var body struct{ Position, After int64 }
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch r.URL.Path {
	case "/oauth/token":
		answer(w, http.StatusOK, map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 900})
		return
	case "/v1/subscriptions/s-1/ack":
		h.position = max(h.position, body.Position)
	case "/v1/subscriptions/s-1/seek":
		h.seeks = append(h.seeks, body.After)
		h.position, h.version = body.After, h.version+1
		h.make()
	}
	answer(w, http.StatusOK, map[string]any{
		"id": "s-1", "transport": "nats", "status": "active", "position": h.position, "version": h.version,
		"nats": map[string]any{"stream": "ORDERS", "consumer": "sub-s-1"},
	})
}

// steal takes deliveries and acknowledges none, as a reader does that dies with them. more publishes what is taken, if it is not there yet.
func (h *hall) steal(n int, more func()) {
	h.t.Helper()
	js := h.connect()
	c, err := js.Consumer(h.t.Context(), "ORDERS", "sub-s-1")
	require.NoError(h.t, err)
	batch, err := c.Fetch(n)
	require.NoError(h.t, err)
	more()
	for range batch.Messages() {
		n--
	}
	require.Zero(h.t, n)
}

// asked waits until so many requests for messages wait at the consumer.
func (h *hall) asked(n int) {
	h.t.Helper()
	c, err := h.js.Consumer(h.t.Context(), "ORDERS", "sub-s-1")
	require.NoError(h.t, err)
	require.Eventually(h.t, func() bool {
		info, err := c.Info(h.t.Context())
		return err == nil && info.NumWaiting >= n
	}, 10*time.Second, time.Millisecond)
}

func upTo(n int64) []int64 {
	var all []int64
	for p := int64(1); p <= n; p++ {
		all = append(all, p)
	}
	return all
}

// TestDeliveriesOfADeadReaderComeInTheirPlace: the broker would bring them when their time is up, behind all others.
func TestDeliveriesOfADeadReaderComeInTheirPlace(t *testing.T) {
	t.Parallel()
	h, c := openHall(t, 20)
	h.steal(7, func() {})
	heard, err := receive(t, c, 20)
	require.NoError(t, err)
	require.Equal(t, upTo(20), heard)
	require.Equal(t, []int64{0}, h.seeks)
	require.Equal(t, int64(20), h.position)
}

// TestDeliveriesThatAreLostOnTheWayAreNoticed: by the numbers that the consumer gives them.
func TestDeliveriesThatAreLostOnTheWayAreNoticed(t *testing.T) {
	t.Parallel()
	h, c := openHall(t, 3)
	var heard []int64
	for e, err := range c.Subscribe(t.Context(), "s-1") {
		require.NoError(t, err)
		heard = append(heard, e.Position)
		if e.Position == 3 && len(heard) == 3 {
			// The loop's own request waits for a hundred more: it takes them in turn with the thief's.
			h.steal(10, func() {
				h.asked(2)
				h.publish(4, 23)
			})
		}
		if e.Position == 23 {
			require.NoError(t, e.Ack(t.Context()))
			break
		}
	}
	require.Equal(t, upTo(23), heard)
	require.NotEmpty(t, h.seeks, "it had to be put back")
}
