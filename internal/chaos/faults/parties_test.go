package faults_test

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos/faults"
)

// town is one provider, whose endpoint is a real one that is called all the time.
type town struct {
	mu      sync.Mutex
	first   func(w http.ResponseWriter, r *http.Request) bool
	waiting int // to be forgotten
}

func (c *town) Crowd() faults.Crowd { return c }
func (c *town) Parties() []string   { return []string{"provider"} }
func (c *town) Rewind(_ context.Context, _ string, events int) (int, error) {
	return min(events, c.waiting), nil
}

func (c *town) Intercept(by func(w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = by
}

func (c *town) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	first := c.first
	c.mu.Unlock()
	if first == nil || !first(w, r) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// An endpoint misbehaves in its manner, is seen to, and answers again after that.
func TestEndpointsMisbehaveForAWhile(t *testing.T) {
	t.Parallel()
	for _, fault := range faults.Endpoints[*town]() {
		t.Run(fault.Kind, func(t *testing.T) {
			t.Parallel()
			c := &town{}
			server := httptest.NewServer(c)
			t.Cleanup(server.Close)
			caller := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			call := func(ctx context.Context) bool {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, http.NoBody)
				require.NoError(t, err)
				answer, err := caller.Do(req)
				if err != nil {
					return false
				}
				defer func() { _ = answer.Body.Close() }()
				_, err = io.ReadAll(answer.Body)
				return err == nil && answer.StatusCode == http.StatusNoContent
			}
			ctx, stop := context.WithCancel(t.Context())
			var caught sync.WaitGroup
			caught.Go(func() {
				for ctx.Err() == nil {
					call(ctx)
				}
			})
			bite, err := fault.Inject(t.Context(), c, rand.New(rand.NewPCG(1, 1))) //nolint:gosec // moments, no secrets
			require.NoError(t, err)
			require.NotEmpty(t, bite.Evidence)
			require.True(t, call(t.Context()), "it answers again")
			stop()
			caught.Wait()
		})
	}
}

func TestAPartyThatForgotNothingWasNotBitten(t *testing.T) {
	t.Parallel()
	for waiting, bites := range map[int]bool{0: false, 100: true} {
		bite, err := faults.PartyOlder[*town]().Inject(t.Context(), &town{waiting: waiting}, rand.New(rand.NewPCG(1, 1))) //nolint:gosec // no secrets
		require.NoError(t, err)
		require.Equal(t, bites, bite.Evidence != "")
		require.Equal(t, "provider", bite.Target)
	}
}
