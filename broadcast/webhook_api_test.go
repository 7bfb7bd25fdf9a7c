package broadcast

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

func TestWebhookSettingsAreRead(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	s := h.subscribe("demo", `{"transport":"webhook","url":"http://127.0.0.1:9/x","algorithm":"ed25519","concurrency":4,"rate":2.5,"timeout":"15s","max_attempts":3}`)
	require.Equal(t, "http://127.0.0.1:9/x", s.URL)
	require.Equal(t, 4, s.Concurrency)
	require.InDelta(t, 2.5, s.Rate, 0)
	require.Equal(t, int64(15), s.Timeout)
	require.Equal(t, int64(3), s.MaxAttempts)
	require.Empty(t, s.Secret)
	require.True(t, strings.HasPrefix(s.PublicKey, "whpk_"))
	require.Equal(t, s.PublicKey, s.Keys[0].PublicKey)

	var now subscriptionAnswer
	path := "/v1/subscriptions/" + s.ID.String()
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPatch, path, `{"rate":null,"timeout":20,"url":"http://127.0.0.1:9/y"}`, &now))
	require.Equal(t, "http://127.0.0.1:9/y", now.URL)
	require.Zero(t, now.Rate)
	require.Equal(t, int64(20), now.Timeout)
	require.Equal(t, 4, now.Concurrency)

	hm := h.subscribe("demo", `{"transport":"webhook","url":"http://127.0.0.1:9/"}`)
	require.True(t, strings.HasPrefix(hm.Secret, "whsec_"))
	again := h.show("demo", hm)
	require.Empty(t, again.Secret, "it is shown once")
	require.Empty(t, again.Keys[0].PublicKey)
	require.Equal(t, defaultConcurrency, again.Concurrency)
	require.Equal(t, int64(defaultTimeout), again.Timeout)
}

func TestWebhookThatIsWrongIsRefused(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	for body, pointer := range map[string]string{
		`{"transport":"webhook"}`:                                                            "/url",
		`{"transport":"webhook","url":""}`:                                                   "/url",
		`{"transport":"webhook","url":"http://10.0.0.1/"}`:                                   "/url",
		`{"transport":"webhook","url":"https://10.0.0.1/"}`:                                  "/url",
		`{"transport":"webhook","url":"https://169.254.169.254/latest"}`:                     "/url",
		`{"transport":"webhook","url":"https://[::ffff:10.0.0.1]/"}`:                         "/url",
		`{"transport":"webhook","url":"ftp://127.0.0.1/"}`:                                   "/url",
		`{"transport":"webhook","url":"http://user:secret@127.0.0.1/"}`:                      "/url",
		`{"transport":"webhook","url":"http://127.0.0.1/","algorithm":"md5"}`:                "/algorithm",
		`{"transport":"webhook","url":"http://127.0.0.1/","concurrency":65}`:                 "/concurrency",
		`{"transport":"webhook","url":"http://127.0.0.1/","concurrency":0}`:                  "/concurrency",
		`{"transport":"webhook","url":"http://127.0.0.1/","rate":0}`:                         "/rate",
		`{"transport":"webhook","url":"http://127.0.0.1/","timeout":31}`:                     "/timeout",
		`{"transport":"webhook","url":"http://127.0.0.1/","timeout":"1500ms"}`:               "/timeout",
		`{"transport":"webhook","url":"http://127.0.0.1/","max_attempts":21}`:                "/max_attempts",
		`{"transport":"feed","url":"http://127.0.0.1/"}`:                                     "/url",
		`{"transport":"sse","concurrency":3}`:                                                "/concurrency",
		`{"transport":"webhook","url":"http://127.0.0.1/","secret":"whsec_mine"}`:            "",
		`{"transport":"webhook","url":"http://127.0.0.1/` + strings.Repeat("a", 2100) + `"}`: "/url",
		`{"transport":"webhook","url":"http://127.0.0.1/","start":"beginning","after":3}`:    "",
	} {
		var p problem
		status := h.call("demo", http.MethodPost, "/v1/subscriptions", body, &p)
		if strings.Contains(body, "whsec_mine") {
			require.Equal(t, http.StatusBadRequest, status, body)
			continue
		}
		require.Equal(t, http.StatusUnprocessableEntity, status, body)
		require.Equal(t, pointer, p.Errors[0].Pointer, body)
	}
	s := h.subscribe("demo", `{"transport":"webhook","url":"http://127.0.0.1:9/"}`)
	var p problem
	for _, body := range []string{`{"url":"https://10.1.2.3/"}`, `{"algorithm":"ed25519"}`} {
		require.Equal(t, http.StatusUnprocessableEntity, h.call("demo", http.MethodPatch, "/v1/subscriptions/"+s.ID.String(), body, &p), body)
	}
	feed := h.subscribe("demo", `{"transport":"feed"}`)
	for _, path := range []string{"test", "rotate-secret", "replay"} {
		require.Equal(t, http.StatusConflict, h.call("demo", http.MethodPost, "/v1/subscriptions/"+feed.ID.String()+"/"+path, `{}`, nil), path)
	}
}

func TestWebhookOfAnotherPartyIsNotThere(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	s := h.subscribe("demo", `{"transport":"webhook","url":"http://127.0.0.1:9/"}`)
	path := "/v1/subscriptions/" + s.ID.String()
	for _, other := range []string{"shop", "acme", "erp"} {
		for _, c := range []struct{ method, path, body string }{
			{http.MethodPost, "/test", ""},
			{http.MethodPost, "/rotate-secret", `{}`},
			{http.MethodPost, "/replay", `{"dead_letters":true}`},
			{http.MethodGet, "/deliveries", ""},
			{http.MethodGet, "/dead-letters", ""},
		} {
			require.Equal(t, http.StatusNotFound, h.call(other, c.method, path+c.path, c.body, nil), "%s %s", other, c.path)
		}
	}
	require.Equal(t, http.StatusForbidden, h.call("demo", http.MethodGet, "/v1/admin/dead-letters", "", nil))
}

// TestSecretsRotate: both sign while both are live, and the old one no more when its time is over.
func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"hmac-sha256", "ed25519"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			h := openHouse(t)
			to := newSink(t, nil)
			h.dispatch(t, h.quick())
			s := h.hook("demo", to, `,"algorithm":"`+algorithm+`"`)
			ids := orderIDs(2)
			h.project(t, orders(1, 4, "demo", ids)...)
			to.got(t, 4)
			var rotated subscriptionAnswer
			path := "/v1/subscriptions/" + s.ID.String() + "/rotate-secret"
			require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path, `{"overlap":"1h"}`, &rotated))
			require.Len(t, rotated.Keys, 2)
			require.Nil(t, rotated.Keys[0].ExpiresAt)
			require.WithinDuration(t, h.clock.Now().Add(time.Hour), *rotated.Keys[1].ExpiresAt, time.Minute)
			old, new := s.Secret+s.PublicKey, rotated.Secret+rotated.PublicKey
			require.NotEqual(t, old, new)
			require.Eventually(t, func() bool { return ping(h, s) && signatures(to) == 2 }, 20*time.Second, 5*time.Millisecond)
			h.project(t, orders(5, 8, "demo", ids)...)
			to.got(t, 8)
			verify(t, to.all()[0], old, true)
			verify(t, to.all()[0], new, false)
			last := to.all()[len(to.all())-1]
			verify(t, last, old, true)
			verify(t, last, new, true)
			h.clock.advance(2 * time.Hour)
			h.project(t, orders(9, 12, "demo", ids)...)
			to.got(t, 12)
			last = to.all()[len(to.all())-1]
			require.Len(t, strings.Fields(last.header.Get("Webhook-Signature")), 1)
			require.Len(t, h.show("demo", s).Keys, 1)
			for range mostSecrets - 1 {
				require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path, "", nil))
			}
			require.Equal(t, http.StatusConflict, h.call("demo", http.MethodPost, path, "", nil))
			require.Equal(t, http.StatusUnprocessableEntity, h.call("demo", http.MethodPost, path, `{"overlap":"200h"}`, nil))
		})
	}
}

func ping(h *house, s subscriptionAnswer) bool {
	return h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/test", "", nil) == http.StatusOK
}

// signatures is how many the newest request had.
func signatures(to *sink) int {
	all := to.all()
	return len(strings.Fields(all[len(all)-1].header.Get("Webhook-Signature")))
}

// verify checks a request as a receiver does, with a library for one of the algorithms.
func verify(t *testing.T, one hit, secret string, good bool) {
	t.Helper()
	if text, ok := strings.CutPrefix(secret, "whpk_"); ok {
		public, err := base64.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		require.Equal(t, good, signedBy(t, one, public))
		return
	}
	v, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	err = v.VerifyIgnoringTimestamp(one.raw, one.header)
	require.Equal(t, good, err == nil, "%v", err)
}

func signedBy(t *testing.T, one hit, public ed25519.PublicKey) bool {
	t.Helper()
	signed := one.id + "." + one.header.Get("Webhook-Timestamp") + "." + string(one.raw)
	for _, text := range strings.Fields(one.header.Get("Webhook-Signature")) {
		signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "v1a,"))
		require.NoError(t, err)
		if ed25519.Verify(public, []byte(signed), signature) {
			return true
		}
	}
	return false
}

func TestPing(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(_ *hit, w http.ResponseWriter) int {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(bytes.Repeat([]byte("x"), 10_000))
		return 0
	})
	s := h.hook("demo", to, "")
	path := "/v1/subscriptions/" + s.ID.String()
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/pause", "", nil))
	var got outcomeAnswer
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/test", "", &got))
	require.Equal(t, "rejected", string(got.Outcome))
	require.Equal(t, http.StatusTeapot, got.Status)
	require.Len(t, got.Answer, 4096)
	require.Len(t, to.all(), 1)
	one := to.all()[0]
	require.True(t, strings.HasPrefix(one.id, "test-"))
	require.Equal(t, "subscription.test", one.body["type"])
	verify(t, one, s.Secret, true)
	var page struct{ Items []attemptAnswer }
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path+"/deliveries", "", &page))
	require.Len(t, page.Items, 1)
	require.Equal(t, "subscription.test", page.Items[0].Type)
	require.Len(t, page.Items[0].Answer, 4096)

	// An address that has become a refused one since it was checked.
	_, err := h.write.Exec(t.Context(), `UPDATE subscriptions SET settings = jsonb_set(settings, '{url}', '"https://10.0.0.1/"') WHERE id = $1`, s.ID)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/test", "", &got))
	require.Equal(t, "blocked", string(got.Outcome))
}

func TestAttemptsAreSearched(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	ids := orderIDs(4)
	to := newSink(t, func(one *hit, w http.ResponseWriter) int {
		if one.position == 6 && one.attempt == 1 {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("a proxy says no"))
			return 0
		}
		return http.StatusOK
	})
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	began := h.clock.Now()
	h.project(t, orders(1, 20, "demo", ids)...)
	to.got(t, 19)
	find := func(query string) []attemptAnswer {
		var all []attemptAnswer
		for cursor := ""; ; {
			var page struct {
				Items []attemptAnswer
				Next  string
			}
			path := "/v1/subscriptions/" + s.ID.String() + "/deliveries?limit=6&" + query
			if cursor != "" {
				path += "&cursor=" + url.QueryEscape(cursor)
			}
			require.Equal(t, http.StatusOK, h.call("demo", http.MethodGet, path, "", &page), path)
			all = append(all, page.Items...)
			if cursor = page.Next; cursor == "" {
				return all
			}
		}
	}
	require.Eventually(t, func() bool { return len(find("")) == 21 }, 20*time.Second, 5*time.Millisecond)
	all := find("")
	for i := 1; i < len(all); i++ {
		require.Less(t, all[i].ID.String(), all[i-1].ID.String(), "newest first, none twice")
	}
	failed := find("outcome=failed")
	require.Len(t, failed, 1)
	require.Equal(t, int64(6), failed[0].Position)
	require.Equal(t, "a proxy says no", failed[0].Answer)
	require.Equal(t, http.StatusBadGateway, failed[0].Status)
	require.Positive(t, failed[0].LatencyMS)
	require.Equal(t, ids[2], failed[0].OrderID)
	require.Len(t, find("outcome=delivered"), 20)
	of6 := find("position=6")
	require.Len(t, of6, 2)
	require.Equal(t, 2, of6[0].Attempt)
	require.Equal(t, of6[0].DeliveryID, of6[1].DeliveryID)
	require.Len(t, find("order_id="+ids[1]), 5)
	require.Len(t, find("status=200&order_id="+ids[2]), 5)
	require.Len(t, find("from="+url.QueryEscape(began.Add(-time.Second).UTC().Format(time.RFC3339))), 21)
	require.Empty(t, find("to="+url.QueryEscape(began.Add(-time.Second).UTC().Format(time.RFC3339))))
	for _, bad := range []string{"outcome=fine", "status=x", "position=-1", "order_id=7", "from=then", "colour=red", "cursor=abc"} {
		require.Equal(t, http.StatusBadRequest, h.call("demo", http.MethodGet, "/v1/subscriptions/"+s.ID.String()+"/deliveries?"+bad, "", nil), bad)
	}
}

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
