package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// contract is an HTTP server that issues tokens and leaves every other route to a test. It is about the transport: what a
// store does with orders is tested against the real one.
type contract struct {
	*httptest.Server

	mu      sync.Mutex
	issued  int
	served  int
	life    int64 // seconds
	revoked map[string]bool
	pauses  []time.Duration
	token   http.HandlerFunc // instead of issuing one
}

func setup(t *testing.T, api http.HandlerFunc) (*client.Client, *contract) {
	t.Helper()
	s := &contract{life: 900, revoked: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/token", s.issue)
	mux.HandleFunc("/", s.guard(api))
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	c, err := client.New(client.Config{BaseURL: s.URL, ClientID: "a b", ClientSecret: "p:/+%&", HTTPClient: s.Client()})
	require.NoError(t, err)
	c.SetWait(s.pause)
	return c, s
}

// pause records how long the client would have waited.
func (s *contract) pause(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses = append(s.pauses, d)
	return ctx.Err()
}

func (s *contract) issue(w http.ResponseWriter, r *http.Request) {
	if s.token != nil {
		s.token(w, r)
		return
	}
	id, secret, _ := r.BasicAuth()
	if id != "a+b" || secret != "p%3A%2F%2B%25%26" || r.FormValue("grant_type") != "client_credentials" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"unknown client or wrong secret"}`)
		return
	}
	s.mu.Lock()
	s.issued++
	token, life := fmt.Sprintf("token-%d", s.issued), s.life
	s.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": life})
}

func (s *contract) guard(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		refused := s.revoked[r.Header.Get("Authorization")] || r.Header.Get("Authorization") == ""
		s.mu.Unlock()
		if refused {
			problem(w, http.StatusUnauthorized, "unauthorized", "a valid access token is needed")
			return
		}
		// A connection that is cut tells the race detector nothing: the lock says that this request was before the next one.
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.served++
		}()
		next(w, r)
	}
}

func (s *contract) revoke(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range tokens {
		s.revoked["Bearer "+token] = true
	}
}

func (s *contract) tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

func (s *contract) waited() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.pauses...)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func problem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "/problems/" + code, "status": status, "detail": detail})
}

// cut ends the connection without an answer, or in the middle of one.
func cut(w http.ResponseWriter) {
	panic(http.ErrAbortHandler)
}

func order(ref string) client.OrderSubmission {
	return client.OrderSubmission{
		Channel: "web", ExternalRef: ref, BusinessType: "retail.erp", Currency: "EUR",
		Lines: []client.LineSubmission{{SKU: "A-1", Quantity: 2, UnitPrice: 1250}},
	}
}

func TestConfigNamesAllFaults(t *testing.T) {
	t.Parallel()
	_, err := client.New(client.Config{BaseURL: "orders.example", ClientID: "x", Timeout: -1})
	require.ErrorContains(t, err, "not an http or https address")
	require.ErrorContains(t, err, "go together")
	require.ErrorContains(t, err, "below zero")
}

func TestIDsCannotReachAnotherPath(t *testing.T) {
	t.Parallel()
	var paths []string
	c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		problem(w, http.StatusNotFound, "not_found", "no such resource")
	})
	for _, id := range []string{"a/../b", "%2e", "x?y=1#z", "中"} {
		_, err := c.GetOrder(t.Context(), id, client.GetOptions{})
		require.True(t, client.HasCode(err, client.CodeNotFound), "%s: %v", id, err)
	}
	require.Equal(t, []string{
		"/v1/orders/a%2F..%2Fb", "/v1/orders/%252e", "/v1/orders/x%3Fy=1%23z", "/v1/orders/%E4%B8%AD",
	}, paths)
	for _, id := range []string{"", ".", ".."} {
		_, err := c.GetOrder(t.Context(), id, client.GetOptions{})
		require.ErrorContains(t, err, "cannot be part of an address")
	}
	require.Len(t, paths, 4)
}
