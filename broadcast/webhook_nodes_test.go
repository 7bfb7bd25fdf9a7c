package broadcast

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// kill ends the connections of a dispatcher that holds shards, as the death of its process does. Nothing of what it had in memory is
// stored after that.
func (h *house) kill() {
	h.t.Helper()
	_, err := h.write.Exec(h.t.Context(), `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
AND d.datname = current_database() WHERE l.locktype = 'advisory' AND l.classid = $1 AND l.objid = 0`, int32(presenceLocks))
	require.NoError(h.t, err)
}

// TestNothingIsMissedWhenDispatchersDie: again and again, while events come and some fail. What is sent twice has the same id.
func TestNothingIsMissedWhenDispatchersDie(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position%7 == 0 && one.attempt < 3 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	})
	cfg := h.quick()
	h.dispatch(t, cfg)
	h.dispatch(t, cfg)
	h.hook("demo", to, "")
	ids := orderIDs(30)
	const rounds, each = 8, 150
	for i := range int64(rounds) {
		h.project(t, orders(i*each+1, (i+1)*each, "demo", ids)...)
		require.Eventually(t, func() bool { return len(to.delivered()) > int(i)*each+each/2 }, 60*time.Second, time.Millisecond)
		h.kill()
	}
	to.got(t, rounds*each)
	seen := map[int64]string{}
	for _, one := range to.all() {
		if id, again := seen[one.position]; again {
			require.Equal(t, id, one.delivery)
		}
		seen[one.position] = one.delivery
	}
	require.Len(t, seen, rounds*each)
}

// held counts the shards that each connection holds.
func (h *house) held() []int64 {
	h.t.Helper()
	rows, err := h.write.Query(h.t.Context(), `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = 'advisory' AND l.classid = $1 AND l.granted GROUP BY l.pid ORDER BY 1`, int32(shardLocks))
	require.NoError(h.t, err)
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var n int64
		require.NoError(h.t, rows.Scan(&n))
		all = append(all, n)
	}
	require.NoError(h.t, rows.Err())
	return all
}

// TestNodesShareSubscriptions: each has its share, and the share of one that stops goes to the others, with no event sent twice.
func TestNodesShareSubscriptions(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	first, stopFirst := h.dispatch(t, h.quick())
	require.Eventually(t, func() bool { return slices.Equal(h.held(), []int64{shards}) }, 20*time.Second, 2*time.Millisecond)
	second, _ := h.dispatch(t, h.quick())
	third, _ := h.dispatch(t, h.quick())
	require.Eventually(t, func() bool { return slices.Equal(h.held(), []int64{10, 11, 11}) }, 20*time.Second, 2*time.Millisecond)

	to := newSink(t, nil)
	for i := range 24 {
		h.hook("demo", to, `,"name":"n`+strconv.Itoa(i)+`"`)
	}
	ids := orderIDs(10)
	h.project(t, orders(1, 30, "demo", ids)...)
	require.Eventually(t, func() bool { return to.deliveries() == 24*30 }, 60*time.Second, 2*time.Millisecond)
	for _, d := range []*Dispatcher{first, second, third} {
		require.Positive(t, d.sent(t))
	}
	stopFirst()
	require.Eventually(t, func() bool { return slices.Equal(h.held(), []int64{16, 16}) }, 20*time.Second, 2*time.Millisecond)
	h.project(t, orders(31, 60, "demo", ids)...)
	require.Eventually(t, func() bool { return to.deliveries() == 24*60 }, 60*time.Second, 2*time.Millisecond)
	deliveries := map[string]bool{}
	for _, one := range to.all() {
		require.False(t, deliveries[one.delivery], "sent twice")
		deliveries[one.delivery] = true
	}
	require.Len(t, deliveries, 24*60)
}

// sent is how many attempts the dispatcher has made.
func (d *Dispatcher) sent(t *testing.T) (total float64) {
	t.Helper()
	all := prometheus.NewRegistry()
	require.NoError(t, all.Register(d.metrics.attempts))
	families, err := all.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			total += m.GetCounter().GetValue()
		}
	}
	return total
}

// TestPositionGoesNoFurtherThanWhatItStandsOn: what the store has at any moment is a position with all attempts up to it, since both are
// written together.
func TestPositionGoesNoFurtherThanWhatItStandsOn(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position%5 == 0 {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	h.dispatch(t, h.quick())
	s := h.hook("demo", to, "")
	const total = 1000
	h.project(t, orders(1, total, "demo", orderIDs(100))...)
	for {
		position, missing := h.unaccounted(s.ID)
		require.Zero(t, missing, "up to %d", position)
		if position == total {
			return
		}
	}
}

// unaccounted gives the stored position, and how many events up to it were neither attempted nor parked.
func (h *house) unaccounted(id uuid.UUID) (position, missing int64) {
	h.t.Helper()
	require.NoError(h.t, h.write.QueryRow(h.t.Context(), `
SELECT p.position, (SELECT count(*) FROM generate_series(1, p.position) g WHERE
	NOT EXISTS (SELECT FROM delivery_attempts a WHERE a.subscription_id = $1 AND a.position = g)
	AND NOT EXISTS (SELECT FROM deliveries d WHERE d.subscription_id = $1 AND d.position = g))
FROM subscription_positions p WHERE p.subscription_id = $1`, id).Scan(&position, &missing))
	return position, missing
}

// TestLedgerOfADeletedSubscription: what is on its way for it spoils nothing of the others'.
func TestLedgerOfADeletedSubscription(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(*hit, http.ResponseWriter) int { return http.StatusBadRequest })
	good := newSink(t, nil)
	gone, stays := h.hook("demo", to, ""), h.hook("demo", good, "")
	require.Equal(t, http.StatusNoContent, h.call("demo", http.MethodDelete, "/v1/subscriptions/"+gone.ID.String(), "", nil))
	entries := newEntries()
	for _, id := range []uuid.UUID{gone.ID, stays.ID} {
		entries.parked[deliveryKey{id, 7}] = &deliveryRow{kind: "order.placed", state: stateRetrying, at: h.clock.Now()}
		entries.parked[deliveryKey{id, 6}] = nil
		entries.positions[id] = progress{position: 7}
		entries.health[id] = healthRow{circuit: circuitOpen}
		entries.disabled[id] = disabling{reason: "it is gone", notice: true}
	}
	withConn(t, h.write, func(conn *pgxpool.Conn) {
		w := ledgerWriter{days: map[string]bool{}}
		require.NoError(t, w.write(t.Context(), conn.Conn(), entries, h.clock.Now()))
	})
	now := h.show("demo", stays)
	require.Equal(t, int64(7), now.Position)
	require.Equal(t, SubscriptionDisabled, now.Status)
	require.Equal(t, int64(1), now.Health.Parked[stateRetrying])
	require.Equal(t, circuitOpen, now.Health.Circuit)
}

func withConn(t *testing.T, pool *pgxpool.Pool, do func(*pgxpool.Conn)) {
	t.Helper()
	require.NoError(t, pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error { do(c); return nil }))
}

// TestDeletionsAndDeliveriesDoNotBlockEachOther: a party deletes and replays while its events are parked and delivered.
func TestDeletionsAndDeliveriesDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, func(one *hit, _ http.ResponseWriter) int {
		if one.position%2 == 0 {
			return http.StatusBadRequest
		}
		return http.StatusOK
	})
	cfg := h.quick()
	cfg.FlushEvery = time.Millisecond
	h.dispatch(t, cfg)
	h.project(t, orders(1, 300, "demo", orderIDs(100))...)
	for range 15 {
		s := h.hook("demo", to, `,"max_attempts":3`)
		path := "/v1/subscriptions/" + s.ID.String()
		before := len(to.all())
		require.Eventually(t, func() bool { return len(to.all()) > before+100 }, 20*time.Second, time.Millisecond)
		for _, body := range []string{`{"dead_letters":true}`, `{"from_position":1,"to_position":300}`} {
			require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, path+"/replay", body, nil))
		}
		require.Equal(t, http.StatusNoContent, h.call("demo", http.MethodDelete, path, "", nil))
	}
}

// TestLedgerIsBounded: who makes attempts waits while they are not stored, and one that was made is never dropped.
func TestLedgerIsBounded(t *testing.T) {
	t.Parallel()
	l := newLedger()
	for range ledgerRoom {
		l.record(t.Context(), attemptRow{})
	}
	require.True(t, l.crowded())
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		l.record(context.WithoutCancel(t.Context()), attemptRow{position: 1})
	}()
	select {
	case <-recorded:
		t.Fatal("there was no room")
	case <-time.After(20 * time.Millisecond):
	}
	require.Len(t, l.take().attempts, ledgerRoom)
	<-recorded
	l.lost()
	kept := l.take()
	require.Len(t, kept.attempts, ledgerRoom+1, "attempts are kept when all else is forgotten")
	l.written()

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range ledgerRoom + 5 {
		l.record(ended, attemptRow{})
	}
	require.Len(t, l.take().attempts, ledgerRoom+5)
}

func TestAttemptsAreForgottenDayByDay(t *testing.T) {
	t.Parallel()
	h := openHouse(t)
	to := newSink(t, nil)
	s := h.hook("demo", to, "")
	d := NewDispatcher(h.quick())
	for range 10 {
		require.Equal(t, http.StatusOK, h.call("demo", http.MethodPost, "/v1/subscriptions/"+s.ID.String()+"/test", "", nil))
		h.clock.advance(24 * time.Hour)
	}
	sess := &session{Dispatcher: d}
	require.NoError(t, sess.tidy(t.Context()))
	var kept int
	require.NoError(t, h.write.QueryRow(t.Context(), `SELECT count(*) FROM delivery_attempts`).Scan(&kept))
	require.Equal(t, 7, kept)
	var ahead bool
	require.NoError(t, h.write.QueryRow(t.Context(), `SELECT to_regclass('delivery_attempts_' || $1) IS NOT NULL`,
		h.clock.Now().UTC().AddDate(0, 0, 1).Format("20060102")).Scan(&ahead))
	require.True(t, ahead, "tomorrow's partition is there")
}
