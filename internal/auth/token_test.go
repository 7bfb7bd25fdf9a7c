package auth_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

func TestTokenAnswer(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo", Scopes: []string{auth.ScopeOrdersWrite, auth.ScopeOrdersRead}})
	byBasic := h.post(grant(), basic(c.ClientID, c.ClientSecret))
	byForm := h.post(grant("client_id", c.ClientID, "client_secret", c.ClientSecret))
	for _, rec := range []*tokenAnswer{ptr(decode(t, byBasic)), ptr(decode(t, byForm))} {
		require.Equal(t, "Bearer", rec.TokenType)
		require.Equal(t, 900, rec.ExpiresIn)
		require.Equal(t, "orders:read orders:write", rec.Scope)
	}
	require.Equal(t, "no-store", byBasic.Header().Get("Cache-Control"))
	require.Equal(t, "application/json", byBasic.Header().Get("Content-Type"))

	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(decode(t, byBasic).AccessToken, claims)
	require.NoError(t, err)
	require.Equal(t, "at+jwt", parsed.Header["typ"])
	require.Equal(t, "ES256", parsed.Header["alg"])
	require.NotEmpty(t, parsed.Header["kid"])
	require.NotEmpty(t, claims["jti"])
	delete(claims, "jti")
	now := float64(h.clock.Now().Unix())
	require.Equal(t, jwt.MapClaims{
		"iss": issuerURL, "aud": "orderstore", "sub": c.ClientID, "client_id": c.ClientID, "iat": now, "exp": now + 900,
		"scope": "orders:read orders:write", "kind": "user", "tenant": "demo",
	}, claims)
}

func ptr[T any](v T) *T { return &v }

func TestTokenScope(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	rec := h.post(grant("scope", "orders:read  orders:read"), basic(c.ClientID, c.ClientSecret))
	require.Equal(t, "orders:read", decode(t, rec).Scope)
	who, err := h.authn.Authenticate(t.Context(), decode(t, rec).AccessToken)
	require.NoError(t, err)
	require.True(t, who.Has(auth.ScopeOrdersRead))
	require.False(t, who.Has(auth.ScopeOrdersWrite))
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	login := basic(c.ClientID, c.ClientSecret)
	form := grant().Encode()
	const urlencoded = "Content-Type: application/x-www-form-urlencoded"
	for _, tc := range []struct {
		name, target, body string
		headers            []string
		status             int
		code               string
	}{
		{"no client", "", form, []string{urlencoded}, 401, "invalid_client"},
		{"wrong secret", "", form, []string{urlencoded, basic(c.ClientID, "x")}, 401, "invalid_client"},
		{"no such client", "", form, []string{urlencoded, basic("nobody", c.ClientSecret)}, 401, "invalid_client"},
		{"id with SQL", "", form, []string{urlencoded, basic("' OR 1=1--", "x")}, 401, "invalid_client"},
		{"bearer instead of basic", "", form, []string{urlencoded, "Authorization: Bearer x"}, 401, "invalid_client"},
		{"broken basic", "", form, []string{urlencoded, "Authorization: Basic !!!"}, 401, "invalid_client"},
		{"basic with a bad escape", "", form, []string{urlencoded, "Authorization: Basic JXg6JXg="}, 401, "invalid_client"},
		{"id without secret", "", form + "&client_id=" + c.ClientID, []string{urlencoded}, 401, "invalid_client"},
		{"credentials in the query", "?client_id=" + c.ClientID + "&client_secret=" + c.ClientSecret, form, []string{urlencoded}, 401, "invalid_client"},
		{"grant in the query", "?grant_type=client_credentials", "", []string{urlencoded, login}, 400, "invalid_request"},
		{"no grant", "", "", []string{urlencoded, login}, 400, "invalid_request"},
		{"other grant", "", "grant_type=password", []string{urlencoded, login}, 400, "unsupported_grant_type"},
		{"parameter twice", "", form + "&" + form, []string{urlencoded, login}, 400, "invalid_request"},
		{"two ways at once", "", form + "&client_secret=x", []string{urlencoded, login}, 400, "invalid_request"},
		{"two ids", "", form + "&client_id=other", []string{urlencoded, login}, 400, "invalid_request"},
		{"two headers", "", form, []string{urlencoded, login, login}, 400, "invalid_request"},
		{"json", "", `{"grant_type":"client_credentials"}`, []string{"Content-Type: application/json", login}, 400, "invalid_request"},
		{"no type", "", form, []string{login}, 400, "invalid_request"},
		{"not a form", "", "%zz", []string{urlencoded, login}, 400, "invalid_request"},
		{"too large", "", form + "&x=" + strings.Repeat("x", 9_000), []string{urlencoded, login}, 400, "invalid_request"},
		{"scope of another kind", "", form + "&scope=admin", []string{urlencoded, login}, 400, "invalid_scope"},
		{"one scope too many", "", form + "&scope=orders:read+tasks:read", []string{urlencoded, login}, 400, "invalid_scope"},
	} {
		rec := h.send(http.MethodPost, "/oauth/token"+tc.target, tc.body, tc.headers...)
		require.Equal(t, tc.status, rec.Code, tc.name)
		require.Equal(t, tc.code, decode(t, rec).Error, tc.name)
		require.Equal(t, "no-store", rec.Header().Get("Cache-Control"), tc.name)
		require.Equal(t, tc.status == 401, rec.Header().Get("WWW-Authenticate") != "", tc.name)
	}
	unknown := h.post(grant(), basic("nobody", "x")).Body.String()
	require.Equal(t, unknown, h.post(grant(), basic(c.ClientID, "x")).Body.String(), "the answers do not tell which ids exist")
}

// Case 17: the 20th wrong secret within a minute is answered 429, and then the right one is not looked at until the minute
// is over. Others are not held up, and ids that do not exist are treated alike.
func TestCase17GuessedSecrets(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c, other := h.user(), h.user()
	for _, id := range []string{c.ClientID, "nobody"} {
		for range 19 {
			require.Equal(t, 401, h.post(grant(), basic(id, "wrong")).Code)
		}
		h.clock.Advance(10 * time.Second)
		rec := h.post(grant(), basic(id, "wrong"))
		require.Equal(t, 429, rec.Code)
		require.Equal(t, "50", rec.Header().Get("Retry-After"))
		require.Contains(t, rec.Body.String(), "/problems/too_many_requests")
		require.Equal(t, 429, h.post(grant("client_id", id, "client_secret", c.ClientSecret)).Code)
	}
	h.token(other)

	h.clock.Advance(39 * time.Second)
	require.Equal(t, 429, h.post(grant(), basic(c.ClientID, c.ClientSecret)).Code)
	h.clock.Advance(time.Second)
	h.token(c)
	require.Equal(t, 401, h.post(grant(), basic(c.ClientID, "wrong")).Code, "counted anew")
}

func TestFailuresSpreadOverTimeDoNotBlock(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	for range 60 {
		require.Equal(t, 401, h.post(grant(), basic(c.ClientID, "wrong")).Code)
		h.clock.Advance(4 * time.Second)
	}
	h.token(c)
}

func TestGuessesAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	codes := make([]int, 60)
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() { codes[i] = h.post(grant(), basic(c.ClientID, "wrong")).Code })
	}
	wg.Wait()
	refused := 0
	for _, code := range codes {
		if code == 401 {
			refused++
		}
	}
	require.Equal(t, 19, refused)
}

func TestDatabaseAwayAtLogin(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	h.pool.Close()
	rec := h.post(grant(), basic(c.ClientID, c.ClientSecret))
	require.GreaterOrEqual(t, rec.Code, 500)
	require.NotContains(t, rec.Body.String(), "pool")
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	h := setup(t)
	rec := h.send(http.MethodGet, "/.well-known/oauth-authorization-server", "")
	require.Equal(t, http.StatusOK, rec.Code)
	var meta map[string]any
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &meta))
	require.Equal(t, issuerURL, meta["issuer"])
	require.Equal(t, issuerURL+"/oauth/token", meta["token_endpoint"])
	require.Equal(t, issuerURL+"/.well-known/jwks.json", meta["jwks_uri"])
	require.Len(t, meta["scopes_supported"], 8)
}

func FuzzTokenForm(f *testing.F) {
	f.Add("grant_type=client_credentials&client_id=a&client_secret=b", "")
	f.Add("grant_type=client_credentials", "Basic YTpi")
	f.Add("%", "Basic")
	h := setup(f)
	f.Fuzz(func(t *testing.T, body, authorization string) {
		here := *h
		here.t = t
		rec := here.send(http.MethodPost, "/oauth/token", body, "Content-Type: application/x-www-form-urlencoded", "Authorization: "+authorization)
		require.Contains(t, []int{400, 401, 429}, rec.Code, rec.Body.String())
	})
}
