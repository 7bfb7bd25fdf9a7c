package query

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
)

// through puts a function of the test between the reads and the orders: a row is found only once it says so.
func (w *world) through(body string) {
	w.t.Helper()
	for _, sql := range []string{
		`ALTER TABLE order_view RENAME TO stored_orders`,
		`CREATE FUNCTION passes(tenant text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$ BEGIN ` + body + ` RETURN true; END $$`,
		`CREATE VIEW order_view AS SELECT * FROM stored_orders WHERE passes(tenant)`,
		`GRANT SELECT ON order_view TO orderstore_query`,
	} {
		w.exec(w.read, sql)
	}
}

// observer is a connection of the test's own, beside the pool that the reads share.
func (w *world) observer() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.ConnectConfig(w.t.Context(), w.read.Config().ConnConfig)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(w.t.Context())) })
	return conn
}

// sees waits until a query gives a number.
func (w *world) sees(conn *pgx.Conn, want int, sql string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		var n int
		require.NoError(w.t, conn.QueryRow(w.t.Context(), sql).Scan(&n))
		return n == want
	}, patience, 10*time.Millisecond, sql)
}

// A tenant whose lists hang takes neither the turns nor the connections of others.
func TestFloodOfListsLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{})
	others := w.store(given{tenant: "other"})
	gate := w.observer()
	_, err := gate.Exec(t.Context(), `SELECT pg_advisory_lock(4711)`)
	require.NoError(t, err)
	w.through(`IF tenant = 'demo' THEN PERFORM pg_advisory_xact_lock_shared(4711); END IF;`)

	const flood = ownTurns + ownWaiting + 20
	answers := make(chan answered, flood)
	for range flood {
		go func() { answers <- w.get("demo", "/v1/orders") }()
	}
	w.sees(gate, ownTurns, `SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted`)
	for range 20 {
		a := (<-answers).problem(http.StatusServiceUnavailable, fault.Overloaded)
		require.NotEmpty(t, a.header.Get("Retry-After"), "who is too many is told at once")
	}
	for i := range 2 * listTurns {
		refs, _ := w.get("other", fmt.Sprint("/v1/orders?limit=", i+1)).items("external_ref")
		require.Equal(t, []string{others.reference}, refs, "another tenant's list")
		w.get("other", "/v1/orders/"+others.id).is(http.StatusOK)
	}
	_, err = gate.Exec(t.Context(), `SELECT pg_advisory_unlock(4711)`)
	require.NoError(t, err)
	for range flood - 20 {
		(<-answers).is(http.StatusOK)
	}
}

// A read that hangs ends at its limit, at the server too.
func TestHangingReadEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	conn := w.observer()
	_, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE order_view IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	const hanging = `SELECT count(*)::int FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND NOT l.granted`
	answers := make(chan answered)
	go func() { answers <- w.get("demo", "/v1/orders/"+g.id) }()
	go func() { answers <- w.get("demo", "/v1/orders/"+g.id+"?include=timeline") }()
	w.sees(conn, 2, hanging)
	for range 2 {
		a := (<-answers).problem(http.StatusServiceUnavailable, fault.Unavailable)
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
	w.sees(conn, 0, hanging)
	_, err = conn.Exec(t.Context(), `ROLLBACK`)
	require.NoError(t, err)
	w.get("demo", "/v1/orders/"+g.id).is(http.StatusOK)
}

// What a standby gives up for its primary's changes is read again, and answered with 503 when that goes on.
func TestReadGivenUpByAStandby(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	w.exec(w.read, `CREATE SEQUENCE conflicts`)
	w.through(`IF nextval('conflicts') <= 2 THEN RAISE EXCEPTION 'conflict with recovery' USING ERRCODE = '40001'; END IF;`)
	w.get("demo", "/v1/orders/"+g.id).is(http.StatusOK)
	w.exec(w.read, `SELECT setval('conflicts', 1, false)`)
	w.get("demo", "/v1/orders").is(http.StatusOK)
	w.exec(w.read, `ALTER SEQUENCE conflicts MINVALUE -1000 RESTART WITH -1000`)
	for _, path := range []string{"/v1/orders", "/v1/orders/" + g.id} {
		a := w.get("demo", path).problem(http.StatusServiceUnavailable, fault.Unavailable)
		require.NotEmpty(t, a.header.Get("Retry-After"))
	}
}

func TestTurnsGoToWhoeverHasTheFewest(t *testing.T) {
	t.Parallel()
	turns := newTurns(3, 2, 3)
	done := map[string][]func(){}
	for range 2 {
		end, err := turns.take(t.Context(), "greedy")
		require.NoError(t, err)
		done["greedy"] = append(done["greedy"], end)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := turns.take(gone, "greedy")
	require.Equal(t, fault.Overloaded, fault.CodeOf(err), "one turn is free, and not for the greedy one")
	for range 3 {
		_, err := turns.enlist("greedy")
		require.NoError(t, err)
	}
	_, err = turns.enlist("greedy")
	require.Equal(t, fault.Overloaded, fault.CodeOf(err), "so many may wait, and no more")

	end, err := turns.take(t.Context(), "modest")
	require.NoError(t, err)
	late, err := turns.enlist("third")
	require.NoError(t, err)
	done["greedy"][0]()
	<-late.ready // with one turn less than the greedy one, though it came last
	end()
	require.Equal(t, 2, turns.held["greedy"], "what nobody else wants goes on to those who wait")
}
