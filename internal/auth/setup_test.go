package auth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const issuerURL = "https://orders.example"

// clock is held by the test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now().Truncate(time.Second)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house is one node with its own write database, reached over HTTP.
type house struct {
	t      testing.TB
	pool   *pgxpool.Pool
	clock  *clock
	store  *auth.Store
	issuer *auth.Issuer
	authn  *auth.Authenticator
	api    *echo.Echo
}

func setup(t testing.TB, outside ...auth.OutsideIssuer) *house {
	t.Helper()
	h := &house{t: t, pool: pgtest.Database(t, migrations.Write, "write"), clock: newClock()}
	h.store = auth.NewStore(h.pool)
	var err error
	h.issuer, err = auth.NewIssuer(t.Context(), auth.IssuerConfig{Issuer: issuerURL, Now: h.clock.Now}, h.pool, h.store)
	require.NoError(t, err)
	h.authn = h.newAuthenticator(outside...)
	h.api, err = httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(h.api, h.authn, append(httpapi.AuthRoutes(h.issuer),
		httpapi.Route{Method: http.MethodGet, Path: "/v1/orders", Scope: auth.ScopeOrdersRead, Handler: whoami},
		httpapi.Route{Method: http.MethodGet, Path: "/v1/admin/lag", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator}, Handler: whoami},
	))
	return h
}

func (h *house) newAuthenticator(outside ...auth.OutsideIssuer) *auth.Authenticator {
	h.t.Helper()
	a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{
		Issuer: issuerURL, Outside: outside, Now: h.clock.Now, Poll: 10 * time.Millisecond,
	}, h.pool)
	require.NoError(h.t, err)
	return a
}

func whoami(c echo.Context, who auth.Identity) error { return c.String(http.StatusOK, who.ClientID) }

func (h *house) client(n auth.NewClient) auth.Credentials {
	h.t.Helper()
	c, err := h.store.CreateClient(h.t.Context(), n)
	require.NoError(h.t, err)
	return c
}

func (h *house) user() auth.Credentials {
	return h.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
}

// post sends a form to /oauth/token; headers are "Name: value".
func (h *house) post(form url.Values, headers ...string) *httptest.ResponseRecorder {
	return h.send(http.MethodPost, "/oauth/token", form.Encode(), append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
}

func (h *house) send(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(h.t.Context(), method, target, strings.NewReader(body))
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	rec := httptest.NewRecorder()
	h.api.ServeHTTP(rec, req)
	return rec
}

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func grant(more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
}

func decode(t testing.TB, rec *httptest.ResponseRecorder) tokenAnswer {
	t.Helper()
	var a tokenAnswer
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &a), rec.Body.String())
	return a
}

// token logs a client in over HTTP.
func (h *house) token(c auth.Credentials) string {
	h.t.Helper()
	rec := h.post(grant(), basic(c.ClientID, c.ClientSecret))
	require.Equal(h.t, http.StatusOK, rec.Code, rec.Body.String())
	return decode(h.t, rec).AccessToken
}

// get asks for a route with a token.
func (h *house) get(target, token string) *httptest.ResponseRecorder {
	return h.send(http.MethodGet, target, "", "Authorization: Bearer "+token)
}

// until tries again until ok, or until the test's time is up.
func until(ctx context.Context, t testing.TB, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("waited 30 s for a condition")
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
