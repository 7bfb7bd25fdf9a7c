package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// traffic is orders and reads that go on until it is stopped. No read may fail, or see a position that goes back.
type traffic struct {
	s      *system
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex
	reads  int
}

// newTraffic submits orders without pause and reads one order, with its timeline and without, lists and tasks.
func (s *system) newTraffic() *traffic {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	tr := &traffic{s: s, cancel: cancel}
	s.t.Cleanup(tr.stop)
	first, err := s.user().SubmitOrder(ctx, sampleOrder("first"))
	require.NoError(s.t, err)
	s.level()
	user, err := s.user().Token(ctx)
	require.NoError(s.t, err)
	provider, err := s.provider().Token(ctx)
	require.NoError(s.t, err)
	path := "/v1/orders/" + first.ID
	for _, read := range []struct{ token, path string }{
		{user, path},
		{user, path + "?include=timeline"},
		{user, "/v1/orders?limit=20&channel=web"},
		{user, "/v1/orders?text=pen&limit=5"},
		{user, "/v1/orders?sku=A-1&limit=5&fields=id,lines.sku"},
		{provider, "/v1/tasks?limit=20"},
		{user, path + "/timeline"},
	} {
		tr.done.Go(func() { tr.read(ctx, read.token, read.path) })
	}
	tr.done.Go(func() {
		by := s.user()
		for ctx.Err() == nil {
			if _, err := by.SubmitOrder(context.WithoutCancel(ctx), sampleOrder("t-"+rand.Text())); err != nil {
				s.t.Errorf("submit: %v", err)
				return
			}
		}
	})
	return tr
}

func (tr *traffic) stop() {
	tr.cancel()
	tr.done.Wait()
}

func (tr *traffic) read(ctx context.Context, token, path string) {
	last := int64(0)
	for ctx.Err() == nil {
		position, err := tr.readOnce(context.WithoutCancel(ctx), token, path)
		if err != nil && strings.Contains(err.Error(), "/problems/overloaded") {
			continue // a machine that is too slow for the orders that come sheds lists first: that is not the rebuild's
		}
		if err != nil || position < last {
			tr.s.t.Errorf("GET %s: position %d after %d: %v", path, position, last, err)
			return
		}
		last = position
		tr.mu.Lock()
		tr.reads++
		tr.mu.Unlock()
	}
}

func (tr *traffic) readOnce(ctx context.Context, token, path string) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, tr.s.at.HTTP+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", answer.Status, body)
	}
	return strconv.ParseInt(answer.Header.Get("Order-Position"), 10, 64)
}

func (s *system) readDB() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.at.PostgresRead)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) })
	return conn
}

func (s *system) ask(conn *pgx.Conn, sql string) string {
	s.t.Helper()
	var answer string
	require.NoError(s.t, conn.QueryRow(s.t.Context(), sql).Scan(&answer))
	return answer
}

// TestRebuildOfARunningInstance kills a rebuild just before the switch, has a second one refused, goes on, and ends on a stopped instance.
// Orders and reads go on all the while.
func TestRebuildOfARunningInstance(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	tr := s.newTraffic()
	db, long := s.readDB(), s.readDB()
	reading, err := long.Begin(t.Context())
	require.NoError(t, err)
	_, err = reading.Exec(t.Context(), `LOCK TABLE order_view IN ACCESS SHARE MODE`) // a read that takes its time
	require.NoError(t, err)

	killed := launch(t, nil, "orderstore", "rebuild", "order_view", "--data", s.data)
	require.Eventually(t, func() bool {
		return s.ask(db, `SELECT count(*)::text FROM pg_stat_activity WHERE application_name = 'orderstore-rebuild' AND query LIKE '%ACCESS EXCLUSIVE%'`) != "0"
	}, startWithin, 10*time.Millisecond, "the rebuild comes to the switch")
	out, status := runCommand(t, "orderstore", "rebuild", "--all", "--data", s.data)
	require.Equal(t, 1, status)
	require.Contains(t, out, "another rebuild is at work on this read database")
	killed.kill()
	require.NoError(t, reading.Rollback(t.Context()))
	require.Equal(t, "1", s.ask(db, `SELECT generation::text FROM checkpoints WHERE view = 'order_view'`))
	require.NotEqual(t, "0", s.ask(db, `SELECT position::text FROM next_views.builds`))

	out, status = runCommand(t, "orderstore", "rebuild", "order_view", "--data", s.data)
	require.Equal(t, 0, status, out)
	require.Contains(t, out, "order_view   generation 2 is live from position")
	require.Contains(t, out, "the former tables are kept")
	out, status = runCommand(t, "orderstore", "rebuild", "--all", "--keep=false", "--data", s.data)
	require.Equal(t, 0, status, out)
	for view, generation := range map[string]int{"order_view": 3, "task_inbox": 2, "timeline": 2, "order_search": 2, "order_facets": 2, "catalog": 2} {
		require.Contains(t, out, fmt.Sprintf("%-12s generation %d is live", view, generation))
		require.Contains(t, out, fmt.Sprintf("dropped generation %d of %s", generation-1, view))
	}
	require.Contains(t, out, "rows equal the former table's")
	tr.stop()
	require.Greater(t, tr.reads, 100)
	s.level()
	require.Contains(t, s.verified(), "switch order_view at position")

	s.terminate()
	out, status = runCommand(t, "orderstore", "rebuild", "timeline", "--data", s.data)
	require.Equal(t, 0, status, out)
	s.verified()
	out, status = runCommand(t, "orderstore", "rebuild", "--drop-old", "--data", s.data)
	require.Equal(t, 0, status, out)
	require.Contains(t, out, "dropped generation 2 of timeline")
	out, status = runCommand(t, "orderstore", "rebuild", "--abort", "--data", s.data)
	require.Equal(t, 0, status, out)
	require.Contains(t, out, "there was nothing half built")
}

// parts is what /readyz says of each part.
func (s *system) parts() (int, map[string]string) {
	s.t.Helper()
	answer := s.get("", "/readyz")
	var r readiness
	require.NoError(s.t, json.Unmarshal([]byte(answer.body), &r), answer.body)
	return answer.status, r.Parts
}

// stoppedAt waits until a view is stopped behind an event, and gives the position of the one that it is stopped at.
func (s *system) stoppedAt(view string, after int64) int64 {
	s.t.Helper()
	at := int64(0)
	require.Eventually(s.t, func() bool {
		lag, err := s.operator().Lag(s.t.Context())
		for _, v := range lag.Views {
			if v.Name == view && v.Stopped != "" && v.Position >= after {
				at = v.Position + 1
			}
		}
		return err == nil && at > 0
	}, startWithin, 20*time.Millisecond, "%s stops", view)
	return at
}

// TestPoisonEventIsSkipped has the database refuse an order's row: the order view stops, says so, and leaves the others running, until an
// operator skips the event.
func TestPoisonEventIsSkipped(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	db := s.readDB()
	_, err := db.Exec(t.Context(), `ALTER TABLE order_view ADD CONSTRAINT no_poison CHECK (external_ref <> 'poison')`)
	require.NoError(t, err)
	_, err = s.user().SubmitOrder(t.Context(), sampleOrder("poison"))
	require.NoError(t, err)
	_, err = s.user().SubmitOrder(t.Context(), sampleOrder("good"))
	require.NoError(t, err)
	at := s.stoppedAt("order_view", 0)
	stopped := fmt.Sprintf("stopped: at %d: ", at)
	require.Eventually(t, func() bool {
		status, parts := s.parts()
		others := parts["view timeline"] == "ok" && parts["view task_inbox"] == "ok"
		return status == http.StatusServiceUnavailable && strings.Contains(parts["view order_view"], stopped) && others
	}, startWithin, 20*time.Millisecond, "order_view stands at %d, the others go on", at)
	out, err := s.verify()
	require.Error(t, err)
	require.Contains(t, out, "the view is stopped")

	out, code := runCommand(t, "orderstore", "skip", "order_view", fmt.Sprint(at), "--data", s.data)
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "say why")
	for range 2 { // the order, and the task that was offered with it
		at = s.stoppedAt("order_view", at-1)
		out, code = runCommand(t, "orderstore", "skip", "order_view", fmt.Sprint(at), "--reason", "a till's test order", "--data", s.data)
		require.Equal(t, 0, code, out)
		at++
	}
	s.level()
	require.Eventually(t, func() bool { status, _ := s.parts(); return status == http.StatusOK }, startWithin, 20*time.Millisecond)
	out = s.verified()
	require.Contains(t, out, "without 2 events that were skipped")
	require.Contains(t, out, fmt.Sprintf("skip order_view at position %d: a till's test order", at-1))
}

// TestEventOfANewerVersionStopsWhatNeedsIt appends an event of a type that nobody here knows.
func TestEventOfANewerVersionStopsWhatNeedsIt(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	order, err := s.user().SubmitOrder(t.Context(), sampleOrder("one"))
	require.NoError(t, err)
	s.level()
	write, err := pgx.Connect(t.Context(), s.at.PostgresWrite)
	require.NoError(t, err)
	defer func() { _ = write.Close(context.WithoutCancel(t.Context())) }()
	var last int64
	var raw []byte
	require.NoError(t, write.QueryRow(t.Context(), `SELECT position, digest FROM log_head`).Scan(&last, &raw))
	body := []byte(`{"cell":1,"type":"order.teleported","version":1,"time":"2026-01-31T12:00:00Z","tenant":"demo","order_id":"` + order.ID + `","order_version":9,"data":{}}`)
	digest := stream.Chain([32]byte(raw), last+1, body)
	_, err = write.Exec(t.Context(), `
		WITH moved AS (SELECT advance_log_head(1::smallint, $1::bigint, $1::bigint + 1, $4))
		INSERT INTO order_events (position, recorded_at, subject, event, digest)
		SELECT $1::bigint + 1, now(), $2, $3, $4 FROM moved`, last, "orders.demo.retail%2Eerp.-.order.teleported", body, digest[:])
	require.NoError(t, err)
	for _, view := range []string{"order_view", "task_inbox", "order_search", "order_facets"} {
		require.Equal(t, last+1, s.stoppedAt(view, 0), view)
	}
	status, parts := s.parts()
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, parts["view order_view"], "order.teleported")
	require.Contains(t, parts["view order_search"], "order.teleported")
	later, err := s.user().SubmitOrder(t.Context(), sampleOrder("two"))
	require.NoError(t, err)
	operator, err := s.operator().Token(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return strings.Contains(s.get(operator, "/v1/orders/"+later.ID+"/timeline").body, "order.placed")
	}, startWithin, 20*time.Millisecond, "the timeline goes on")
	_, parts = s.parts()
	require.Equal(t, "ok", parts["view timeline"])
}
