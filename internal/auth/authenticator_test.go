package auth_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/migrations"
)

// run runs an authenticator's worker until the test ends.
func run(t *testing.T, a *auth.Authenticator) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// Case 16: a live token of a disabled client is refused once the node has polled, on every node.
func TestCase16DisabledClient(t *testing.T) {
	t.Parallel()
	h := setup(t)
	second := h.newAuthenticator()
	run(t, h.authn)
	run(t, second)
	c, other := h.user(), h.user()
	token, stays := h.token(c), h.token(other)
	for _, a := range []*auth.Authenticator{h.authn, second} {
		who, err := a.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.NoError(t, a.Check(who))
	}
	require.NoError(t, h.store.DisableClient(t.Context(), c.ClientID))
	for _, a := range []*auth.Authenticator{h.authn, second} {
		until(t.Context(), t, func() bool {
			_, err := a.Authenticate(t.Context(), token)
			return fault.CodeOf(err) == fault.Unauthorized
		})
		_, err := a.Authenticate(t.Context(), stays)
		require.NoError(t, err)
	}
	h.refuses(token, "disabled")
	require.Equal(t, http.StatusOK, h.get("/v1/orders", stays).Code)

	// A node that starts later has never seen the token and knows all the same.
	late := h.newAuthenticator()
	_, err := late.Authenticate(t.Context(), token)
	require.Equal(t, fault.Unauthorized, fault.CodeOf(err))
}

// Case 16: its open stream is cut, and nobody else's.
func TestCase16StreamIsCut(t *testing.T) {
	t.Parallel()
	h := setup(t)
	run(t, h.authn)
	ended := make(chan error, 1)
	httpapi.Mount(h.api, h.authn, []httpapi.Route{{
		Method: http.MethodGet, Path: "/v1/events", Scope: auth.ScopeOrdersRead,
		Handler: func(c echo.Context, _ auth.Identity) error {
			s, err := httpapi.Stream(c)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for err == nil {
				select {
				case <-tick.C:
					err = s.Comment()
				case <-c.Request().Context().Done():
					err = c.Request().Context().Err()
				}
			}
			ended <- err
			return err
		},
	}})
	server := httptest.NewServer(h.api)
	t.Cleanup(server.Close)
	c := h.user()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+h.token(c))
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, h.store.DisableClient(t.Context(), c.ClientID))
	for err == nil {
		_, err = lines.ReadString('\n')
	}
	require.Equal(t, fault.Unauthorized, fault.CodeOf(<-ended))
}

// Case 7, later: a remembered token ends with its exp, and so does a stream.
func TestRememberedTokenExpires(t *testing.T) {
	t.Parallel()
	h := setup(t)
	token := h.token(h.user())
	who, err := h.authn.Authenticate(t.Context(), token)
	require.NoError(t, err)
	h.clock.Advance(auth.DefaultTokenLife - time.Second)
	_, err = h.authn.Authenticate(t.Context(), token)
	require.NoError(t, err)
	require.NoError(t, h.authn.Check(who))
	h.clock.Advance(time.Second)
	for range 2 {
		_, err = h.authn.Authenticate(t.Context(), token)
		require.Equal(t, fault.Unauthorized, fault.CodeOf(err))
	}
	require.Equal(t, fault.Unauthorized, fault.CodeOf(h.authn.Check(who)))
}

// With the database away, what is known stays known; a node that has never read it says 503 instead of calling a good
// token bad.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	h := setup(t)
	token, unseen := h.token(h.user()), h.token(h.user())
	pool, err := postgres.Open(t.Context(), h.pool.Config().ConnString(), postgres.PoolConfig{Name: "away", MaxConns: 2})
	require.NoError(t, err)
	newNode := func() *auth.Authenticator {
		a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: issuerURL, Now: h.clock.Now, Poll: 5 * time.Millisecond}, pool)
		require.NoError(t, err)
		return a
	}
	knows, fresh := newNode(), newNode()
	_, err = knows.Authenticate(t.Context(), token)
	require.NoError(t, err)
	run(t, knows)
	pool.Close()
	for range 3 {
		_, err = knows.Authenticate(t.Context(), token)
		require.NoError(t, err)
	}
	_, err = knows.Authenticate(t.Context(), unseen)
	require.NoError(t, err, "its key is known")
	_, err = fresh.Authenticate(t.Context(), token)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
}

// Nodes that start together end up with one key between them.
func TestFirstKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Write, "write")
	store := auth.NewStore(pool)
	issuers := make([]*auth.Issuer, 8)
	errs := make([]error, len(issuers))
	var wg sync.WaitGroup
	for i := range issuers {
		wg.Go(func() {
			issuers[i], errs[i] = auth.NewIssuer(t.Context(), auth.IssuerConfig{Issuer: issuerURL}, pool, store)
		})
	}
	wg.Wait()
	var keys int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM signing_keys`).Scan(&keys))
	require.Equal(t, 1, keys)
	a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: issuerURL}, pool)
	require.NoError(t, err)
	for i, issuer := range issuers {
		require.NoError(t, errs[i])
		token, _, err := issuer.Issue(t.Context(), auth.Identity{ClientID: "c_1", Kind: auth.KindOperator, Scopes: []string{auth.ScopeAdmin}})
		require.NoError(t, err)
		_, err = a.Authenticate(t.Context(), token)
		require.NoError(t, err)
	}
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	require.NoError(t, err)
	kid, ok := parsed.Header["kid"].(string)
	require.True(t, ok)
	return kid
}

// published gives the keys of the JWKS by kid.
func (h *house) published() map[string]*ecdsa.PublicKey {
	h.t.Helper()
	var set struct {
		Keys []struct{ Kty, Use, Alg, Kid, Crv, X, Y string } `json:"keys"`
	}
	rec := h.send(http.MethodGet, "/.well-known/jwks.json", "")
	require.Equal(h.t, http.StatusOK, rec.Code)
	require.NotContains(h.t, rec.Body.String(), `"d"`)
	require.NoError(h.t, json.Unmarshal(rec.Body.Bytes(), &set))
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		require.Equal(h.t, "EC sig ES256 P-256", strings.Join([]string{k.Kty, k.Use, k.Alg, k.Crv}, " "))
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		require.NoError(h.t, err)
		y, err := base64.RawURLEncoding.DecodeString(k.Y)
		require.NoError(h.t, err)
		keys[k.Kid], err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		require.NoError(h.t, err)
	}
	return keys
}

// A rotation never refuses a good token: the new key is published before it signs, the old one verifies until its last
// token has expired, and is gone after that.
func TestRotateSigningKey(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	first := h.token(c)
	require.Len(t, h.published(), 1)
	_, err := h.authn.Authenticate(t.Context(), first)
	require.NoError(t, err)

	operator := h.token(h.client(auth.NewClient{Kind: auth.KindOperator}))
	rotated := h.send(http.MethodPost, "/v1/admin/signing-keys/rotate", "", "Authorization: Bearer "+operator)
	require.Equal(t, http.StatusOK, rotated.Code, rotated.Body.String())
	require.JSONEq(t, h.get("/v1/admin/signing-keys", operator).Body.String(), rotated.Body.String())
	require.Equal(t, http.StatusForbidden, h.send(http.MethodPost, "/v1/admin/signing-keys/rotate", "", "Authorization: Bearer "+first).Code)
	require.NotContains(t, rotated.Body.String(), "private")
	require.Equal(t, 1, strings.Count(rotated.Body.String(), "retired_at"), "the older one ends")
	require.Len(t, h.published(), 2, "published at once")
	require.Equal(t, kidOf(t, first), kidOf(t, h.token(c)), "signs later")

	h.clock.Advance(time.Minute)
	second := h.token(c)
	require.NotEqual(t, kidOf(t, first), kidOf(t, second))
	for _, token := range []string{first, second} {
		_, err := h.newAuthenticator().Authenticate(t.Context(), token)
		require.NoError(t, err)
		_, err = h.authn.Authenticate(t.Context(), token)
		require.NoError(t, err)
		parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return h.published()[kidOf(t, token)], nil }, jwt.WithTimeFunc(h.clock.Now))
		require.NoError(t, err, "an outside verifier agrees")
		require.True(t, parsed.Valid)
	}

	old := h.forge(func(_ map[string]any, claims jwt.MapClaims) { claims["exp"] = h.clock.Now().Add(24 * time.Hour).Unix() })
	require.Equal(t, kidOf(t, first), kidOf(t, old))
	_, err = h.newAuthenticator().Authenticate(t.Context(), old)
	require.NoError(t, err)
	h.clock.Advance(20 * time.Minute)
	require.Len(t, h.published(), 1)
	for _, a := range []*auth.Authenticator{h.authn, h.newAuthenticator()} {
		_, err = a.Authenticate(t.Context(), old)
		require.Equal(t, fault.Unauthorized, fault.CodeOf(err), "a retired key signs nothing any more")
	}
	_, err = h.authn.Authenticate(t.Context(), h.token(c))
	require.NoError(t, err)
}

func TestRotationsAtOnce(t *testing.T) {
	t.Parallel()
	h := setup(t)
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = h.issuer.Rotate(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	var generations, signing int
	const count = `SELECT max(generation), count(*) FILTER (WHERE retired_at IS NULL) FROM signing_keys`
	require.NoError(t, h.pool.QueryRow(t.Context(), count).Scan(&generations, &signing))
	require.GreaterOrEqual(t, generations, 2)
	require.LessOrEqual(t, generations, 5)
	require.Equal(t, 1, signing)
	h.token(h.user())
}

// A key that is taken away (because it leaked) ends the tokens it signed, the remembered ones too.
func TestRemovedKeyEndsItsTokens(t *testing.T) {
	t.Parallel()
	h := setup(t)
	run(t, h.authn)
	token := h.token(h.user())
	_, err := h.authn.Authenticate(t.Context(), token)
	require.NoError(t, err)
	_, err = h.pool.Exec(t.Context(), `DELETE FROM signing_keys`)
	require.NoError(t, err)
	until(t.Context(), t, func() bool {
		_, err := h.authn.Authenticate(t.Context(), token)
		return fault.CodeOf(err) == fault.Unauthorized
	})
}

func TestTokensAreForgottenWhenThereAreTooMany(t *testing.T) {
	t.Parallel()
	h := setup(t)
	a, err := auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: issuerURL, CacheSize: 2, Now: h.clock.Now}, h.pool)
	require.NoError(t, err)
	c := h.user()
	tokens := []string{h.token(c), h.token(c), h.token(c)}
	for range 3 {
		for _, token := range tokens {
			who, err := a.Authenticate(t.Context(), token)
			require.NoError(t, err)
			require.Equal(t, c.ClientID, who.ClientID)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	h := setup(t)
	_, err := auth.NewIssuer(t.Context(), auth.IssuerConfig{}, h.pool, h.store)
	require.ErrorContains(t, err, "Issuer")
	complete := auth.OutsideIssuer{Name: "idp", Issuer: "https://idp.example", JWKSURL: "https://idp.example/jwks", Audience: "orderstore"}
	twice := complete
	own := complete
	own.Issuer = issuerURL
	noURL := complete
	noURL.JWKSURL = ""
	for _, cfg := range []auth.AuthenticatorConfig{
		{},
		{Issuer: issuerURL, CacheSize: -1},
		{Issuer: issuerURL, Outside: []auth.OutsideIssuer{noURL}},
		{Issuer: issuerURL, Outside: []auth.OutsideIssuer{own}},
		{Issuer: issuerURL, Outside: []auth.OutsideIssuer{complete, twice}},
	} {
		_, err := auth.NewAuthenticator(cfg, h.pool)
		require.Error(t, err, "%+v", cfg)
	}
}

func FuzzAuthenticate(f *testing.F) {
	h := setup(f)
	good := h.forge(unchanged)
	f.Add(good)
	f.Add("")
	f.Add("..")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, token string) {
		who, err := h.authn.Authenticate(t.Context(), token)
		if token == good {
			require.NoError(t, err)
			require.Equal(t, "demo", who.Tenant)
			return
		}
		require.Equal(t, fault.Unauthorized, fault.CodeOf(err))
	})
}
