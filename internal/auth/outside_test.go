package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// provider is an outside identity provider: a real HTTP server with a JWKS.
type provider struct {
	t       testing.TB
	server  *httptest.Server
	clock   *clock
	private map[string]crypto.Signer

	mu      sync.Mutex
	keys    []map[string]any
	fetches int
	broken  http.HandlerFunc
}

const providerURL = "https://idp.example/realm"

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, clock: newClock(), private: map[string]crypto.Signer{}}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.server.Close)
	return p
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.broken != nil {
		p.broken(w, r)
		return
	}
	body, err := json.Marshal(map[string]any{"keys": p.keys})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body)
}

func (p *provider) fetched() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *provider) breakWith(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = h
}

// add makes a key and publishes it.
func (p *provider) add(kid string, private crypto.Signer) {
	p.t.Helper()
	enc := base64.RawURLEncoding.EncodeToString
	jwk := map[string]any{"kid": kid, "use": "sig"}
	switch public := private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		require.NoError(p.t, err)
		half := len(point) / 2
		jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", public.Curve.Params().Name, enc(point[1:1+half]), enc(point[1+half:])
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", enc(public.N.Bytes()), enc(big.NewInt(int64(public.E)).Bytes())
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", enc(public)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.private[kid] = private
	p.keys = append(p.keys, jwk)
}

func (p *provider) change(kid, member string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		if k["kid"] == kid {
			k[member] = value
		}
	}
}

func (p *provider) sign(method jwt.SigningMethod, kid string, change func(header map[string]any, claims jwt.MapClaims)) string {
	p.t.Helper()
	now := p.clock.Now()
	claims := jwt.MapClaims{
		"iss": providerURL, "aud": "https://orders.example", "sub": "alice", "exp": now.Add(time.Hour).Unix(),
		"scope": "openid orders:read orders:write", "party": "user", "org": "acme",
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["typ"], token.Header["kid"] = "at+jwt", kid
	change(token.Header, claims)
	signed, err := token.SignedString(p.private[kid])
	require.NoError(p.t, err)
	return signed
}

func (p *provider) config() auth.OutsideIssuer {
	return auth.OutsideIssuer{
		Name: "idp", Issuer: providerURL, JWKSURL: p.server.URL, Audience: "https://orders.example",
		KindClaim: "party", TenantClaim: "org", ProviderClaim: "supplier", SystemClaim: "system",
	}
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return key
}

// outsideSetup is a house that believes one provider and holds its clock.
func outsideSetup(t *testing.T, adjust func(*auth.OutsideIssuer)) (*house, *provider) {
	t.Helper()
	p := newProvider(t)
	cfg := p.config()
	adjust(&cfg)
	h := setup(t, cfg)
	p.clock = h.clock
	return h, p
}

func asIs(*auth.OutsideIssuer) {}

func TestOutsideAlgorithms(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p.add("ec", ecKey(t))
	p.add("rsa", rsaKey(t, 2048))
	p.add("ed", ed)
	for kid, method := range map[string]jwt.SigningMethod{"ec": jwt.SigningMethodES256, "rsa": jwt.SigningMethodRS256, "ed": jwt.SigningMethodEdDSA} {
		token := p.sign(method, kid, unchanged)
		who, err := h.authn.Authenticate(t.Context(), token)
		require.NoError(t, err, kid)
		require.Equal(t, auth.Identity{
			ClientID: "idp:alice", Kind: auth.KindUser, Tenant: "acme", Scopes: []string{"orders:read", "orders:write"},
			ExpiresAt: who.ExpiresAt,
		}, who)
		require.Equal(t, http.StatusOK, h.get("/v1/orders", token).Code)
	}
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		h.refuses(p.sign(method, "rsa", unchanged), method.Alg())
	}
	require.Equal(t, 1, p.fetched())
	h.token(h.user())
}

func TestOutsideClaims(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	p.add("ec", ecKey(t))
	sign := func(name string, value any) string {
		return p.sign(jwt.SigningMethodES256, "ec", func(_ map[string]any, claims jwt.MapClaims) { claims[name] = value })
	}
	for name, token := range map[string]string{
		"other aud": sign("aud", "orderstore"), "our iss": sign("iss", issuerURL), "expired": sign("exp", h.clock.Now().Unix()),
		"no exp": sign("exp", nil), "operator": sign("party", "operator"), "unknown kind": sign("party", "root"),
		"no tenant": sign("org", ""), "wildcard": sign("org", ">"), "no subject": sign("sub", ""), "no scope of ours": sign("scope", "openid email"),
		"only another kind's scopes": sign("scope", "results:write admin"), "scope is a number": sign("scope", 7),
		"typ JWT": p.sign(jwt.SigningMethodES256, "ec", func(header map[string]any, _ jwt.MapClaims) { header["typ"] = "JWT" }),
	} {
		h.refuses(token, name)
	}
	who, err := h.authn.Authenticate(t.Context(), sign("scope", []string{"orders:read", "admin", "email"}))
	require.NoError(t, err)
	require.Equal(t, []string{"orders:read"}, who.Scopes)
	who, err = h.authn.Authenticate(t.Context(), sign("client_id", "shop-7"))
	require.NoError(t, err)
	require.Equal(t, "idp:shop-7", who.ClientID)
}

func TestOutsideConfiguration(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, func(cfg *auth.OutsideIssuer) {
		cfg.KindClaim, cfg.Kind, cfg.Kinds = "", auth.KindOperator, []auth.Kind{auth.KindOperator}
		cfg.TenantClaim, cfg.ScopeClaim, cfg.AcceptJWT = "", "roles", true
	})
	p.add("ec", ecKey(t))
	token := p.sign(jwt.SigningMethodES256, "ec", func(header map[string]any, claims jwt.MapClaims) {
		header["typ"] = "JWT"
		claims["roles"] = []string{"admin"}
	})
	who, err := h.authn.Authenticate(t.Context(), token)
	require.NoError(t, err)
	require.Equal(t, auth.Identity{ClientID: "idp:alice", Kind: auth.KindOperator, Scopes: []string{"admin"}, ExpiresAt: who.ExpiresAt}, who)
	own := h.forge(func(header map[string]any, _ jwt.MapClaims) { header["typ"] = "JWT" })
	h.refuses(own, "our own tokens stay strict")
}

// Keys are never taken from an issuer for another one's tokens.
func TestOutsideKeyForOurIssuer(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	kid, ours := h.signingKey()
	p.add("ec", ecKey(t))
	p.add(kid, ecKey(t)) // the same kid as ours
	h.refuses(p.sign(jwt.SigningMethodES256, kid, func(_ map[string]any, claims jwt.MapClaims) {
		claims["iss"], claims["aud"], claims["client_id"], claims["kind"], claims["tenant"] = issuerURL, "orderstore", "c_1", "user", "demo"
	}), "an outside key for our issuer")
	_, err := h.authn.Authenticate(t.Context(), p.sign(jwt.SigningMethodES256, kid, unchanged))
	require.NoError(t, err)
	p.private[kid] = ours
	h.refuses(p.sign(jwt.SigningMethodES256, kid, func(_ map[string]any, claims jwt.MapClaims) { claims["sub"] = "bob" }), "our key for an outside issuer")
}

// Case 4 for outside keys: an unknown kid fetches, at most every 30 s; known keys serve on while the issuer is away.
func TestOutsideFetchesAreLimited(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	p.add("first", ecKey(t))
	sign := func(kid, subject string) string {
		return p.sign(jwt.SigningMethodES256, kid, func(_ map[string]any, claims jwt.MapClaims) { claims["sub"] = subject })
	}
	_, err := h.authn.Authenticate(t.Context(), sign("first", "a"))
	require.NoError(t, err)
	p.add("second", ecKey(t))
	for range 50 {
		h.refuses(sign("second", "a"), "not fetched yet")
	}
	require.Equal(t, 1, p.fetched())

	h.clock.Advance(30 * time.Second)
	_, err = h.authn.Authenticate(t.Context(), sign("second", "a"))
	require.NoError(t, err)
	require.Equal(t, 2, p.fetched())

	p.breakWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	h.clock.Advance(time.Hour)
	_, err = h.authn.Authenticate(t.Context(), sign("first", "b"))
	require.NoError(t, err, "known keys serve on")
	require.Equal(t, 3, p.fetched(), "but were looked up, being an hour old")
}

// A key that the issuer has withdrawn ends the tokens it signed, the remembered ones too, once the keys are fetched again.
func TestOutsideKeyWithdrawn(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	p.add("old", ecKey(t))
	old := p.sign(jwt.SigningMethodES256, "old", unchanged)
	_, err := h.authn.Authenticate(t.Context(), old)
	require.NoError(t, err)
	p.mu.Lock()
	p.keys = nil
	p.mu.Unlock()
	p.add("new", ecKey(t))
	h.clock.Advance(time.Minute)
	_, err = h.authn.Authenticate(t.Context(), p.sign(jwt.SigningMethodES256, "new", unchanged))
	require.NoError(t, err)
	h.refuses(old, "withdrawn key")
}

func TestOutsideIssuerAway(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]http.HandlerFunc{
		"status":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"rubbish": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"endless": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat(" ", 2<<20))) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, p := outsideSetup(t, asIs)
			p.add("ec", ecKey(t))
			p.breakWith(broken)
			token := p.sign(jwt.SigningMethodES256, "ec", unchanged)
			for range 2 {
				_, err := h.authn.Authenticate(t.Context(), token)
				require.Equal(t, fault.Unavailable, fault.CodeOf(err))
			}
			require.Equal(t, 1, p.fetched())
			_, err := h.authn.Authenticate(t.Context(), h.token(h.user()))
			require.NoError(t, err, "our own tokens do not need it")
			p.breakWith(nil)
			h.clock.Advance(30 * time.Second)
			_, err = h.authn.Authenticate(t.Context(), token)
			require.NoError(t, err)
		})
	}
}

// Keys that are too weak, of another kind or for another use are not used; the good one beside them is.
func TestOutsideUnusableKeys(t *testing.T) {
	t.Parallel()
	h, p := outsideSetup(t, asIs)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p.add("weak", rsaKey(t, 1024))
	p.add("p384", p384)
	p.add("enc", ecKey(t))
	p.change("enc", "use", "enc")
	p.add("alg", ecKey(t))
	p.change("alg", "alg", "ES512")
	p.add("off curve", ecKey(t))
	p.change("off curve", "x", base64.RawURLEncoding.EncodeToString(make([]byte, 32)))
	p.add("short", ecKey(t))
	p.change("short", "y", "AA")
	p.add("exponent", rsaKey(t, 2048))
	p.change("exponent", "e", "AQ")
	p.add("", ecKey(t))
	p.add("good", ecKey(t))
	_, err = h.authn.Authenticate(t.Context(), p.sign(jwt.SigningMethodES256, "good", unchanged))
	require.NoError(t, err)
	h.refuses(p.sign(jwt.SigningMethodRS256, "weak", unchanged), "weak")
	h.refuses(p.sign(jwt.SigningMethodES384, "p384", unchanged), "p384")
	h.refuses(p.sign(jwt.SigningMethodRS256, "exponent", unchanged), "exponent")
	for _, kid := range []string{"enc", "alg", "off curve", "short", ""} {
		h.refuses(p.sign(jwt.SigningMethodES256, kid, unchanged), kid)
	}
}
