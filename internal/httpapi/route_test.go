package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// tokens stands for an issuer: a token is the name of an identity. Real tokens are tested with package auth.
type tokens struct{ known map[string]auth.Identity }

func newTokens() *tokens {
	return &tokens{known: map[string]auth.Identity{
		"user":     {ClientID: "c_user", Kind: auth.KindUser, Tenant: "demo", Scopes: auth.DefaultScopes(auth.KindUser)},
		"reader":   {ClientID: "c_reader", Kind: auth.KindUser, Tenant: "demo", Scopes: []string{auth.ScopeOrdersRead}},
		"provider": {ClientID: "c_provider", Kind: auth.KindProvider, Provider: "p1", Scopes: auth.DefaultScopes(auth.KindProvider)},
	}}
}

func (a *tokens) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	if who, ok := a.known[bearer]; ok {
		return who, nil
	}
	return auth.Identity{}, fault.New(fault.Unauthorized, "the access token is not valid")
}

func (a *tokens) Check(auth.Identity) error { return nil }

// api is a router with a few routes and all that it logged.
type api struct {
	e      *echo.Echo
	tokens *tokens
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newAPI(t *testing.T, cfg httpapi.Config, more ...httpapi.Route) *api {
	t.Helper()
	log := &lockedBuffer{}
	cfg.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e, err := httpapi.New(cfg)
	require.NoError(t, err)
	a := &api{e: e, tokens: newTokens(), log: log}
	echoBody := func(c echo.Context, who auth.Identity) error {
		body, err := httpapi.ReadJSON(c, 20)
		if err != nil {
			return err
		}
		c.Response().Header().Set("Caller", who.ClientID)
		return c.Blob(http.StatusCreated, "application/json", body)
	}
	ok := func(c echo.Context, _ auth.Identity) error { return c.String(http.StatusOK, c.Param("id")) }
	routes := []httpapi.Route{
		{Method: http.MethodPost, Path: "/v1/orders", Scope: auth.ScopeOrdersWrite, Kinds: []auth.Kind{auth.KindUser}, Handler: echoBody},
		{Method: http.MethodGet, Path: "/v1/orders/:id", Scope: auth.ScopeOrdersRead, Handler: ok},
		{Method: http.MethodGet, Path: "/v1/admin/lag", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator}, Handler: ok},
		{Method: http.MethodGet, Path: "/healthz", Public: true, Handler: ok},
		{Method: http.MethodGet, Path: "/panic", Public: true, Handler: func(echo.Context, auth.Identity) error { panic("index 7 of /srv/secret.go") }},
	}
	httpapi.Mount(e, a.tokens, append(routes, more...))
	return a
}

func (a *api) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	rec := httptest.NewRecorder()
	a.e.ServeHTTP(rec, req)
	return rec
}

func problemType(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
	var p struct {
		Type   string `json:"type"`
		Status int    `json:"status"`
	}
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &p))
	require.Equal(t, rec.Code, p.Status)
	return strings.TrimPrefix(p.Type, "/problems/")
}

// Cases 1, 13, 14, 15, 36, 60 and what belongs to them.
func TestRoutesAskForTheRightToken(t *testing.T) {
	t.Parallel()
	a := newAPI(t, httpapi.Config{})
	const read, write = "/v1/orders/7", "/v1/orders"
	for _, c := range []struct {
		name, method, target string
		headers              []string
		status               int
		problem, challenge   string
	}{
		{"no token", "GET", read, nil, 401, "unauthorized", `Bearer realm="orderstore"`},
		{"empty header", "GET", read, []string{"Authorization: "}, 401, "unauthorized", `Bearer realm="orderstore"`},
		{"basic", "GET", read, []string{"Authorization: Basic dXNlcg=="}, 401, "unauthorized", `Bearer realm="orderstore"`},
		{"scheme alone", "GET", read, []string{"Authorization: Bearer"}, 401, "unauthorized", `Bearer realm="orderstore"`},
		{"unknown token", "GET", read, []string{"Authorization: Bearer nobody"}, 401, "unauthorized", `Bearer realm="orderstore", error="invalid_token"`},
		{"token with more behind it", "GET", read, []string{"Authorization: Bearer user x"}, 401, "unauthorized", `Bearer realm="orderstore", error="invalid_token"`},
		{"two headers", "GET", read, []string{"Authorization: Bearer user", "Authorization: Bearer user"}, 400, "bad_parameter", ""},
		{"token in the query", "GET", read + "?access_token=user", nil, 401, "unauthorized", `Bearer realm="orderstore", error="invalid_token"`},
		{"token in the query as well", "GET", read + "?a=1&access_token=user", []string{"Authorization: Bearer user"}, 401, "unauthorized", `Bearer realm="orderstore", error="invalid_token"`},
		{"token in a cookie", "GET", read, []string{"Cookie: access_token=user"}, 401, "unauthorized", `Bearer realm="orderstore"`},
		{"right", "GET", read, []string{"Authorization: Bearer user"}, 200, "", ""},
		{"any case of the scheme", "GET", read, []string{"Authorization: bEARER user"}, 200, "", ""},
		{"missing scope", "POST", write, []string{"Authorization: Bearer reader"}, 403, "forbidden", `Bearer realm="orderstore", error="insufficient_scope", scope="orders:write"`},
		{"wrong kind", "POST", write, []string{"Authorization: Bearer provider"}, 403, "forbidden", ""},
		{"provider on an admin route", "GET", "/v1/admin/lag", []string{"Authorization: Bearer provider"}, 403, "forbidden", ""},
		{"public without a token", "GET", "/healthz", nil, 200, "", ""},
		{"public with a bad one", "GET", "/healthz", []string{"Authorization: Bearer nobody"}, 200, "", ""},
		{"no such path", "GET", "/v1/nothing", []string{"Authorization: Bearer user"}, 404, "not_found", ""},
		{"metrics", "GET", "/metrics", nil, 404, "not_found", ""},
		{"debug", "GET", "/debug/pprof/", nil, 404, "not_found", ""},
		{"unused method", "DELETE", write, []string{"Authorization: Bearer user"}, 405, "method_not_allowed", ""},
		{"TRACE", "TRACE", read, nil, 405, "method_not_allowed", ""},
	} {
		rec := a.do(c.method, c.target, "", c.headers...)
		require.Equal(t, c.status, rec.Code, c.name)
		require.Equal(t, c.challenge, rec.Header().Get("WWW-Authenticate"), c.name)
		if c.problem != "" {
			require.Equal(t, c.problem, problemType(t, rec), c.name)
		}
		if c.status == http.StatusMethodNotAllowed {
			require.NotEmpty(t, rec.Header().Get("Allow"), c.name)
		}
		require.NotEmpty(t, rec.Header().Get("X-Request-Id"), c.name)
		require.Empty(t, rec.Header().Get("Server"), c.name)
	}
}

func TestMountRefusesRoutesWithoutScope(t *testing.T) {
	t.Parallel()
	handler := func(echo.Context, auth.Identity) error { return nil }
	for _, r := range []httpapi.Route{
		{Method: "GET", Path: "/x", Handler: handler},
		{Method: "GET", Path: "/x", Public: true, Scope: auth.ScopeAdmin, Handler: handler},
		{Method: "GET", Path: "/x", Public: true, Kinds: []auth.Kind{auth.KindUser}, Handler: handler},
	} {
		require.Panics(t, func() { httpapi.Mount(echo.New(), newTokens(), []httpapi.Route{r}) })
	}
}

// Cases 50, 51, 52: a body one byte over, whether it says so or not; compressed ones; another media type.
func TestBodies(t *testing.T) {
	t.Parallel()
	a := newAPI(t, httpapi.Config{}, httpapi.Route{
		Method: "POST", Path: "/small", Public: true, MaxBody: 10,
		Handler: func(c echo.Context, _ auth.Identity) error {
			body, err := httpapi.ReadJSON(c, 1_000)
			if err != nil {
				return err
			}
			return c.Blob(http.StatusOK, "application/json", body)
		},
	}, httpapi.Route{
		Method: "POST", Path: "/stream", Public: true, MaxBody: httpapi.NoLimit,
		Handler: func(c echo.Context, _ auth.Identity) error {
			n, err := io.Copy(io.Discard, c.Request().Body)
			if err != nil {
				return err
			}
			return c.JSON(http.StatusOK, n)
		},
	})
	server := httptest.NewServer(a.e)
	t.Cleanup(server.Close)
	send := func(path, body string, chunked bool, headers ...string) (int, string) {
		var r io.Reader = strings.NewReader(body)
		if chunked {
			r = io.MultiReader(r) // hides the length
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, r)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer user")
		req.Header.Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(got)
	}
	text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for _, c := range []struct {
		name, path, body string
		headers          []string
		status           int
	}{
		{"exactly 20", "/v1/orders", text(20), nil, 201},
		{"21", "/v1/orders", text(21), nil, 413},
		{"the route's own limit", "/small", text(11), nil, 413},
		{"under the route's limit", "/small", text(10), nil, 200},
		{"over the default limit", "/v1/orders", text(httpapi.DefaultMaxBody + 1), nil, 413},
		{"a stream", "/stream", text(3 * httpapi.DefaultMaxBody), nil, 200},
		{"empty", "/v1/orders", "", nil, 400},
		{"charset", "/v1/orders", text(20), []string{"Content-Type: application/json; charset=UTF-8"}, 201},
		{"other charset", "/v1/orders", text(20), []string{"Content-Type: application/json; charset=latin1"}, 415},
		{"form", "/v1/orders", text(20), []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"xml", "/v1/orders", text(20), []string{"Content-Type: text/xml"}, 415},
		{"no type", "/v1/orders", text(20), []string{"Content-Type: "}, 415},
		{"rubbish type", "/v1/orders", text(20), []string{"Content-Type: application/json; ;"}, 415},
		{"gzip", "/v1/orders", "\x1f\x8b\x08", []string{"Content-Encoding: gzip"}, 415},
		{"identity", "/v1/orders", text(20), []string{"Content-Encoding: identity"}, 201},
	} {
		for _, chunked := range []bool{false, true} {
			status, answer := send(c.path, c.body, chunked, c.headers...)
			require.Equal(t, c.status, status, "%s, chunked %t", c.name, chunked)
			if status == http.StatusCreated {
				require.Equal(t, c.body, answer)
			}
		}
	}
}

func TestPanicIsAProblem(t *testing.T) {
	t.Parallel()
	a := newAPI(t, httpapi.Config{})
	rec := a.do("GET", "/panic", "")
	require.Equal(t, http.StatusInternalServerError, rec.Code)
	require.Equal(t, "internal", problemType(t, rec))
	require.NotContains(t, rec.Body.String(), "secret")
	require.Contains(t, a.log.String(), "index 7 of /srv/secret.go")
	require.Contains(t, a.log.String(), `"stack":`)
	require.Equal(t, http.StatusOK, a.do("GET", "/healthz", "").Code)
}

// Case 65 at this level: the line of a request has neither token, body nor query in it.
func TestRequestLog(t *testing.T) {
	t.Parallel()
	type observed struct {
		method, route string
		status        int
	}
	var seen []observed
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	a := newAPI(t, httpapi.Config{
		Observe: func(method, route string, status int, took time.Duration) {
			require.Equal(t, 1500*time.Microsecond, took)
			seen = append(seen, observed{method, route, status})
		},
		Now: func() time.Time { now = now.Add(1500 * time.Microsecond); return now },
	})
	a.do("POST", "/v1/orders?q=canary-query", `"canary-body"`, "Authorization: Bearer user", "Content-Type: application/json", "X-Request-Id: mine-1")
	a.do("GET", "/v1/orders/canary-id", "", "Authorization: Bearer canary-token", "X-Request-Id: a b\"c")
	a.do("GET", "/canary-path", "")
	require.NotContains(t, a.log.String(), "canary")
	require.NotContains(t, a.log.String(), "Bearer")
	require.Equal(t, []observed{{"POST", "/v1/orders", 201}, {"GET", "/v1/orders/:id", 401}, {"GET", "", 404}}, seen)

	lines := strings.Split(strings.TrimSpace(a.log.String()), "\n")
	require.Len(t, lines, 3)
	var first, second map[string]any
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
	delete(first, "time")
	require.Equal(t, map[string]any{
		"level": "DEBUG", "msg": "request", "method": "POST", "route": "/v1/orders", "status": 201.0, "ms": 1.5, "bytes": 13.0,
		"request_id": "mine-1", "address": "192.0.2.1", "client_id": "c_user", "tenant": "demo",
	}, first)
	require.Equal(t, "INFO", second["level"])
	require.Equal(t, "unauthorized: the access token is not valid", second["error"])
	require.Regexp(t, `^[A-Za-z0-9_-]{16}$`, second["request_id"])
}

// Case 61: a forged X-Forwarded-For changes the address only where the connection comes from a proxy named as trusted.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	address := httpapi.Route{
		Method: "GET", Path: "/address", Public: true,
		Handler: func(c echo.Context, _ auth.Identity) error { return c.String(http.StatusOK, c.RealIP()) },
	}
	forged := []string{"X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9", "Forwarded: for=203.0.113.9"}
	require.Equal(t, "192.0.2.1", newAPI(t, httpapi.Config{}, address).do("GET", "/address", "", forged...).Body.String())
	trusting := newAPI(t, httpapi.Config{TrustedProxies: []string{"192.0.2.0/24"}}, address)
	require.Equal(t, "203.0.113.9", trusting.do("GET", "/address", "", forged...).Body.String())
	elsewhere := newAPI(t, httpapi.Config{TrustedProxies: []string{"198.51.100.0/24"}}, address)
	require.Equal(t, "192.0.2.1", elsewhere.do("GET", "/address", "", forged...).Body.String())
	_, err := httpapi.New(httpapi.Config{TrustedProxies: []string{"proxy"}})
	require.ErrorContains(t, err, "proxy")
}
