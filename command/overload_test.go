package command

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// everyUser lets everybody in as a user of one tenant. Tokens are tested with package auth.
type everyUser struct{}

func (everyUser) Authenticate(context.Context, string) (auth.Identity, error) {
	return auth.Identity{ClientID: "c", Kind: auth.KindUser, Tenant: "demo", Scopes: auth.DefaultScopes(auth.KindUser)}, nil
}

func (everyUser) Check(auth.Identity) error { return nil }

// serve mounts the write routes, and one read, on a server of their own, behind the admission of a node.
func (b *bench) serve() *httptest.Server {
	b.t.Helper()
	e, err := httpapi.New(httpapi.Config{Log: slog.New(slog.DiscardHandler)})
	require.NoError(b.t, err)
	admission := httpapi.NewAdmission(httpapi.AdmissionConfig{Pressure: b.committer.Pressure})
	admission.Mount(e, everyUser{}, append(Routes(b.committer, nil), httpapi.Route{
		Method: http.MethodGet, Path: "/v1/orders/:id", Scope: auth.ScopeOrdersRead,
		Handler: func(c echo.Context, _ auth.Identity) error { return c.NoContent(http.StatusNoContent) },
	}))
	server := httptest.NewServer(e)
	b.t.Cleanup(server.Close)
	server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 256
	return server
}

// ask sends one request and gives status and Retry-After in seconds.
func (b *bench) ask(s *httptest.Server, method, path, body string) (status, after int) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(b.t.Context()), method, s.URL+path, strings.NewReader(body))
	if err != nil { // in a goroutine of the test's
		b.t.Errorf("%s %s: %v", method, path, err)
		return 0, 0
	}
	req.Header.Set("Authorization", "Bearer t")
	req.Header.Set("Content-Type", "application/json")
	answer, err := s.Client().Do(req)
	if err != nil { // in a goroutine of the test's
		b.t.Errorf("%s %s: %v", method, path, err)
		return 0, 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	if answer.StatusCode == http.StatusServiceUnavailable {
		after, err = strconv.Atoi(answer.Header.Get("Retry-After"))
		assert.NoError(b.t, err)
	}
	return answer.StatusCode, after
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A committer that is stuck (here behind another's lock on the log's head) costs a bounded time and bounded memory: every request is
// answered, reads are given up before orders, and afterwards all goes on by itself.
func TestStalledCommitterShedsLoad(t *testing.T) {
	t.Parallel()
	const senders, memory = 2000, 256 << 20
	b := setup(t)
	server := b.serve()
	b.place("before")
	status, _ := b.ask(server, http.MethodGet, "/v1/orders/1", "")
	require.Equal(t, http.StatusNoContent, status)

	lock, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = lock.Exec(t.Context(), `SELECT * FROM log_head FOR UPDATE`)
	require.NoError(t, err)

	before, began := heap(), time.Now()
	padding := strings.Repeat("x", 900)
	var mu sync.Mutex
	answers := map[int]int{}
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			body := strings.Replace(order("stalled-"+strconv.Itoa(i)), `"shipping"`, `"attributes":{"note":"`+padding+`"},"shipping"`, 1)
			status, after := b.ask(server, http.MethodPost, "/v1/orders", body)
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
			assert.Positive(t, after)
		})
	}
	require.Eventually(t, func() bool { return b.committer.Pressure() > 0.5 }, 10*time.Second, time.Millisecond)
	read, after := b.ask(server, http.MethodGet, "/v1/orders/1", "")
	require.Equal(t, http.StatusServiceUnavailable, read, "reads are given up first")
	require.Positive(t, after)
	require.Eventually(t, func() bool { return b.committer.Pressure() > 1 }, 10*time.Second, time.Millisecond)
	quick := time.Now()
	status, _ = b.ask(server, http.MethodPost, "/v1/orders", order("too-late"))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Less(t, time.Since(quick), answerWithin/2, "refused at once, without a place in the queue")
	require.Less(t, heap(), before+memory)
	wg.Wait()
	require.Less(t, time.Since(began), answerWithin+5*time.Second)
	require.Equal(t, map[int]int{http.StatusServiceUnavailable: senders}, answers)

	require.NoError(t, lock.Rollback(t.Context()))
	require.Eventually(t, func() bool {
		status, _ := b.ask(server, http.MethodPost, "/v1/orders", order("after"))
		return status == http.StatusCreated || status == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond)
	status, _ = b.ask(server, http.MethodGet, "/v1/orders/1", "")
	require.Equal(t, http.StatusNoContent, status)
	v := b.verified()
	require.LessOrEqual(t, v.Orders, int64(2+roundLength), "of those that were refused, only the round under way is stored")
}
