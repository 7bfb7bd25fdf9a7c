package broadcast

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

func TestWebhookDeliversInOrder(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	ids := orderIDs(7)
	h.project(t, orders(1, 300, "demo", ids)...)
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	require.Len(t, to.got(t, 300), 300)
	h.project(t, orders(301, 900, "demo", ids)...) // by the live way
	to.got(t, 900)
	last := map[string]int64{}
	for _, one := range to.all() {
		require.Greater(t, one.position, last[one.order], "an order's events go one after the other, each once")
		last[one.order] = one.position
		require.Equal(t, 1, one.attempt)
		require.Equal(t, one.id, one.body["id"])
		require.Equal(t, "application/cloudevents+json", one.header.Get("Content-Type"))
		require.Equal(t, deliveryID(s.ID, one.position).String(), one.delivery)
	}
	require.Eventually(t, func() bool { return h.show("demo", s).Position == 900 }, 20*time.Second, 5*time.Millisecond)
}

// ascending checks that each order's first successes come in the order of positions, and that nothing is missing.
func ascending(t require.TestingT, to *sink, total int64) {
	first := map[int64]string{}
	last := map[string]int64{}
	ids := map[int64]string{}
	for _, one := range to.all() {
		if known, seen := ids[one.position]; seen {
			require.Equal(t, known, one.delivery, "a duplicate is recognisable")
		}
		ids[one.position] = one.delivery
		if _, seen := first[one.position]; seen || one.answered != http.StatusOK {
			continue
		}
		first[one.position] = one.order
		require.Greater(t, one.position, last[one.order], "order %s", one.order)
		last[one.order] = one.position
	}
	require.Len(t, first, int(total))
}

// TestWebhookUnderRandomFailures: whatever an endpoint answers, each event is delivered, each order's in order.
func TestWebhookUnderRandomFailures(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	cfg := h.quick()
	cfg.Schedule.Delays = slices.Repeat([]time.Duration{time.Millisecond}, 200)
	h.dispatch(t, cfg)
	next := int64(1)
	rapid.Check(t, func(rt *rapid.T) {
		bad := rapid.SampledFrom([]int{0, 10, 40, 80}).Draw(rt, "bad")
		answers := rapid.SliceOfNDistinct(rapid.SampledFrom([]int{500, 400, 302, 429, 503, 0}), 1, 4, rapid.ID).Draw(rt, "answers")
		lanes := rapid.IntRange(1, 12).Draw(rt, "orders")
		total := int64(rapid.IntRange(10, 40).Draw(rt, "events"))
		concurrency := rapid.SampledFrom([]string{"1", "4", "64"}).Draw(rt, "concurrency")
		to := newSink(t, func(_ *hit, w http.ResponseWriter) int {
			if rand.IntN(100) >= bad {
				return http.StatusOK
			}
			answer := answers[rand.IntN(len(answers))]
			if answer == 0 {
				hang(w)
				return 0
			}
			if answer == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "0")
			}
			return answer
		})
		defer to.Close()
		from := next
		next += total
		s := h.subscribe("demo", `{"transport":"webhook","url":"`+to.URL+`","concurrency":`+concurrency+`,"after":`+strconv.FormatInt(from-1, 10)+`}`)
		h.project(t, orders(from, next-1, "demo", orderIDs(lanes))...)
		stop := h.hurry()
		to.got(t, int(total))
		stop()
		ascending(rt, to, total)
		require.Equal(rt, http.StatusNoContent, h.call("demo", http.MethodDelete, "/v1/subscriptions/"+s.ID.String(), "", nil))
	})
}

// hang cuts the connection without an answer.
func hang(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// hurry moves the clock forward all the time, so that pauses are over at once.
func (h *house) hurry() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.clock.advance(2 * time.Second)
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

func TestOnlyTheFailingOrderParks(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(5)
	var mended sync.Map
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if _, ok := mended.Load(true); !ok && one.order == ids[3] {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule()
	h.dispatch(t, cfg)
	s := h.hook("demo", to, "")
	h.project(t, orders(1, 100, "demo", ids)...)
	require.Len(t, to.got(t, 80), 80)
	require.Eventually(t, func() bool {
		now := h.show("demo", s)
		return now.Position == 100 && now.Health.Parked[stateRetrying] == 1 && now.Health.Parked[stateWaiting] == 19
	}, 20*time.Second, 5*time.Millisecond, "what is parked does not keep the position back")
	var page struct{ Items []letterAnswer }
	path := "/v1/subscriptions/" + s.ID.String() + "/dead-letters"
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path+"?order_id="+ids[3], "", &page))
	require.Len(t, page.Items, 20)
	require.Equal(t, int64(3), page.Items[0].Position)
	require.Equal(t, stateRetrying, page.Items[0].State)
	require.Equal(t, 1, page.Items[0].Attempts)
	require.Equal(t, "500 Internal Server Error", page.Items[0].Reason)
	require.WithinDuration(t, h.clock.Now().Add(5*time.Second), *page.Items[0].NextAt, 5*time.Second)
	require.Equal(t, stateWaiting, page.Items[1].State)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path+"?order_id="+ids[2], "", &page))
	require.Empty(t, page.Items)

	mended.Store(true, true)
	h.clock.advance(time.Minute)
	require.Len(t, to.got(t, 100), 100)
	ascending(t, to, 100)
	require.Eventually(t, func() bool { return len(h.show("demo", s).Health.Parked) == 0 }, 20*time.Second, 5*time.Millisecond)
}

// TestParkedEventsOutliveTheDispatcher: they are tried again by the next one, and what comes after them waits.
func TestParkedEventsOutliveTheDispatcher(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(3)
	var mended sync.Map
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if _, ok := mended.Load(true); !ok && one.order == ids[0] {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule()
	_, stop := h.dispatch(t, cfg)
	s := h.hook("demo", to, "")
	h.project(t, orders(1, 30, "demo", ids)...)
	to.got(t, 20)
	require.Eventually(t, func() bool { return h.show("demo", s).Position == 30 }, 20*time.Second, 5*time.Millisecond)
	stop()
	h.dispatch(t, cfg)
	h.project(t, orders(31, 60, "demo", ids)...)
	to.got(t, 40)
	mended.Store(true, true)
	h.clock.advance(time.Minute)
	to.got(t, 60)
	ascending(t, to, 60)
	require.Len(t, to.delivered(), 60, "a dispatcher that stops in good order sends nothing twice")
}

func TestWebhookHearsWhatItsPartyMayAndWants(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	h.dispatch(t, h.quick())
	h.hook("demo", to, `,"types":["task.*"],"business_types":["hotel"]`)
	id := orderIDs(1)[0]
	h.project(
		t,
		event{position: 1, tenant: "demo", order: id, kind: events.TaskOffered, business: "hotel"},
		event{position: 2, tenant: "demo", order: id, kind: events.OrderRejected, business: "hotel"},
		event{position: 3, tenant: "demo", order: id, kind: events.TaskOffered, business: "retail"},
		event{position: 4, tenant: "shop", order: orderIDs(1)[0], kind: events.TaskOffered, business: "hotel"},
		event{position: 5, tenant: "demo", order: id, kind: events.TaskOffered, business: "hotel"},
	)
	require.Equal(t, []int64{1, 5}, to.got(t, 2))
	require.Len(t, to.all(), 2)
}

func TestPausedWebhookGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	ids := orderIDs(3)
	h.project(t, orders(1, 10, "demo", ids)...)
	to.got(t, 10)
	path := "/v1/subscriptions/" + s.ID.String()
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/pause", "", nil))
	require.Eventually(t, func() bool { return h.listening("demo") == 0 }, 20*time.Second, time.Millisecond)
	other := newSink(t, nil)
	h.hook("demo", other, "")
	h.project(t, orders(11, 40, "demo", ids)...)
	other.got(t, 40)
	require.Len(t, to.all(), 10)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/resume", "", nil))
	to.got(t, 40)
	require.Len(t, to.delivered(), 40)
}

// TestSeekWinsOverWhatIsUnderWay: a position that its party set is not overwritten by what was delivered before.
func TestSeekWinsOverWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	h.project(t, orders(1, 50, "demo", orderIDs(5))...)
	to.got(t, 50)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/seek", `{"after":20}`, nil))
	require.Eventually(t, func() bool { return len(to.delivered()) == 80 }, 20*time.Second, 2*time.Millisecond)
	require.Eventually(t, func() bool { return h.show("demo", s).Position == 50 }, 20*time.Second, 5*time.Millisecond)
}

func TestWebhookCarriesTheOrder(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	h.dispatch(t, h.quick())
	id := orderIDs(1)[0]
	h.storeOrder(id, `{"id":"`+id+`","version":3}`)
	h.hook("demo", to, `,"include":"order"`)
	h.project(t, event{position: 1, tenant: "demo", order: id}, event{position: 2, tenant: "demo", order: id})
	to.got(t, 2)
	for _, one := range to.all() {
		data, err := json.Marshal(one.body["data"])
		require.NoError(t, err)
		require.JSONEq(t, `{"id":"`+id+`","version":3}`, string(data))
	}
}
