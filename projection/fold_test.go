package projection

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// same fails unless the views hold exactly what the first events of the log fold into, by a fold of its own.
func (w *world) same(position int64) {
	w.t.Helper()
	orders := map[string]*events.Order{}
	for _, r := range w.records[:position] {
		e, err := events.Decode(r.Position, r.Body)
		require.NoError(w.t, err)
		folded, err := events.Apply(orders[e.OrderID], &e)
		require.NoError(w.t, err)
		if e.OrderID != "" {
			orders[e.OrderID] = folded
		}
	}
	stored, tasks := w.documents(OrderView), w.documents(TaskInbox)
	require.Len(w.t, stored, len(orders))
	want := 0
	for id, order := range orders {
		document, err := order.Encode()
		require.NoError(w.t, err)
		require.Equal(w.t, string(document), stored[id], "order %s", id)
		for i := range order.Tasks {
			want++
			document, err := json.Marshal(&order.Tasks[i])
			require.NoError(w.t, err)
			require.Equal(w.t, string(document), tasks[order.Tasks[i].ID], "task %s", order.Tasks[i].ID)
		}
	}
	require.Len(w.t, tasks, want)
	w.sameTimeline(position)
}

func (w *world) documents(table string) map[string]string {
	w.t.Helper()
	rows, err := w.read.Query(w.t.Context(), "SELECT id::text, document FROM "+pgx.Identifier{table}.Sanitize())
	require.NoError(w.t, err)
	found := map[string]string{}
	var id string
	var document []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &document}, func() error {
		found[id] = string(document)
		return nil
	})
	require.NoError(w.t, err)
	return found
}

func (w *world) sameTimeline(position int64) {
	w.t.Helper()
	rows, err := w.read.Query(w.t.Context(), "SELECT position, event FROM timeline ORDER BY position")
	require.NoError(w.t, err)
	var at, n int64
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&at, &body}, func() error {
		n++
		require.Equal(w.t, n, at)
		require.Equal(w.t, string(w.records[at-1].Body), string(body))
		return nil
	})
	require.NoError(w.t, err)
	require.Equal(w.t, position, n)
}

// Invariant 4: a view at position p equals the fold of events 1..p.
func TestInvariant4ViewsEqualTheFold(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p, stop := w.run(w.config())
	for range 10 {
		w.grow(150)
		w.wait(p, w.head(), Views()...)
		w.same(w.head())
	}
	stop()
	require.Equal(t, "1500", w.text(`SELECT least(1500, min(position))::text FROM checkpoints`))
}

func TestBacklogLargerThanABatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(7*smallBatch + 17)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

func TestGoesOnAfterRestart(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 5 {
		w.grow(300)
		p, stop := w.run(w.config())
		w.wait(p, w.head()-200, OrderView, TaskInbox, Timeline)
		stop() // somewhere between there and the end
	}
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

// TestNewViewsAreBuiltBesideTheOthers is an upgrade: the read database was built by a program that did not know two of the views. Its
// successor builds them from the log, while events come and the others go on, and nothing has to be rebuilt; it may be, before it starts.
func TestNewViewsAreBuiltBesideTheOthers(t *testing.T) {
	t.Parallel()
	for _, rebuilt := range []bool{false, true} {
		setup(t).upgrade(rebuilt)
	}
}

func (w *world) upgrade(rebuilt bool) {
	t := w.t
	t.Helper()
	w.grow(5 * smallBatch)
	former, stop := w.runWith(w.config(), func(p *Projection) {
		p.views = slices.DeleteFunc(p.views, func(v view) bool { return v.name == OrderFacets || v.name == Catalog })
	})
	w.wait(former, w.head(), OrderView, TaskInbox, Timeline, OrderSearch)
	stop()
	require.Equal(t, "0", w.text(`SELECT max(position)::text FROM checkpoints WHERE view IN ('order_facets', 'catalog')`))
	if rebuilt {
		w.rebuild(OrderFacets, Catalog)
	}
	p, stop := w.run(w.config())
	w.grow(50)
	w.wait(p, w.head(), Views()...)
	stop()
	w.same(w.head())
	w.verified()
	require.NotEqual(t, "0", w.text(`SELECT count(*)::text FROM order_facets`))
}
