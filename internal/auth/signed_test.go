package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// signedCall is a request that a test signs and may change afterwards.
type signedCall struct {
	method, target, body string
	header               http.Header
	at                   time.Time
	nonce                string
	chunked              bool
}

func (h *house) call(nonce string) *signedCall {
	return &signedCall{
		method: http.MethodPost, target: "/v1/things/a%2Fb?x=1&y=%20", body: `{"a":1}`, at: h.clock.Now(), nonce: nonce + "-0123456789abcdef",
		header: http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k1"}, "If-Match": {`"3"`}, "Order-Position": {"7"}},
	}
}

// sign is written from the documentation, not with the code under test.
func (s *signedCall) sign(key auth.RequestKey) *signedCall {
	path, query, _ := strings.Cut(s.target, "?")
	sum := sha256.Sum256([]byte(s.body))
	stamp := strconv.FormatInt(s.at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Secret))
	_, _ = io.WriteString(mac, "order-signature-v1\n"+s.method+"\n"+path+"\n"+query+"\n"+stamp+"\n"+s.nonce+"\n"+s.header.Get("Content-Type")+"\n"+
		hex.EncodeToString(sum[:])+"\n"+s.header.Get("Idempotency-Key")+"\n"+s.header.Get("If-Match")+"\n"+s.header.Get("Order-Position"))
	s.header.Set("Order-Signature", fmt.Sprintf(`keyid="%s", timestamp="%s", nonce="%s", signature="%s"`,
		key.KeyID, stamp, s.nonce, base64.StdEncoding.EncodeToString(mac.Sum(nil))))
	return s
}

// node is the routes behind an authenticator of its own, on the same primary.
func (h *house) node() *echo.Echo {
	h.t.Helper()
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(h.t, err)
	tell := func(c echo.Context, who auth.Identity) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		return c.String(http.StatusOK, who.ClientID+" "+who.Tenant+" "+strings.Join(who.Scopes, ",")+" "+string(body))
	}
	var routes []httpapi.Route
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		routes = append(routes, httpapi.Route{Method: method, Path: "/v1/things/:id", Scope: auth.ScopeOrdersWrite, Handler: tell})
	}
	httpapi.Mount(e, h.newAuthenticator(), append(routes,
		httpapi.Route{Method: http.MethodPost, Path: "/v1/stream", Scope: auth.ScopeOrdersWrite, MaxBody: httpapi.NoLimit, Class: httpapi.ClassBatch, Handler: tell},
		httpapi.Route{Method: http.MethodPost, Path: "/v1/admin/things", Scope: auth.ScopeAdmin, Handler: tell},
	))
	return e
}

func (h *house) deliver(node *echo.Echo, s *signedCall) *httptest.ResponseRecorder {
	h.t.Helper()
	req := httptest.NewRequestWithContext(h.t.Context(), s.method, s.target, strings.NewReader(s.body))
	if s.chunked {
		req.ContentLength = -1
	}
	req.Header = s.header
	rec := httptest.NewRecorder()
	node.ServeHTTP(rec, req)
	return rec
}

func (h *house) requestKey(clientID string) auth.RequestKey {
	h.t.Helper()
	key, err := h.store.CreateRequestKey(h.t.Context(), clientID)
	require.NoError(h.t, err)
	return key
}

// TestCase18Timestamp: 300 seconds to either side, and no more.
func TestCase18Timestamp(t *testing.T) {
	t.Parallel()
	h := setup(t)
	node, key := h.node(), h.requestKey(h.user().ClientID)
	for off, status := range map[int]int{-301: 401, -300: 200, 300: 200, 301: 401} {
		c := h.call(fmt.Sprint("at", off))
		c.at = c.at.Add(time.Duration(off) * time.Second)
		require.Equal(t, status, h.deliver(node, c.sign(key)).Code, "%d s", off)
	}
}

// TestCase19Nonce: once for each key, at whichever node, and remembered until the request is too old.
func TestCase19Nonce(t *testing.T) {
	t.Parallel()
	h := setup(t)
	client := h.user()
	one, other := h.node(), h.node()
	key, second := h.requestKey(client.ClientID), h.requestKey(client.ClientID)
	ahead := h.call("n1")
	ahead.at = ahead.at.Add(5 * time.Minute)
	ahead.sign(key)
	require.Equal(t, http.StatusOK, h.deliver(one, ahead).Code)
	for _, node := range []*echo.Echo{one, other} {
		rec := h.deliver(node, ahead)
		require.Equal(t, http.StatusUnauthorized, rec.Code)
		require.Contains(t, rec.Body.String(), "nonce was used before")
		require.Contains(t, rec.Header().Get("WWW-Authenticate"), "Bearer")
	}
	require.Equal(t, http.StatusOK, h.deliver(one, h.call("n1").sign(second)).Code, "another key has nonces of its own")
	h.clock.Advance(10 * time.Minute)
	require.NoError(t, h.authn.ForgetNonces(t.Context()))
	require.Equal(t, http.StatusUnauthorized, h.deliver(other, ahead).Code, "the last second in which its timestamp is taken")
	h.clock.Advance(5*time.Minute + time.Second)
	require.NoError(t, h.authn.ForgetNonces(t.Context()))
	require.Equal(t, http.StatusUnauthorized, h.deliver(other, ahead).Code, "too old")
	var kept int
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT count(*) FROM request_nonces`).Scan(&kept))
	require.Zero(t, kept)
}

// TestCase20Changed: whatever is changed after it was signed.
func TestCase20Changed(t *testing.T) {
	t.Parallel()
	h := setup(t)
	client := h.user()
	node, key := h.node(), h.requestKey(client.ClientID)
	for _, chunked := range []bool{false, true} {
		good := h.call(fmt.Sprint("good", chunked)).sign(key)
		good.chunked = chunked
		rec := h.deliver(node, good)
		require.Equal(t, client.ClientID+" demo "+strings.Join(client.Scopes, ",")+` {"a":1}`, rec.Body.String(), "what a token gives, and the whole body")
	}
	n := 0
	for what, change := range map[string]func(*signedCall){
		"body":            func(c *signedCall) { c.body = `{"a":2}` },
		"no body":         func(c *signedCall) { c.body = "" },
		"path":            func(c *signedCall) { c.target = "/v1/things/a%2Fc?x=1&y=%20" },
		"path unescaped":  func(c *signedCall) { c.target = "/v1/things/a%2fb?x=1&y=%20" },
		"query":           func(c *signedCall) { c.target = "/v1/things/a%2Fb?x=2&y=%20" },
		"query order":     func(c *signedCall) { c.target = "/v1/things/a%2Fb?y=%20&x=1" },
		"method":          func(c *signedCall) { c.method = http.MethodPut },
		"content type":    func(c *signedCall) { c.header.Set("Content-Type", "text/plain") },
		"idempotency key": func(c *signedCall) { c.header.Set("Idempotency-Key", "k2") },
		"if-match":        func(c *signedCall) { c.header.Del("If-Match") },
		"position":        func(c *signedCall) { c.header.Set("Order-Position", "8") },
		"headers swapped": func(c *signedCall) { c.header.Set("If-Match", "7"); c.header.Set("Order-Position", `"3"`) },
		"nonce": func(c *signedCall) {
			c.header.Set("Order-Signature", strings.Replace(c.header.Get("Order-Signature"), `nonce="`, `nonce="x`, 1))
		},
	} {
		n++
		c := h.call(fmt.Sprint("changed", n)).sign(key)
		change(c)
		rec := h.deliver(node, c)
		require.Equal(t, http.StatusUnauthorized, rec.Code, "%s: %s", what, rec.Body)
	}
}

// TestCase21KeyOfAnother: also what is no signature at all, and what could be read in two ways.
func TestCase21KeyOfAnother(t *testing.T) {
	t.Parallel()
	h := setup(t)
	node, mine := h.node(), h.requestKey(h.user().ClientID)
	theirs := h.requestKey(h.client(auth.NewClient{Kind: auth.KindUser, Tenant: "other"}).ClientID)
	require.Equal(t, http.StatusUnauthorized, h.deliver(node, h.call("a").sign(auth.RequestKey{KeyID: theirs.KeyID, Secret: mine.Secret})).Code)
	require.Equal(t, http.StatusUnauthorized, h.deliver(node, h.call("b").sign(auth.RequestKey{KeyID: "k_nobodys", Secret: mine.Secret})).Code)
	require.Equal(t, http.StatusOK, h.deliver(node, h.call("a").sign(theirs)).Code, "who cannot sign does not use up nonces")
	for name, again := range map[string]string{"Order-Signature": "x", "Idempotency-Key": "k1", "Content-Type": "application/json"} {
		c := h.call("twice").sign(mine)
		c.header.Add(name, again)
		require.Equal(t, http.StatusBadRequest, h.deliver(node, c).Code, name)
	}
	c := h.call("both").sign(mine)
	c.header.Set("Authorization", "Bearer x")
	require.Equal(t, http.StatusBadRequest, h.deliver(node, c).Code)
	c = h.call("unread").sign(mine)
	c.header.Set("Order-Signature", `keyid="x"`)
	require.Equal(t, http.StatusUnauthorized, h.deliver(node, c).Code)
	c = h.call("scope")
	c.target = "/v1/admin/things"
	require.Equal(t, http.StatusForbidden, h.deliver(node, c.sign(mine)).Code)
}

// TestSignedStreamIsBounded: what is otherwise worked on while it comes is read whole.
func TestSignedStreamIsBounded(t *testing.T) {
	t.Parallel()
	h := setup(t)
	node, key := h.node(), h.requestKey(h.user().ClientID)
	for size, status := range map[int]int{8 << 20: http.StatusOK, 8<<20 + 1: http.StatusRequestEntityTooLarge} {
		for _, chunked := range []bool{false, true} {
			c := h.call(fmt.Sprintf("%d-%t", size, chunked))
			c.target, c.body, c.chunked = "/v1/stream", strings.Repeat("x", size), chunked
			require.Equal(t, status, h.deliver(node, c.sign(key)).Code, "%d %t", size, chunked)
		}
	}
}

// TestRequestKeysEnd: two keys serve beside each other; a deleted one, and those of a disabled client, end at once.
func TestRequestKeysEnd(t *testing.T) {
	t.Parallel()
	h := setup(t)
	ctx, client, node := t.Context(), h.user(), h.node()
	old, fresh := h.requestKey(client.ClientID), h.requestKey(client.ClientID)
	for _, key := range []auth.RequestKey{old, fresh} {
		require.Equal(t, http.StatusOK, h.deliver(node, h.call("both").sign(key)).Code)
	}
	keys, err := h.store.RequestKeys(ctx, client.ClientID)
	require.NoError(t, err)
	require.Len(t, keys, 2)
	require.Equal(t, []string{old.KeyID, ""}, []string{keys[0].KeyID, keys[0].Secret})
	require.Error(t, h.store.DeleteRequestKey(ctx, h.user().ClientID, old.KeyID), "of another client")
	require.NoError(t, h.store.DeleteRequestKey(ctx, client.ClientID, old.KeyID))
	require.Equal(t, http.StatusUnauthorized, h.deliver(node, h.call("after").sign(old)).Code)
	require.Equal(t, http.StatusOK, h.deliver(node, h.call("after").sign(fresh)).Code)
	for range 9 {
		h.requestKey(client.ClientID)
	}
	_, err = h.store.CreateRequestKey(ctx, client.ClientID)
	require.ErrorContains(t, err, "conflict")
	require.NoError(t, h.store.DisableClient(ctx, client.ClientID))
	require.Equal(t, http.StatusUnauthorized, h.deliver(node, h.call("disabled").sign(fresh)).Code)
	for _, id := range []string{client.ClientID, "c_nobody"} {
		_, err = h.store.CreateRequestKey(ctx, id)
		require.ErrorContains(t, err, "not_found")
	}
	_, err = h.store.RequestKeys(ctx, "c_nobody")
	require.ErrorContains(t, err, "not_found")
}

// TestWrongSignaturesAreLimited: 20 a minute with a key, then the right one has to wait too.
func TestWrongSignaturesAreLimited(t *testing.T) {
	t.Parallel()
	h := setup(t)
	node, key := h.node(), h.requestKey(h.user().ClientID)
	for i := range 20 {
		want := http.StatusUnauthorized
		if i == 19 {
			want = http.StatusTooManyRequests
		}
		require.Equal(t, want, h.deliver(node, h.call("w").sign(auth.RequestKey{KeyID: key.KeyID, Secret: "wrong"})).Code)
	}
	rec := h.deliver(node, h.call("right").sign(key))
	require.Equal(t, http.StatusTooManyRequests, rec.Code)
	require.NotEmpty(t, rec.Header().Get("Retry-After"))
	h.clock.Advance(time.Minute)
	require.Equal(t, http.StatusOK, h.deliver(node, h.call("later").sign(key)).Code)
}

// TestSignaturesNeedThePrimary: without it nobody is let in, and nobody is told off.
func TestSignaturesNeedThePrimary(t *testing.T) {
	t.Parallel()
	h := setup(t)
	node, key := h.node(), h.requestKey(h.user().ClientID)
	_, err := h.pool.Exec(t.Context(), `ALTER TABLE request_nonces RENAME TO away`)
	require.NoError(t, err)
	require.Equal(t, http.StatusInternalServerError, h.deliver(node, h.call("a").sign(key)).Code, "what cannot be kept is not taken")
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	c := h.call("b").sign(key)
	_, err = h.authn.AuthenticateSigned(ctx, &auth.SignedRequest{Signature: c.header.Get("Order-Signature")})
	require.ErrorContains(t, err, "unavailable")
}
