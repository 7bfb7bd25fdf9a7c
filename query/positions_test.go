package query

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
)

func TestReadWaitsForItsPosition(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	answers := make(chan answered)
	go func() { answers <- w.get("demo", "/v1/orders/"+g.id+"?wait=30s", "Order-Position", "3") }()
	go func() { answers <- w.get("demo", "/v1/orders/"+g.id+"?position=2", "Prefer", "respond-async, wait=30") }()
	select {
	case a := <-answers:
		t.Fatalf("answered at position 1: %s", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	w.reach(2)
	(<-answers).is(http.StatusOK).at(2)
	w.reach(3)
	(<-answers).is(http.StatusOK).at(3)
}

func TestPositionNotReached(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	for _, path := range []string{"/v1/orders/" + g.id, "/v1/orders/" + g.id + "/timeline", "/v1/orders"} {
		a := w.get("demo", path+"?position=2&wait=10ms").problem(http.StatusServiceUnavailable, fault.NotReached)
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
	a := w.get("acme", "/v1/tasks?position=2&wait=0").problem(http.StatusServiceUnavailable, fault.NotReached)
	require.Equal(t, 1.0, a.json()["position"])
}

// The read database lost its last commit in a crash: what the projection announced is not what can be read.
func TestDatabaseBehindItsAnnouncement(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	w.tips[viewOrders].Set(5)
	a := w.get("demo", "/v1/orders/"+g.id+"?position=5&wait=60ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	require.Equal(t, 1.0, a.json()["position"])
	done := make(chan answered)
	go func() { done <- w.get("demo", "/v1/orders/"+g.id+"?position=5&wait=30s") }()
	w.exec(w.read, `UPDATE checkpoints SET position = 5 WHERE view = 'order_view'`)
	(<-done).is(http.StatusOK).at(5)
}

func TestNotFoundOnlyAtTheStreamsEnd(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{})
	missing := newID(t)
	w.get("demo", "/v1/orders/"+missing).problem(http.StatusNotFound, fault.NotFound).at(1)
	w.end.Store(2)
	w.get("demo", "/v1/orders/"+missing+"?wait=10ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	w.get("demo", "/v1/orders/"+missing+"/timeline?wait=10ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	w.get("demo", "/v1/orders/"+missing+"?position=1&wait=10ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	w.get("demo", "/v1/orders/"+missing+"/timeline?position=1&wait=10ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	done := make(chan answered)
	go func() { done <- w.get("demo", "/v1/orders/"+missing+"?wait=30s") }()
	select {
	case a := <-done:
		t.Fatalf("answered before the end was reached: %s", a.body)
	case <-time.After(50 * time.Millisecond):
	}
	w.store(given{id: missing})
	(<-done).is(http.StatusOK).at(2)
	w.end.Store(-1)
	a := w.get("demo", "/v1/orders/"+newID(t)).problem(http.StatusServiceUnavailable, fault.Unavailable)
	require.NotContains(t, string(a.body), "broker")
}

func TestPollerSeesAnotherProcessProject(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	p := NewPoller(w.read, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	cfg := w.config()
	cfg.Positions = p
	server := w.serve(cfg)
	w.getFrom(server, "demo", "/v1/orders/"+g.id+"?position=1").is(http.StatusOK).at(1)
	answers := make(chan answered, 20)
	for range cap(answers) {
		go func() { answers <- w.getFrom(server, "demo", "/v1/orders/"+g.id+"?position=9&wait=30s") }()
	}
	w.exec(w.read, `UPDATE checkpoints SET position = 9`)
	for range cap(answers) {
		(<-answers).is(http.StatusOK).at(9)
	}
	require.Equal(t, int64(9), p.Position(viewTasks))
	w.getFrom(server, "demo", "/v1/orders/"+g.id+"?position=10&wait=20ms").problem(http.StatusServiceUnavailable, fault.NotReached)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("Run returned %v", err)
	}
}
