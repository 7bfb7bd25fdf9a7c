package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

// hit is one request that a sink got.
type hit struct {
	id       string
	position int64
	order    string
	delivery string
	attempt  int
	replay   bool
	header   http.Header
	body     map[string]any
	raw      []byte
	answered int
}

// sink is a receiver of webhooks.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	hits   []hit
	answer func(h *hit, w http.ResponseWriter) int
}

// newSink answers 200, or what answer says; one that gives 0 has answered by itself.
func newSink(t testing.TB, answer func(h *hit, w http.ResponseWriter) int) *sink {
	t.Helper()
	s := &sink{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	h := hit{id: r.Header.Get("Webhook-Id"), delivery: r.Header.Get("Orderstore-Delivery"), header: r.Header, raw: raw}
	_ = json.Unmarshal(raw, &h.body)
	h.order, _ = h.body["subject"].(string)
	h.position, _ = strconv.ParseInt(h.id, 10, 64)
	h.attempt, _ = strconv.Atoi(r.Header.Get("Orderstore-Attempt"))
	h.replay = r.Header.Get("Orderstore-Replay") == "true"
	h.answered = http.StatusOK
	if s.answer != nil {
		h.answered = s.answer(&h, w)
	}
	s.mu.Lock()
	s.hits = append(s.hits, h)
	s.mu.Unlock()
	if h.answered != 0 {
		w.WriteHeader(h.answered)
	}
}

func (s *sink) all() []hit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]hit(nil), s.hits...)
}

// delivered are the positions that were answered well, in the order of answers.
func (s *sink) delivered() []int64 {
	var all []int64
	for _, h := range s.all() {
		if h.answered == http.StatusOK {
			all = append(all, h.position)
		}
	}
	return all
}

// firsts are the positions of the first success of each event, in order.
func (s *sink) firsts() []int64 {
	var all []int64
	seen := map[int64]bool{}
	for _, p := range s.delivered() {
		if !seen[p] {
			all = append(all, p)
		}
		seen[p] = true
	}
	return all
}

// deliveries is how many different ones there were.
func (s *sink) deliveries() int {
	seen := map[string]bool{}
	for _, h := range s.all() {
		seen[h.delivery] = true
	}
	return len(seen)
}

// got waits until each of so many events was delivered.
func (s *sink) got(t testing.TB, n int) []int64 {
	t.Helper()
	require.Eventually(t, func() bool { return len(s.firsts()) >= n }, 60*time.Second, 2*time.Millisecond, "%d of %d", len(s.firsts()), n)
	return s.firsts()
}

// event is what a test tells of.
type event struct {
	position int64
	tenant   string
	order    string // empty: of none
	kind     events.Type
	business string
}

// project makes events readable, as a projector would.
func (s *side) project(t testing.TB, all ...event) {
	t.Helper()
	b := &pgx.Batch{}
	var last int64
	for _, one := range all {
		kind := one.kind
		if kind == "" {
			kind = events.OrderRejected
		}
		e := events.New(kind, time.Now(), &events.Closed{})
		if kind == events.TaskOffered {
			e = events.New(kind, time.Now(), &events.Offered{})
		}
		e.Tenant, e.OrderID, e.BusinessType, e.OrderVersion = one.tenant, one.order, one.business, 1
		body, err := e.Encode()
		require.NoError(t, err)
		b.Queue(`INSERT INTO timeline (position, tenant, order_id, event) VALUES ($1, $2, nullif($3, '')::uuid, $4)`, one.position, one.tenant, one.order, body)
		last = one.position
	}
	b.Queue(`UPDATE checkpoints SET position = $1 WHERE view IN ('timeline', 'order_view')`, last)
	require.NoError(t, s.pool.SendBatch(t.Context(), b).Close())
	s.tip.Advance(last)
}

// orders makes events from..to of so many orders of a tenant, in turn.
func orders(from, to int64, tenant string, ids []string) []event {
	var all []event
	for p := from; p <= to; p++ {
		all = append(all, event{position: p, tenant: tenant, order: ids[int(p)%len(ids)]})
	}
	return all
}

func orderIDs(n int) []string {
	var all []string
	for range n {
		all = append(all, uuid.NewString())
	}
	return all
}

// quick is a dispatcher's configuration for tests.
func (h *house) quick() DispatcherConfig {
	return DispatcherConfig{
		Write: h.write, Read: h.pool, Live: h.api.live, Sender: h.sender, Now: h.clock.Now, Logger: discard(),
		Schedule: webhook.Schedule{Delays: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond, time.Millisecond}, Jitter: 0.2},
		Circuit:  webhook.CircuitConfig{OpenFor: 5 * time.Millisecond}, FlushEvery: 5 * time.Millisecond, LookEvery: 10 * time.Millisecond,
		Poll: 2 * time.Millisecond, ReplayAgain: 5 * time.Millisecond, StopWithin: time.Second,
	}
}

// dispatch runs a dispatcher; the returned function stops it in good order.
func (h *house) dispatch(t testing.TB, cfg DispatcherConfig) (*Dispatcher, func()) {
	t.Helper()
	d := NewDispatcher(cfg)
	return d, run(t, d)
}

func run(t testing.TB, w interface {
	Run(ctx context.Context) error
},
) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// hook makes a webhook subscription to a sink from the beginning.
func (h *house) hook(who string, to *sink, more string) subscriptionAnswer {
	h.t.Helper()
	return h.subscribe(who, fmt.Sprintf(`{"transport":"webhook","start":"beginning","url":%q%s}`, to.URL, more))
}

// listening counts the endpoints that run for a tenant.
func (s *side) listening(tenant string) int {
	s.api.live.mu.Lock()
	defer s.api.live.mu.Unlock()
	return len(s.api.live.waiting[party{tenant: tenant}])
}

func (h *house) show(who string, s subscriptionAnswer) subscriptionAnswer {
	h.t.Helper()
	var now subscriptionAnswer
	require.Equal(h.t, http.StatusOK, h.call(who, http.MethodGet, "/v1/subscriptions/"+s.ID.String(), "", &now))
	return now
}

// storeOrder puts an order into the view, as a projector would.
func (h *house) storeOrder(id, document string) {
	h.t.Helper()
	_, err := h.pool.Exec(h.t.Context(), `
INSERT INTO order_view (id, tenant, channel, external_ref, business_type, region, status, fulfillment_status, currency, total, placed_at, updated_at,
	version, position, document)
VALUES ($1::text::uuid, 'demo', 'web', $1, 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', 1, now(), now(), 3, 1, convert_to($2, 'UTF8'))`, id, document)
	require.NoError(h.t, err)
}
