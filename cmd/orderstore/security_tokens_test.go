package main

import (
	"bufio"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/postgres"
)

// signer is the key that the running program signs with.
type signer struct {
	d   *doors
	kid string
	key *ecdsa.PrivateKey
}

func (d *doors) primary() *pgxpool.Pool {
	d.t.Helper()
	pool, err := postgres.Open(d.t.Context(), d.at.PostgresWrite, postgres.PoolConfig{Name: "test", MaxConns: 1})
	require.NoError(d.t, err)
	d.t.Cleanup(pool.Close)
	return pool
}

func (d *doors) signer() *signer {
	d.t.Helper()
	s, der := &signer{d: d}, []byte(nil)
	require.NoError(d.t, d.primary().QueryRow(d.t.Context(), `SELECT kid, private_key FROM signing_keys ORDER BY generation LIMIT 1`).Scan(&s.kid, &der))
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	require.NoError(d.t, err)
	key, ok := parsed.(*ecdsa.PrivateKey)
	require.True(d.t, ok)
	s.key = key
	return s
}

func (s *signer) token(method jwt.SigningMethod, key any, change func(header map[string]any, claims jwt.MapClaims)) string {
	s.d.t.Helper()
	now, id := time.Now(), s.d.as.User.ClientID
	claims := jwt.MapClaims{
		"iss": s.d.at.HTTP, "aud": "orderstore", "sub": id, "client_id": id, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": "1", "scope": "orders:read", "kind": "user", "tenant": "demo",
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["typ"], token.Header["kid"] = "at+jwt", s.kid
	change(token.Header, claims)
	signed, err := token.SignedString(key)
	require.NoError(s.d.t, err)
	return signed
}

func (s *signer) signed(change func(header map[string]any, claims jwt.MapClaims)) string {
	s.d.t.Helper()
	return s.token(jwt.SigningMethodES256, s.key, change)
}

func asItIs(map[string]any, jwt.MapClaims) {}

func (d *doors) refuses(token, why string) {
	d.t.Helper()
	answer, header := d.send(http.MethodGet, token, "/v1/orders", "")
	require.Equal(d.t, http.StatusUnauthorized, answer.status, why)
	require.Contains(d.t, header.Get("WWW-Authenticate"), "Bearer", why)
	require.Contains(d.t, answer.body, "/problems/unauthorized", why)
}

func tokensAreRefused(d *doors) {
	s := d.signer()
	good := s.signed(asItIs)
	answer, _ := d.send(http.MethodGet, good, "/v1/orders", "")
	require.Equal(d.t, http.StatusOK, answer.status, "what is changed below is a good token: %s", answer.body)

	d.refuses("", "case 1: no token")
	d.refuses(s.token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, asItIs), "case 2: alg none")
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	require.NoError(d.t, err)
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		d.refuses(s.token(jwt.SigningMethodHS256, secret, asItIs), "case 3: key confusion")
	}
	for _, kid := range []any{"../../../../dev/null", "' OR 1=1--", "'; DROP TABLE signing_keys;--", "\x00", 7} {
		d.refuses(s.token(jwt.SigningMethodHS256, []byte{}, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = kid }), "case 5: kid")
	}
	past, ahead := time.Now().Add(-time.Second).Unix(), time.Now().Add(time.Minute).Unix()
	for why, change := range map[string]func(map[string]any, jwt.MapClaims){
		"case 7: expired":    func(_ map[string]any, c jwt.MapClaims) { c["exp"] = past },
		"case 7: nbf ahead":  func(_ map[string]any, c jwt.MapClaims) { c["nbf"] = ahead },
		"case 8: no exp":     func(_ map[string]any, c jwt.MapClaims) { delete(c, "exp") },
		"case 9: wrong aud":  func(_ map[string]any, c jwt.MapClaims) { c["aud"] = "elsewhere" },
		"case 10: wrong iss": func(_ map[string]any, c jwt.MapClaims) { c["iss"] = "https://evil.example" },
		"case 11: typ":       func(h map[string]any, _ jwt.MapClaims) { h["typ"] = "JWT" },
	} {
		d.refuses(s.signed(change), why)
	}
	for _, at := range []int{3, strings.Index(good, ".") + 9, len(good) - 9} {
		changed := []byte(good)
		changed[at] ^= 1
		d.refuses(string(changed), "case 12: one bit changed")
	}
	answer, _ = d.send(http.MethodGet, "", "/v1/orders?access_token="+good, "")
	require.Equal(d.t, http.StatusUnauthorized, answer.status, "case 14: token in the query")
	d.twoHeaders(good)
}

func (d *doors) twoHeaders(token string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.at.HTTP+"/v1/orders", nil)
	require.NoError(d.t, err)
	req.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
	answer, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	require.NoError(d.t, answer.Body.Close())
	require.Equal(d.t, http.StatusBadRequest, answer.StatusCode, "case 13: two Authorization headers")
}

func unknownKeys(d *doors) {
	s := d.signer()
	unknown := s.signed(func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "nobodys" })
	for range 20 {
		d.refuses(unknown, "unknown kid")
	}
}

// Nobody goes where a token points, nor believes the key it brings.
func keysInTheHeader(d *doors) {
	var calls atomic.Int32
	lure := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	d.t.Cleanup(lure.Close)
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(d.t, err)
	s := d.signer()
	for _, name := range []string{"jku", "x5u", "jwk"} {
		d.refuses(s.token(jwt.SigningMethodES256, mine, func(h map[string]any, _ jwt.MapClaims) { h[name] = lure.URL }), name)
	}
	require.Zero(d.t, calls.Load())
}

func missingScope(d *doors) {
	answer, header := d.send(http.MethodGet, d.narrow("user", "orders:write"), "/v1/orders", "")
	require.Equal(d.t, http.StatusForbidden, answer.status)
	require.Contains(d.t, header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="orders:read"`)
}

func disabledClientIsCut(d *doors) {
	made, err := d.operator().CreateClient(d.t.Context(), client.ClientSpec{Kind: "user", Tenant: "short-lived"})
	require.NoError(d.t, err)
	token, err := d.client(party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}).Token(d.t.Context())
	require.NoError(d.t, err)
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.at.HTTP+"/v1/events", nil)
	require.NoError(d.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	events, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = events.Body.Close() })
	require.Equal(d.t, http.StatusOK, events.StatusCode)
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		_, _ = io.Copy(io.Discard, events.Body)
	}()
	require.NoError(d.t, d.operator().DisableClient(d.t.Context(), made.ClientID))
	require.Eventually(d.t, func() bool {
		answer, _ := d.send(http.MethodGet, token, "/v1/orders", "")
		return answer.status == http.StatusUnauthorized
	}, 60*time.Second, 50*time.Millisecond)
	select {
	case <-cut:
	case <-time.After(60 * time.Second):
		d.t.Fatal("the stream of a disabled client goes on")
	}
}

func guessedSecrets(d *doors) {
	made, err := d.operator().CreateClient(d.t.Context(), client.ClientSpec{Kind: "user", Tenant: "guessed"})
	require.NoError(d.t, err)
	login := func(secret string) (int, string) {
		form := "grant_type=client_credentials&client_id=" + made.ClientID + "&client_secret=" + secret
		answer, header := d.send(http.MethodPost, "", "/oauth/token", form, "Content-Type", "application/x-www-form-urlencoded")
		return answer.status, header.Get("Retry-After")
	}
	for range 19 {
		status, _ := login("wrong")
		require.Equal(d.t, http.StatusUnauthorized, status)
	}
	status, after := login("wrong")
	require.Equal(d.t, http.StatusTooManyRequests, status)
	require.NotEmpty(d.t, after)
	status, _ = login(made.ClientSecret)
	require.Equal(d.t, http.StatusTooManyRequests, status, "the right one has to wait too")
	var stored string
	require.NoError(d.t, d.primary().QueryRow(d.t.Context(), `SELECT clients::text || encode(secret_hash, 'escape') FROM clients WHERE client_id = $1`, made.ClientID).Scan(&stored))
	require.NotContains(d.t, stored, made.ClientSecret)
}

// A header that stalls ends its connection.
func stalledHeader(d *doors) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(d.t.Context(), "tcp", strings.TrimPrefix(d.at.HTTP, "http://"))
	require.NoError(d.t, err)
	d.t.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "))
	require.NoError(d.t, err)
	require.NoError(d.t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err = io.Copy(io.Discard, bufio.NewReader(conn))
	require.NoError(d.t, err, "the server ended it, not the time limit of the test")
}

func gzipped(t *testing.T, content []byte) string {
	t.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.String()
}
