package broadcast

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
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
			verify(t, to.all()[0], old, true)
			verify(t, to.all()[0], new, false)
			next := int64(4)
			require.Eventually(t, func() bool { // whoever delivers hears of it a little later
				next++
				h.project(t, orders(next, next, "demo", ids)...)
				to.got(t, int(next))
				return len(strings.Fields(to.all()[next-1].header.Get("Webhook-Signature"))) == 2
			}, 20*time.Second, 5*time.Millisecond)
			last := to.all()[next-1]
			verify(t, last, old, true)
			verify(t, last, new, true)
			h.clock.advance(2 * time.Hour)
			h.project(t, orders(next+1, next+1, "demo", ids)...)
			to.got(t, int(next)+1)
			last = to.all()[next]
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
