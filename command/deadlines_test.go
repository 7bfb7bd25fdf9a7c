package command

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// nodes are committers with their deadline workers, on one database, one clock and one tip.
type nodes struct {
	*bench
	clock *clock
}

func setupNodes(t *testing.T) *nodes {
	t.Helper()
	n := &nodes{bench: &bench{t: t, pool: pgtest.Database(t, migrations.Write, "write"), tip: &stream.Tip{}}, clock: heldClock()}
	return n
}

// start starts so many nodes; what it gives stops them.
func (n *nodes) start(count int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2*count)
	for range count {
		n.committer = NewCommitter(Config{Pool: n.pool, Tip: n.tip, Now: n.clock.now, Logger: slog.New(slog.DiscardHandler)})
		deadlines := NewDeadlines(n.committer)
		require.Equal(n.t, "deadlines", deadlines.Name())
		go func(c *Committer) { done <- c.Run(ctx) }(n.committer)
		go func() { done <- deadlines.Run(ctx) }()
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range 2 * count {
			require.NoError(n.t, <-done)
		}
	}
	n.t.Cleanup(stop)
	return stop
}

func (n *nodes) route(r *events.Route) {
	n.t.Helper()
	r.Regions, r.Policy = []string{}, events.PolicyLeastLoaded
	_, err := n.committer.Submit(n.t.Context(), &Register{
		Kind: kindRoute, ID: r.BusinessType, Type: events.RouteChanged, BusinessType: r.BusinessType, Document: r,
	}, nil)
	require.NoError(n.t, err)
}

// told counts the log's events of a type by task.
func (n *nodes) told(t events.Type) map[string]int {
	n.t.Helper()
	rows, err := n.pool.Query(n.t.Context(), `SELECT convert_from(event, 'UTF8')::jsonb ->> 'task_id' FROM order_events WHERE subject LIKE '%.' || $1`, string(t))
	require.NoError(n.t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(n.t, err)
	counts := map[string]int{}
	for _, id := range ids {
		counts[id]++
	}
	return counts
}

func (n *nodes) stored() map[string]time.Time {
	n.t.Helper()
	rows, err := n.pool.Query(n.t.Context(), `SELECT task_id::text, due_at FROM deadlines`)
	require.NoError(n.t, err)
	stored := map[string]time.Time{}
	var id string
	var due time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &due}, func() error { stored[id] = due.UTC(); return nil })
	require.NoError(n.t, err)
	return stored
}

// Two nodes that see the same deadlines end each task once; what passes while no node runs is ended by the next that does.
func TestDeadlinesEndEachTaskOnceAcrossNodesAndRestarts(t *testing.T) {
	t.Parallel()
	const orders = 40
	n := setupNodes(t)
	stop := n.start(2)
	for i := range 3 {
		n.register(fmt.Sprint("p", i), "retail.erp")
	}
	n.route(&events.Route{BusinessType: "retail.erp", AcceptWithin: 60, CompleteIn: 600})
	first := map[string]time.Time{}
	position := int64(0)
	for i := range orders {
		answer, o := n.place(fmt.Sprint("r-", i))
		first[o.Tasks[0].ID] = o.Tasks[0].AcceptBy
		position = answer.Position
	}
	require.Equal(t, first, n.stored())
	require.Empty(t, n.told(events.TaskExpired))

	n.clock.move(time.Minute)
	require.NoError(t, n.tip.Wait(t.Context(), position+2*orders)) // expired, and offered to the next
	expired := n.told(events.TaskExpired)
	require.Len(t, expired, orders)
	for id, times := range expired {
		require.Contains(t, first, id)
		require.Equal(t, 1, times)
	}
	second := n.stored()
	require.Len(t, second, orders)

	stop()
	n.clock.move(time.Minute)
	n.start(2)
	require.NoError(t, n.tip.Wait(t.Context(), position+4*orders))
	for id, times := range n.told(events.TaskExpired) {
		require.Equal(t, 1, times, id)
	}
	require.Len(t, n.told(events.TaskExpired), 2*orders)
	v := n.verified()
	require.Equal(t, position+4*orders, v.Events)
	var open int64
	require.NoError(t, n.pool.QueryRow(t.Context(), `SELECT sum(open)::bigint FROM provider_load`).Scan(&open))
	require.Equal(t, int64(orders), open)
}

// What ends a task takes its deadline away; accepting moves it.
func TestADeadlineFollowsItsTask(t *testing.T) {
	t.Parallel()
	n := setupNodes(t)
	n.start(1)
	n.register("acme", "retail.erp")
	n.route(&events.Route{BusinessType: "retail.erp", AcceptWithin: 60, CompleteIn: 600})
	_, o := n.place("r-1")
	id := o.Tasks[0].ID
	on := onTask{Provider: "acme", TaskID: id}
	submit := func(c Command) {
		t.Helper()
		_, err := n.committer.Submit(t.Context(), c, nil)
		require.NoError(t, err)
	}
	require.Equal(t, map[string]time.Time{id: o.Tasks[0].AcceptBy}, n.stored())
	submit(&AcceptTask{on})
	require.Equal(t, map[string]time.Time{id: o.Tasks[0].CompleteBy}, n.stored())
	submit(&HoldTask{onTask: on, Held: events.Held{ReasonCode: "no_stock"}})
	require.Empty(t, n.stored())
	n.clock.move(time.Hour)
	submit(&ResumeTask{on})
	require.Equal(t, map[string]time.Time{id: o.Tasks[0].CompleteBy.Add(time.Hour)}, n.stored())
	submit(result(t, "acme", id, `{"result_id":"1","outcome":"completed"}`))
	require.Empty(t, n.stored())
	n.verified()
}

// A provider that does not answer a cancellation does not keep the order.
func TestACancellationThatIsNotAnsweredIsForced(t *testing.T) {
	t.Parallel()
	n := setupNodes(t)
	n.start(2)
	n.register("acme", "retail.erp")
	n.route(&events.Route{BusinessType: "retail.erp", CancelWithin: 300})
	_, o := n.place("r-1")
	require.Empty(t, n.stored(), "a task without a deadline has none stored")
	_, err := n.committer.Submit(t.Context(), &AcceptTask{onTask{Provider: "acme", TaskID: o.Tasks[0].ID}}, nil)
	require.NoError(t, err)
	answer, err := n.committer.Submit(t.Context(), &CancelOrder{onOrder: onOrder{Tenant: "demo", OrderID: o.ID, IfVersion: 3}, Reason: "changed_mind"}, nil)
	require.NoError(t, err)
	require.Equal(t, events.CancellationRequested, decoded(t, answer.Body).Cancellation.Status)
	n.clock.move(5 * time.Minute)
	require.NoError(t, n.tip.Wait(t.Context(), answer.Position+2)) // task.cancelled, order.cancelled
	_, o = n.place("r-1")
	require.Equal(t, events.OrderStatusCancelled, o.Status)
	require.True(t, o.Tasks[0].Cancelled.Forced)
	require.Empty(t, n.stored())

	late, err := n.committer.Submit(t.Context(), result(t, "acme", o.Tasks[0].ID, `{"result_id":"1","outcome":"completed"}`), nil)
	require.NoError(t, err)
	require.Equal(t, 201, late.Status)
	again, err := n.committer.Submit(t.Context(), result(t, "acme", o.Tasks[0].ID, `{"result_id":"1","outcome":"completed"}`), nil)
	require.NoError(t, err)
	require.True(t, again.Replayed, "also a late result is taken once")
	_, o = n.place("r-1")
	require.Len(t, o.Results, 1)
	require.True(t, o.Results[0].Late)
	require.Equal(t, events.OrderStatusCancelled, o.Status)
	n.verified()
}

// Orders of which units are open are offered again when the providers change, whatever kept them from being done.
func TestWaitingOrdersAreOfferedWhenProvidersChange(t *testing.T) {
	t.Parallel()
	n := setupNodes(t)
	n.start(1)
	run(t, NewHousekeeper(n.committer))
	n.register("acme", "retail.erp")
	n.route(&events.Route{BusinessType: "retail.erp", AcceptWithin: 60})
	_, rejected := n.place("rejected")
	_, err := n.committer.Submit(t.Context(), &RejectTask{
		onTask: onTask{Provider: "acme", TaskID: rejected.Tasks[0].ID}, Rejection: events.Rejection{ReasonCode: "no", Blocking: true},
	}, nil)
	require.NoError(t, err)
	answer, _ := n.place("expired")
	n.clock.move(time.Minute)
	require.NoError(t, n.tip.Wait(t.Context(), answer.Position+1))
	_, o := n.place("rejected")
	require.Equal(t, events.OrderActionRequired, o.Status)
	_, o = n.place("expired")
	require.Equal(t, events.OrderStatusExpired, o.Status)
	n.register("other", "retail.erp")
	require.NoError(t, n.tip.Wait(t.Context(), answer.Position+4)) // provider.changed and two task.offered
	for _, ref := range []string{"rejected", "expired"} {
		_, o := n.place(ref)
		require.Equal(t, events.OrderRouted, o.Status)
		require.Equal(t, "other", o.Tasks[1].Provider)
	}
	n.verified()
}

// verify finds a deadline that is not what the log says: it would never pass, or too early.
func TestVerifyFindsAWrongDeadline(t *testing.T) {
	t.Parallel()
	n := setupNodes(t)
	n.start(1)
	n.register("acme", "retail.erp")
	n.route(&events.Route{BusinessType: "retail.erp", AcceptWithin: 60})
	_, o := n.place("r-1")
	n.verified()
	for change, want := range map[string]string{
		`UPDATE deadlines SET due_at = due_at + interval '1 second'`: "is stored as 2026-01-31T12:01:01Z, the log says 2026-01-31T12:01:00Z",
		`DELETE FROM deadlines`: "2026-01-31T12:01:00Z, is not stored",
		`INSERT INTO deadlines VALUES (gen_random_uuid(), timestamptz '0001-01-02')`: "the log says none",
	} {
		tx, err := n.pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), change)
		require.NoError(t, err)
		v := &Verification{}
		require.NoError(t, (&verifier{v: v, tx: tx, progress: func(int64) {}}).run(t.Context()))
		require.Contains(t, v.Difference, want)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	require.Equal(t, o.Tasks[0].AcceptBy, n.stored()[o.Tasks[0].ID])
	n.verified()
}
