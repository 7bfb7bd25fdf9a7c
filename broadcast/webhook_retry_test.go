package broadcast

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/webhook"
)

// TestEventIsGivenUpAfterItsLastAttempt runs the whole schedule of three days on a held clock.
func TestEventIsGivenUpAfterItsLastAttempt(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(1)
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position == 1 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule()
	h.dispatch(t, cfg)
	s := h.hook("demo", to, "")
	began := h.clock.Now()
	h.project(t, orders(1, 3, "demo", ids)...)
	for attempt := 1; attempt <= 10; attempt++ {
		require.Eventually(t, func() bool { return len(to.all()) >= attempt }, 20*time.Second, time.Millisecond, "attempt %d", attempt)
		require.Len(t, to.all(), attempt)
		require.Equal(t, attempt, to.all()[attempt-1].attempt)
		require.Equal(t, int64(1), to.all()[attempt-1].position, "its order waits for it")
		if attempt == 10 {
			break
		}
		var page struct{ Items []letterAnswer }
		require.Eventually(t, func() bool {
			h.call("demo", http.MethodGet, "/v1/subscriptions/"+s.ID.String()+"/dead-letters", "", &page)
			return len(page.Items) == 3 && page.Items[0].Attempts == attempt
		}, 20*time.Second, 2*time.Millisecond)
		wait := page.Items[0].NextAt.Sub(h.clock.Now())
		most := webhook.DefaultSchedule().Delays[attempt-1]
		require.LessOrEqual(t, wait, most)
		require.GreaterOrEqual(t, wait, most*7/10)
		h.clock.advance(wait - 2*time.Second)
		require.Never(t, func() bool { return len(to.all()) > attempt }, 20*time.Millisecond, 5*time.Millisecond, "not before its time")
		h.clock.advance(3 * time.Second)
	}
	require.LessOrEqual(t, h.clock.Now().Sub(began), 72*time.Hour+time.Minute)
	require.Equal(t, []int64{2, 3}, to.got(t, 2), "the order goes on behind what was given up")
	require.Eventually(t, func() bool { return h.show("demo", s).Health.Parked[stateDead] == 1 }, 20*time.Second, 5*time.Millisecond)
	h.clock.advance(1000 * time.Hour)
	require.Never(t, func() bool { return len(to.all()) > 12 }, 50*time.Millisecond, 5*time.Millisecond)
	require.Equal(t, SubscriptionActive, h.show("demo", s).Status)
}

func TestPartyChoosesHowOftenItIsTried(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(*hit, http.ResponseWriter) int { return http.StatusNotFound })
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, `,"max_attempts":2`)
	h.project(t, orders(1, 1, "demo", orderIDs(1))...)
	require.Eventually(t, func() bool { return h.show("demo", s).Health.Parked[stateDead] == 1 }, 20*time.Second, 5*time.Millisecond)
	require.Len(t, to.all(), 2)
}

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	var back atomic.Bool
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position == 5 && !back.Load() {
			return http.StatusGone
		}
		return http.StatusOK
	})
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, `,"concurrency":1`)
	h.project(t, orders(1, 20, "demo", orderIDs(3))...)
	require.Eventually(t, func() bool { return h.show("demo", s).Status == SubscriptionDisabled }, 20*time.Second, 5*time.Millisecond)
	require.Contains(t, h.show("demo", s).Reason, "410 Gone")
	require.Len(t, to.all(), 5)
	back.Store(true)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/resume", "", nil))
	to.got(t, 20)
	ascending(t, to, 20)
}

// TestThrottledEndpointIsLeftAlone: all of it, for as long as it asks, and nothing is parked or counted as a failure of the event.
func TestThrottledEndpointIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	var busy atomic.Bool
	busy.Store(true)
	to := newSink(t, func(_ *hit, w http.ResponseWriter) int {
		if busy.Load() {
			w.Header().Set("Retry-After", "120")
			return http.StatusTooManyRequests
		}
		return http.StatusOK
	})
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, `,"concurrency":2`)
	h.project(t, orders(1, 20, "demo", orderIDs(10))...)
	require.Eventually(t, func() bool {
		v := h.show("demo", s).Health.ThrottledUntil
		return v != nil && v.After(h.clock.Now().Add(100*time.Second))
	}, 20*time.Second, 5*time.Millisecond)
	seen := len(to.all())
	require.LessOrEqual(t, seen, 2, "those that were under way together")
	h.clock.advance(110 * time.Second)
	require.Never(t, func() bool { return len(to.all()) > seen }, 30*time.Millisecond, 5*time.Millisecond)
	require.Empty(t, h.show("demo", s).Health.Parked)
	busy.Store(false)
	h.clock.advance(15 * time.Second)
	to.got(t, 20)
	ascending(t, to, 20)
}

func TestRedirectIsAFailure(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	elsewhere := newSink(t, nil)
	to := newSink(t, func(_ *hit, w http.ResponseWriter) int {
		w.Header().Set("Location", elsewhere.URL)
		return http.StatusTemporaryRedirect
	})
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, `,"max_attempts":1`)
	h.project(t, orders(1, 1, "demo", orderIDs(1))...)
	require.Eventually(t, func() bool { return h.show("demo", s).Health.Parked[stateDead] == 1 }, 20*time.Second, 5*time.Millisecond)
	require.Empty(t, elsewhere.all())
	require.Contains(t, h.show("demo", s).Health.LastFailure, "redirects are not followed")
}

// TestCircuitKeepsEventsFromAnEndpointThatDoesNotWork: it is tried now and then, what comes is neither sent nor parked, and when it works
// again all goes at once.
func TestCircuitKeepsEventsFromAnEndpointThatDoesNotWork(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	var broken atomic.Bool
	broken.Store(true)
	to := newSink(t, func(*hit, http.ResponseWriter) int {
		if broken.Load() {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule() // the clock stands, so nothing is due again
	h.dispatch(t, cfg)
	s := h.hook("demo", to, `,"concurrency":1`)
	h.project(t, orders(1, 600, "demo", orderIDs(50))...)
	require.Eventually(t, func() bool { return len(to.all()) >= 30 }, 20*time.Second, time.Millisecond, "it is tried now and then")
	var now subscriptionAnswer
	require.Eventually(t, func() bool { now = h.show("demo", s); return now.Health.Circuit != circuitClosed }, 20*time.Second, 5*time.Millisecond)
	require.LessOrEqual(t, now.Health.Parked[stateRetrying]+now.Health.Parked[stateWaiting], int64(circuitFailures+50), "what was taken before is all that is parked")
	require.NotNil(t, now.Health.FailingSince)
	require.Less(t, now.Position, int64(600))
	broken.Store(false)
	to.got(t, 600)
	ascending(t, to, 600)
	require.Eventually(t, func() bool {
		now = h.show("demo", s)
		return now.Position == 600 && now.Health.Circuit == circuitClosed && now.Health.FailingSince == nil && len(now.Health.Parked) == 0
	}, 20*time.Second, 5*time.Millisecond)
}

// TestOrdersThatCannotBeTakenDoNotStopOthers: an endpoint that answers 500 to many orders' events and takes others goes on getting those.
func TestOrdersThatCannotBeTakenDoNotStopOthers(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(40)
	poison := ids[1:21]
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if slices.Contains(poison, one.order) {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule()
	h.dispatch(t, cfg)
	h.hook("demo", to, "")
	h.project(t, orders(1, 400, "demo", ids)...)
	require.Len(t, to.got(t, 200), 200)
	h.clock.advance(time.Minute) // all of them are due again, and fail again
	h.project(t, orders(401, 800, "demo", ids)...)
	require.Len(t, to.got(t, 400), 400)
}

// TestHangingEndpointsLeaveOthersAlone: they hang until the test lets them go, and all others have theirs before.
func TestHangingEndpointsLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	let := make(chan struct{})
	dead := newSink(t, func(*hit, http.ResponseWriter) int { <-let; return http.StatusOK })
	alive := newSink(t, nil)
	h.dispatch(t, h.quick())
	for i := range 30 {
		to := alive
		if i%3 == 0 {
			to = dead
		}
		h.hook("demo", to, `,"timeout":30,"concurrency":64,"name":"n`+strconv.Itoa(i)+`"`)
	}
	h.project(t, orders(1, 50, "demo", orderIDs(50))...)
	require.Eventually(t, func() bool { return alive.deliveries() == 20*50 }, 60*time.Second, 5*time.Millisecond)
	require.Empty(t, dead.all())
	close(let)
	require.Eventually(t, func() bool { return dead.deliveries() == 10*50 }, 60*time.Second, 5*time.Millisecond)
}

// TestHangingEndpointsCannotTakeAllSlots of a node, however many they may have by themselves.
func TestHangingEndpointsCannotTakeAllSlots(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	let := make(chan struct{})
	dead := newSink(t, func(*hit, http.ResponseWriter) int { <-let; return http.StatusOK })
	alive := newSink(t, nil)
	d := NewDispatcher(h.quick())
	d.slots = make(chan struct{}, 40)
	run(t, d)
	for i := range 4 {
		h.hook("demo", dead, `,"timeout":30,"concurrency":64,"name":"n`+strconv.Itoa(i)+`"`)
	}
	h.project(t, orders(1, 100, "demo", orderIDs(100))...)
	require.Eventually(t, func() bool { return len(d.slots) >= 20 }, 20*time.Second, time.Millisecond)
	h.hook("demo", alive, "")
	require.Len(t, alive.got(t, 100), 100)
	require.Empty(t, dead.all())
	close(let)
	require.Eventually(t, func() bool { return dead.deliveries() == 400 }, 60*time.Second, 5*time.Millisecond)
}

// TestDisabledAfterFiveDaysOfFailures, with a notice to its party, and not before.
func TestDisabledAfterFiveDaysOfFailures(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	var works atomic.Bool
	to := newSink(t, func(*hit, http.ResponseWriter) int {
		if works.Load() {
			return http.StatusOK
		}
		return http.StatusBadGateway
	})
	cfg := h.quick()
	cfg.Schedule = webhook.DefaultSchedule()
	h.dispatch(t, cfg)
	s := h.hook("demo", to, "")
	h.project(t, orders(1, 50, "demo", orderIDs(50))...)
	require.Eventually(t, func() bool { return len(to.all()) > 20 }, 20*time.Second, time.Millisecond)
	h.clock.advance(5*24*time.Hour - time.Minute)
	tried := len(to.all())
	require.Eventually(t, func() bool { return len(to.all()) > tried+10 }, 20*time.Second, time.Millisecond)
	require.Equal(t, SubscriptionActive, h.show("demo", s).Status)
	h.clock.advance(2 * time.Minute)
	require.Eventually(t, func() bool { return h.show("demo", s).Status == SubscriptionDisabled }, 20*time.Second, 5*time.Millisecond)
	require.Contains(t, h.show("demo", s).Reason, "502 Bad Gateway")
	var notices int
	require.NoError(t, h.write.QueryRow(t.Context(),
		`SELECT count(*) FROM subscription_notices WHERE subscription_id = $1 AND kind = 'disabled'`, s.ID).Scan(&notices))
	require.Equal(t, 1, notices)

	works.Store(true)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/resume", "", nil))
	to.got(t, 50)
	require.Equal(t, SubscriptionActive, h.show("demo", s).Status)
}

// TestParkedEventsAreBounded: beyond, no more is taken, and the position stays.
func TestParkedEventsAreBounded(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	var works atomic.Bool
	ids := orderIDs(8)
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.order == ids[1] && !works.Load() {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.Schedule, cfg.ParkedMost = webhook.DefaultSchedule(), 10
	h.dispatch(t, cfg)
	s := h.hook("demo", to, "")
	const total = 4 * window
	h.project(t, orders(1, total, "demo", ids)...)
	require.Eventually(t, func() bool { return h.show("demo", s).Health.Parked[stateWaiting] > 9 }, 20*time.Second, 5*time.Millisecond)
	require.Never(t, func() bool { return len(to.all()) > 2*window }, 100*time.Millisecond, 10*time.Millisecond)
	require.Less(t, h.show("demo", s).Position, int64(2*window))
	works.Store(true)
	h.clock.advance(time.Minute)
	to.got(t, total)
	ascending(t, to, total)
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	h.dispatch(t, h.quick())
	h.hook("demo", to, `,"rate":100`)
	h.project(t, orders(1, 40, "demo", orderIDs(40))...)
	began := time.Now()
	to.got(t, 40)
	require.GreaterOrEqual(t, time.Since(began), 250*time.Millisecond, "forty at a hundred a second, ten of them at once")
}
