package broadcast

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReplays of each kind: a dry run counts and changes nothing, what is sent is marked and comes in order.
func TestReplays(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(5)
	var works atomic.Bool
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position == 10 && !works.Load() {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	h.dispatch(t, h.quick())
	s := h.subscribe("demo", fmt.Sprintf(`{"transport":"webhook","start":"beginning","url":%q,"business_types":["hotel"],"max_attempts":1}`, to.URL))
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	h.log(1, 60, noon)
	all := orders(1, 60, "demo", ids)
	for i := range all {
		if all[i].business = "hotel"; i == 59 {
			all[i].business = "retail"
		}
	}
	h.project(t, all...)
	to.got(t, 58)
	path := "/v1/subscriptions/" + s.ID.String()
	require.Eventually(t, func() bool {
		now := h.show("demo", s)
		return now.Position == 60 && now.Health.Parked[stateDead] == 1
	}, 20*time.Second, 5*time.Millisecond)
	works.Store(true)
	for _, c := range []struct {
		body string
		want []int64
	}{
		{`"position":7`, []int64{7}},
		{`"position":60`, nil},
		{`"position":61`, nil},
		{`"order_id":"` + ids[2] + `"`, []int64{2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57}},
		{`"order_id":"` + orderIDs(1)[0] + `"`, nil},
		{`"from_position":4,"to_position":6`, []int64{4, 5, 6}},
		{`"from_position":58,"to_position":1000`, []int64{58, 59}},
		{`"from_time":"2026-03-04T12:00:20Z","to_time":"2026-03-04T12:00:23Z"`, []int64{21, 22, 23}},
		{`"dead_letters":true`, []int64{10}},
		{`"dead_letters":true`, nil},
	} {
		before := len(to.all())
		var got struct {
			Matched int
			DryRun  bool `json:"dry_run"`
		}
		require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/replay", `{`+c.body+`,"dry_run":true}`, &got), c.body)
		require.Len(t, c.want, got.Matched, c.body)
		require.True(t, got.DryRun)
		require.Len(t, to.all(), before)
		require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/replay", `{`+c.body+`}`, &got), c.body)
		require.Len(t, c.want, got.Matched)
		require.Eventually(t, func() bool { return len(to.all()) >= before+len(c.want) }, 20*time.Second, 2*time.Millisecond, c.body)
		require.Eventually(t, func() bool {
			return len(h.show("demo", s).Health.Parked) == 0 || c.want == nil || c.want[0] != 10 && h.show("demo", s).Health.Parked[stateReplay] == 0
		},
			20*time.Second, 2*time.Millisecond, c.body)
		sent := to.all()[before:]
		require.Len(t, sent, len(c.want), c.body)
		last := map[string]int64{}
		for _, one := range sent {
			require.Contains(t, c.want, one.position)
			require.Greater(t, one.position, last[one.order])
			last[one.order] = one.position
			require.True(t, one.replay, "the header says so")
			require.Equal(t, true, one.body["replay"], "and the event")
			require.Equal(t, deliveryID(s.ID, one.position).String(), one.delivery)
			verify(t, one, s.Secret, true)
		}
	}
	require.Empty(t, h.show("demo", s).Health.Parked)
	for _, bad := range []string{
		`{}`, `{"position":1,"order_id":"x"}`, `{"dead_letters":false}`, `{"from_position":1}`, `{"to_time":"2026-03-04T12:00:20Z"}`, `{"order_id":"x"}`,
	} {
		require.Equal(t, http.StatusUnprocessableEntity, h.call("demo", http.MethodPost, path+"/replay", bad, nil), bad)
	}
}

// TestReplayThatFails is tried again before later ones of its order, and is a dead letter at the end, while live events go on.
func TestReplayThatFails(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(12)
	var broken atomic.Bool
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.replay && one.position == 4 && broken.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	cfg := h.quick()
	h.dispatch(t, cfg)
	s := h.hook("demo", to, `,"max_attempts":3`)
	h.project(t, orders(1, 500, "demo", ids)...)
	to.got(t, 500)
	require.Eventually(t, func() bool { return h.show("demo", s).Position == 500 }, 20*time.Second, 5*time.Millisecond)
	broken.Store(true)
	path := "/v1/subscriptions/" + s.ID.String()
	before := len(to.all())
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/replay", `{"from_position":1,"to_position":450}`, nil))
	require.Eventually(t, func() bool {
		parked := h.show("demo", s).Health.Parked
		return parked[stateReplay] == 0 && parked[stateDead] == 1
	}, 60*time.Second, 5*time.Millisecond)
	last := map[string]int64{}
	seen := map[int64]int{}
	for _, one := range to.all()[before:] {
		require.GreaterOrEqual(t, one.position, last[one.order])
		last[one.order] = one.position
		seen[one.position]++
	}
	require.Len(t, seen, 450)
	for position, times := range seen {
		want := 1
		if position == 4 {
			want = 3
		}
		require.Equal(t, want, times, position)
	}
	var page struct{ Items []letterAnswer }
	require.Equal(t, http.StatusOK, h.call("ops", http.MethodGet, "/v1/admin/dead-letters?tenant=demo", "", &page))
	require.Len(t, page.Items, 1)
	require.Equal(t, int64(4), page.Items[0].Position)
	require.Equal(t, "demo", page.Items[0].Party.Tenant)
	require.Equal(t, stateDead, page.Items[0].State)
	require.Equal(t, "500 Internal Server Error", page.Items[0].Reason)
	require.Equal(t, http.StatusOK, h.call("ops", http.MethodGet, "/v1/admin/dead-letters?tenant=shop", "", &page))
	require.Empty(t, page.Items)
	require.Equal(t, http.StatusBadRequest, h.call("ops", http.MethodGet, "/v1/admin/dead-letters?colour=red", "", nil))
}

func TestDeadLettersArePaged(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(*hit, http.ResponseWriter) int { return http.StatusBadRequest })
	cfg := h.quick()
	cfg.Circuit.Failures = 1000
	h.dispatch(t, cfg)
	for i := range 2 {
		h.hook("demo", to, `,"max_attempts":1,"name":"n`+strconv.Itoa(i)+`"`)
	}
	h.project(t, orders(1, 25, "demo", orderIDs(25))...)
	read := func() map[string]bool {
		seen := map[string]bool{}
		for cursor := ""; ; {
			var page struct {
				Items []letterAnswer
				Next  string
			}
			require.Equal(t, http.StatusOK, h.call("ops", http.MethodGet, "/v1/admin/dead-letters?limit=7&state=dead&cursor="+url.QueryEscape(cursor), "", &page))
			for _, one := range page.Items {
				key := one.Subscription + " " + strconv.FormatInt(one.Position, 10)
				require.False(t, seen[key])
				seen[key] = true
			}
			if cursor = page.Next; cursor == "" {
				return seen
			}
		}
	}
	require.Eventually(t, func() bool { return len(read()) == 50 }, 20*time.Second, 10*time.Millisecond)
}
