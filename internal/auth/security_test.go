package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

// forge signs claims that differ from a good token's, with the issuer's own key, as a broken issuer would.
func (h *house) forge(change func(header map[string]any, claims jwt.MapClaims)) string {
	h.t.Helper()
	kid, key := h.signingKey()
	now := h.clock.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": issuerURL, "aud": "orderstore", "sub": "c_1", "client_id": "c_1", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": "1", "scope": "orders:read", "kind": "user", "tenant": "demo",
	})
	token.Header["typ"] = "at+jwt"
	token.Header["kid"] = kid
	claims, ok := token.Claims.(jwt.MapClaims)
	require.True(h.t, ok)
	change(token.Header, claims)
	signed, err := token.SignedString(key)
	require.NoError(h.t, err)
	return signed
}

func (h *house) signingKey() (kid string, key *ecdsa.PrivateKey) {
	h.t.Helper()
	var der []byte
	require.NoError(h.t, h.pool.QueryRow(h.t.Context(), `SELECT kid, private_key FROM signing_keys ORDER BY generation LIMIT 1`).Scan(&kid, &der))
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	require.NoError(h.t, err)
	key, ok := parsed.(*ecdsa.PrivateKey)
	require.True(h.t, ok)
	return kid, key
}

func (h *house) refuses(token, why string) {
	h.t.Helper()
	rec := h.get("/v1/orders", token)
	require.Equal(h.t, http.StatusUnauthorized, rec.Code, why)
	require.Contains(h.t, rec.Header().Get("WWW-Authenticate"), `error="invalid_token"`, why)
	require.Contains(h.t, rec.Body.String(), "/problems/unauthorized", why)
}

func unchanged(map[string]any, jwt.MapClaims) {}

func raw(t *testing.T, header, claims map[string]any, signature []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	require.NoError(t, err)
	c, err := json.Marshal(claims)
	require.NoError(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	return enc(h) + "." + enc(c) + "." + enc(signature)
}

func TestCase1NoToken(t *testing.T) {
	t.Parallel()
	h := setup(t)
	rec := h.send(http.MethodGet, "/v1/orders", "")
	require.Equal(t, http.StatusUnauthorized, rec.Code)
	require.Equal(t, `Bearer realm="orderstore"`, rec.Header().Get("WWW-Authenticate"))
	require.Equal(t, http.StatusOK, h.get("/v1/orders", h.forge(unchanged)).Code, "what the cases below change is a good token")
}

func TestCase2AlgNone(t *testing.T) {
	t.Parallel()
	h := setup(t)
	kid, _ := h.signingKey()
	claims := map[string]any{
		"iss": issuerURL, "aud": "orderstore", "sub": "c_1", "client_id": "c_1", "exp": h.clock.Now().Add(time.Minute).Unix(),
		"scope": "orders:read", "kind": "user", "tenant": "demo",
	}
	for _, alg := range []any{"none", "None", "NONE", "", nil, "ES384", "RS256", 7} {
		h.refuses(raw(t, map[string]any{"alg": alg, "typ": "at+jwt", "kid": kid}, claims, nil), "unsigned")
		h.refuses(raw(t, map[string]any{"alg": alg, "typ": "at+jwt", "kid": kid}, claims, make([]byte, 64)), "zeros as signature")
	}
	h.refuses(raw(t, map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": kid}, claims, make([]byte, 64)), "r = s = 0")
	h.refuses(raw(t, map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": kid}, claims, nil), "no signature")
}

func TestCase3KeyConfusion(t *testing.T) {
	t.Parallel()
	h := setup(t)
	kid, key := h.signingKey()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	point, err := key.PublicKey.Bytes()
	require.NoError(t, err)
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), point} {
		for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
			token := jwt.NewWithClaims(method, jwt.MapClaims{
				"iss": issuerURL, "aud": "orderstore", "client_id": "c_1", "exp": h.clock.Now().Add(time.Minute).Unix(),
				"scope": "orders:read", "kind": "user", "tenant": "demo",
			})
			token.Header["typ"], token.Header["kid"] = "at+jwt", kid
			signed, err := token.SignedString(secret)
			require.NoError(t, err)
			h.refuses(signed, method.Alg())
		}
	}
}

// An unknown kid makes the keys be read again, five times at once and then once a second, however many tokens ask. Each
// reading shows by the clients disabled before it: those after the last allowed one stay unseen.
func TestCase4UnknownKid(t *testing.T) {
	t.Parallel()
	h := setup(t)
	unknown := h.forge(func(header map[string]any, _ jwt.MapClaims) { header["kid"] = "unknown" })
	// noticed tells whether a request with an unknown kid made the node read again.
	noticed := func() bool {
		c := h.user()
		token := h.token(c)
		require.Equal(t, http.StatusOK, h.get("/v1/orders", token).Code)
		require.NoError(t, h.store.DisableClient(t.Context(), c.ClientID))
		h.refuses(unknown, "unknown kid")
		return h.get("/v1/orders", token).Code == http.StatusUnauthorized
	}
	for i := range 5 {
		require.True(t, noticed(), i)
	}
	for i := range 5 {
		require.False(t, noticed(), i)
	}
	h.clock.Advance(time.Second)
	require.True(t, noticed())
	require.False(t, noticed())
}

func TestCase5KidIsAPathOrSQL(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, kid := range []any{
		"../../../../dev/null", "/etc/passwd", "' OR 1=1--", "'; DROP TABLE signing_keys;--", "file:///dev/null", "http://127.0.0.1/",
		"\x00", "", nil, 7,
		[]string{"a"},
		map[string]any{"a": 1},
		strings.Repeat("k", 4_000),
	} {
		h.refuses(h.forge(func(header map[string]any, _ jwt.MapClaims) { header["kid"] = kid }), "kid")
		// Signed with an empty HMAC key, as /dev/null would be.
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": issuerURL})
		token.Header["typ"], token.Header["kid"] = "at+jwt", kid
		signed, err := token.SignedString([]byte{})
		require.NoError(t, err)
		h.refuses(signed, "empty key")
	}
	require.Equal(t, http.StatusOK, h.get("/v1/orders", h.forge(unchanged)).Code)
}

// A token that brings its own key is refused, and nobody goes where it points.
func TestCase6KeyInTheHeader(t *testing.T) {
	t.Parallel()
	h := setup(t)
	var calls atomic.Int32
	lure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(lure.Close)
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := mine.PublicKey.Bytes()
	require.NoError(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	jwk := map[string]any{"kty": "EC", "crv": "P-256", "x": enc(point[1:33]), "y": enc(point[33:]), "kid": "mine"}
	ownKid, _ := h.signingKey()
	for name, header := range map[string]map[string]any{
		"jku": {"jku": lure.URL}, "jwk": {"jwk": jwk}, "x5u": {"x5u": lure.URL}, "x5c": {"x5c": []string{"MIIB"}},
		"crit": {"crit": []string{"jku"}, "jku": lure.URL},
	} {
		for _, kid := range []string{"mine", ownKid} {
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
				"iss": issuerURL, "aud": "orderstore", "client_id": "c_1", "exp": h.clock.Now().Add(time.Minute).Unix(),
				"scope": "orders:read", "kind": "user", "tenant": "demo",
			})
			token.Header["typ"], token.Header["kid"] = "at+jwt", kid
			for k, v := range header {
				token.Header[k] = v
			}
			signed, err := token.SignedString(mine)
			require.NoError(t, err)
			h.refuses(signed, name)
		}
	}
	h.refuses(h.forge(func(header map[string]any, _ jwt.MapClaims) { header["crit"] = []string{"b64"} }), "crit")
	require.Zero(t, calls.Load())
}

func TestCases7To11Claims(t *testing.T) {
	t.Parallel()
	h := setup(t)
	now := h.clock.Now()
	type change = func(header map[string]any, claims jwt.MapClaims)
	set := func(name string, value any) change {
		return func(_ map[string]any, claims jwt.MapClaims) { claims[name] = value }
	}
	drop := func(name string) change {
		return func(_ map[string]any, claims jwt.MapClaims) { delete(claims, name) }
	}
	typ := func(value any) change {
		return func(header map[string]any, _ jwt.MapClaims) { header["typ"] = value }
	}
	for name, c := range map[string]change{
		"7 expired":            set("exp", now.Add(-time.Second).Unix()),
		"7 expires now":        set("exp", now.Unix()),
		"7 nbf ahead":          set("nbf", now.Add(time.Minute).Unix()),
		"8 no exp":             drop("exp"),
		"8 exp is null":        set("exp", nil),
		"8 exp is text":        set("exp", "2100-01-01"),
		"9 wrong aud":          set("aud", "elsewhere"),
		"9 no aud":             drop("aud"),
		"9 empty aud":          set("aud", []string{}),
		"9 aud of another":     set("aud", []string{"elsewhere", "orderstore2"}),
		"10 wrong iss":         set("iss", "https://evil.example"),
		"10 iss with a slash":  set("iss", issuerURL+"/"),
		"10 no iss":            drop("iss"),
		"10 iss is a list":     set("iss", []string{issuerURL}),
		"11 typ JWT":           typ("JWT"),
		"11 no typ":            typ(""),
		"11 typ is a number":   typ(1),
		"11 id token":          typ("id_token+jwt"),
		"no client":            drop("client_id"),
		"no kind":              drop("kind"),
		"unknown kind":         set("kind", "root"),
		"user without tenant":  drop("tenant"),
		"tenant is a wildcard": set("tenant", "*"),
		"two parties":          set("provider", "p1"),
		"scope of an operator": set("scope", "orders:read admin"),
	} {
		h.refuses(h.forge(c), name)
	}
	for name, c := range map[string]change{
		"aud among others":  set("aud", []string{"elsewhere", "orderstore"}),
		"long media type":   typ("application/at+jwt"),
		"any case of typ":   typ("AT+JWT"),
		"nbf now":           set("nbf", now.Unix()),
		"one more second":   set("exp", now.Add(time.Second).Unix()),
		"unknown claims":    set("groups", []string{"admin"}),
		"operator as group": set("roles", "operator"),
	} {
		require.Equal(t, http.StatusOK, h.get("/v1/orders", h.forge(c)).Code, name)
	}
}

// Every bit of a token, the unused ones of its last base64 characters included.
func TestCase12OneBitChanged(t *testing.T) {
	t.Parallel()
	h := setup(t)
	good := h.forge(unchanged)
	require.Equal(t, http.StatusOK, h.get("/v1/orders", good).Code)
	for i := range len(good) {
		for _, bit := range []byte{1, 2, 4, 32} {
			changed := []byte(good)
			changed[i] ^= bit
			if string(changed) == good {
				continue
			}
			_, err := h.authn.Authenticate(t.Context(), string(changed))
			require.Error(t, err, "byte %d, bit %d", i, bit)
		}
	}
	for _, changed := range []string{good + "=", good + "A", good + ".", "." + good, good[:len(good)-1], strings.ToUpper(good), " " + good} {
		_, err := h.authn.Authenticate(t.Context(), changed)
		require.Error(t, err)
	}
	_, err := h.authn.Authenticate(t.Context(), strings.Repeat("a", 9<<10))
	require.Error(t, err)
}

func TestCase13TwoHeaders(t *testing.T) {
	t.Parallel()
	h := setup(t)
	token := h.forge(unchanged)
	rec := h.send(http.MethodGet, "/v1/orders", "", "Authorization: Bearer "+token, "Authorization: Bearer "+token)
	require.Equal(t, http.StatusBadRequest, rec.Code)
}

func TestCase14TokenInTheQuery(t *testing.T) {
	t.Parallel()
	h := setup(t)
	token := h.forge(unchanged)
	require.Equal(t, http.StatusUnauthorized, h.send(http.MethodGet, "/v1/orders?access_token="+token, "").Code)
	require.Equal(t, http.StatusUnauthorized, h.get("/v1/orders?access_token="+token, token).Code)
}

func TestCase15MissingScope(t *testing.T) {
	t.Parallel()
	h := setup(t)
	token := h.forge(func(_ map[string]any, claims jwt.MapClaims) { claims["scope"] = "orders:write" })
	rec := h.get("/v1/orders", token)
	require.Equal(t, http.StatusForbidden, rec.Code)
	require.Contains(t, rec.Header().Get("WWW-Authenticate"), `error="insufficient_scope", scope="orders:read"`)
	require.Equal(t, http.StatusForbidden, h.get("/v1/admin/lag", h.token(h.client(auth.NewClient{Kind: auth.KindProvider, Provider: "p"}))).Code)
	require.Equal(t, http.StatusOK, h.get("/v1/admin/lag", h.token(h.client(auth.NewClient{Kind: auth.KindOperator}))).Code)
}

// Case 17: comparing is in constant time by subtle.ConstantTimeCompare over hashes; here, that a hash itself is no secret.
func TestCase17HashIsNoSecret(t *testing.T) {
	t.Parallel()
	h := setup(t)
	c := h.user()
	sum := sha256.Sum256([]byte(c.ClientSecret))
	for _, wrong := range []string{string(sum[:]), c.ClientSecret[:42], c.ClientSecret + "x", strings.ToLower(c.ClientSecret)} {
		require.Equal(t, 401, h.post(grant(), basic(c.ClientID, wrong)).Code)
	}
}
