package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// signatures keeps those that a store was sent, and refuses the first.
type signatures struct {
	mu   sync.Mutex
	seen []string
	body []string
}

func (s *signatures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.body = append(s.seen, r.Header.Get("Order-Signature")), append(s.body, r.Header.Get("Authorization")+string(body))
	if len(s.seen) == 1 {
		answer(w, http.StatusUnauthorized, map[string]any{"type": "/problems/unauthorized", "status": 401})
		return
	}
	answer(w, http.StatusCreated, map[string]any{"id": "0199"})
}

// A refused signature may be one that was sent twice on the way: the request is signed anew, once, with another nonce and the same body.
func TestRefusedRequestIsSignedAnew(t *testing.T) {
	t.Parallel()
	store := &signatures{}
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{BaseURL: server.URL, RequestKey: &client.RequestKey{KeyID: "k_1", Secret: "s"}})
	require.NoError(t, err)
	_, err = c.SubmitOrder(t.Context(), client.OrderSubmission{Channel: "web"})
	require.NoError(t, err)
	require.Len(t, store.seen, 2)
	assert.Regexp(t, `^keyid="k_1", timestamp="\d+", nonce="[A-Z2-7]{26}", signature="[A-Za-z0-9+/]{43}="$`, store.seen[0])
	nonce := regexp.MustCompile(`nonce="\w+"`)
	assert.NotEqual(t, nonce.FindString(store.seen[0]), nonce.FindString(store.seen[1]))
	assert.Equal(t, store.body[0], store.body[1])
	assert.True(t, strings.HasPrefix(store.body[0], `{"`), "no token, and the body")
}

func TestSignedBodyIsBounded(t *testing.T) {
	t.Parallel()
	for size, ok := range map[int]bool{8 << 20: true, 8<<20 + 1: false} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(strings.Repeat("x", size)))
		err := client.RequestKey{KeyID: "k", Secret: "s"}.Sign(req, time.Now())
		assert.Equal(t, ok, err == nil, "%d: %v", size, err)
		assert.False(t, client.Temporary(err), "no other attempt mends it")
	}
}

func TestRequestKeyStandsAlone(t *testing.T) {
	t.Parallel()
	key := &client.RequestKey{KeyID: "k", Secret: "s"}
	for _, cfg := range []client.Config{{RequestKey: &client.RequestKey{KeyID: "k"}}, {RequestKey: key, ClientID: "c", ClientSecret: "s"}} {
		cfg.BaseURL = "http://store"
		require.ErrorContains(t, cfg.Validate(), "signing key")
	}
}

// A party that cannot fetch tokens signs each of its requests with the key that an operator gave it.
func ExampleRequestKey() {
	store := exampleStore()
	defer store.Close()
	c, err := client.New(client.Config{BaseURL: store.URL, RequestKey: &client.RequestKey{KeyID: "k_0a1b", Secret: "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	placed, err := c.SubmitOrder(ctx, client.OrderSubmission{
		Channel: "pos", ExternalRef: "A-1001", BusinessType: "retail.erp", Currency: "EUR",
		Lines: []client.LineSubmission{{SKU: "MUG-01", Quantity: 2, UnitPrice: 1250}},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(placed.ExternalRef, placed.Status)
	// Output: A-1001 routed
}
