package projection

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

func (w *world) skip(view string, position int64) error {
	return Skip(w.t.Context(), w.read, SkipRequest{View: view, Position: position, Who: "tester", Reason: "the till sent nonsense", At: w.now})
}

func (w *world) stops(p *Projection, at int64, views ...string) {
	w.t.Helper()
	for _, view := range views {
		w.until(view+" stops", func() bool { s := w.status(p, view); return s.Stopped != "" && s.Position == at })
	}
}

// TestSkippedEventLetsTheViewGoOn has an operator skip an event of an unknown type: the views go on without a restart, the order has what
// the event's header says, its later events follow, and verify and the next rebuild leave the event out too.
func TestSkippedEventLetsTheViewGoOn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	poisoned := w.orders[0]
	good := w.poison()
	p, _ := w.run(w.config())
	poisons := []string{OrderView, TaskInbox, OrderSearch, OrderFacets, Catalog}
	w.stops(p, good, poisons...)
	require.ErrorContains(t, w.skip(OrderView, good), "is stopped at")
	require.ErrorContains(t, w.skip(OrderView, good+2), "is stopped at")
	require.ErrorContains(t, w.skip(Timeline, good+1), "is not stopped")
	require.ErrorContains(t, w.skip("orders", good+1), "there is no view")
	require.ErrorIs(t, Skip(t.Context(), w.read, SkipRequest{View: OrderView, Position: good + 1}), errNoReason)
	for _, view := range poisons {
		require.NoError(t, w.skip(view, good+1))
	}
	after := w.head()
	version := poisoned.Version + 1
	later := w.about(poisoned, events.OrderCancelled, &events.OrderCancellation{Reason: "changed_mind"})
	later.OrderVersion = version + 1
	w.add(later)
	w.commit(after)
	w.publish(after)
	w.wait(p, w.head(), Views()...)
	require.Equal(t, fmt.Sprint(version+1), w.text(`SELECT version::text FROM order_view WHERE id = $1`, poisoned.ID))
	w.verified()
	report := w.verifyAny()
	require.Len(t, report.Audit, len(poisons))
	require.Equal(t, Audit{At: report.Audit[0].At, Who: "tester", Action: ActionSkip, View: OrderView, Position: good + 1, Reason: "the till sent nonsense"}, report.Audit[0])
	require.Equal(t, w.now.UnixMicro(), report.Audit[0].At.UnixMicro())
	require.Equal(t, 1, report.Views[0].Skipped)
	for _, one := range w.rebuild(Views()...) {
		require.Zero(t, one.Comparison.Differences(), one.Comparison.Difference)
	}
	w.wait(p, w.head(), Views()...)
	w.verified()
}

// TestRebuildWaitsAtAnEventThatItCannotTake and goes on once the operator has had the live generation go past it.
func TestRebuildWaitsAtAnEventThatItCannotTake(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	good := w.poison()
	p, _ := w.run(w.config())
	w.stops(p, good, OrderView, TaskInbox, OrderSearch)
	_, err := w.rebuilder(OrderView).run(t.Context())
	require.ErrorContains(t, err, fmt.Sprintf("view order_view cannot take event %d", good+1))
	require.Equal(t, fmt.Sprint(good), w.text(`SELECT position::text FROM next_views.builds`), "all before it is stored")
	require.NoError(t, w.skip(OrderView, good+1))
	w.rebuild(OrderView)
	w.wait(p, w.head(), OrderView)
	w.verified()
}

// TestViewsThatSkipDifferently has the order view go past an order that the database refuses it: the task view, which has all of that
// order, goes on from orders of its own.
func TestViewsThatSkipDifferently(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.exec(`ALTER TABLE order_view ADD CONSTRAINT no_poison CHECK (external_ref <> 'R-000010')`)
	w.grow(2 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), TaskInbox, Timeline)
	for skipped := 0; ; skipped++ {
		w.until("order_view stops or is done", func() bool {
			s := w.status(p, OrderView)
			return s.Stopped != "" || s.Position == w.head()
		})
		s := w.status(p, OrderView)
		if s.Stopped == "" {
			require.Positive(t, skipped)
			break
		}
		require.NoError(t, w.skip(OrderView, s.Position+1))
		w.until("order_view goes on", func() bool {
			now := w.status(p, OrderView)
			return now.Stopped == "" || now.Position != s.Position
		})
	}
	w.now = w.now.Add(time.Second)
	task := w.orders[10].Tasks[0]
	w.grow(2 * smallBatch)
	w.until("order_view is done", func() bool {
		s := w.status(p, OrderView)
		if s.Stopped != "" {
			_ = w.skip(OrderView, s.Position+1) // it may go on already
		}
		return s.Position == w.head()
	})
	w.wait(p, w.head(), TaskInbox, Timeline, OrderSearch)
	stop()
	require.Equal(t, "0", w.text(`SELECT count(*)::text FROM order_view WHERE external_ref = 'R-000010'`))
	require.Equal(t, "1", w.text(`SELECT count(*)::text FROM task_inbox WHERE id = $1`, task.ID))
	w.verified()
	p, _ = w.run(w.config())
	w.grow(50)
	w.wait(p, w.head(), TaskInbox, Timeline)
}

// runCode runs a projector that has another version of a view's code.
func (w *world) runCode(view string, code int) (*Projection, func()) {
	w.t.Helper()
	return w.runWith(w.config(), func(p *Projection) { setCode(p.views, view, code) })
}

func setCode(views []view, name string, code int) {
	for i := range views {
		if views[i].name == name {
			views[i].code = code
		}
	}
}

// TestTwoVersionsOfTheCodeBesideEachOther is a rolling upgrade: the older projector writes the older generation until the newer program has
// built the next one and switched, never after; the newer projector writes that one, and neither is started again.
func TestTwoVersionsOfTheCodeBesideEachOther(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	older, _ := w.run(w.config())
	w.wait(older, w.head(), Views()...)
	newer, _ := w.runCode(OrderView, 2)
	w.until("the newer one waits for a rebuild", func() bool { return w.status(newer, OrderView).Stopped != "" })
	require.Contains(t, w.status(newer, OrderView).Stopped, "its table is of version 1 of the view, this program has version 2: run orderstore rebuild order_view")
	w.grow(50)
	w.wait(older, w.head(), OrderView)
	w.wait(newer, w.head(), OrderView) // it tells how far the other one is

	r := w.rebuilder(OrderView)
	setCode(r.views, OrderView, 2)
	done, err := r.run(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, done[0].FromCode)
	require.Equal(t, 2, done[0].ToCode)
	w.until("the newer one goes on", func() bool { return w.status(newer, OrderView).Stopped == "" })
	w.until("the older one sees it", func() bool { return w.status(older, OrderView).Code == 2 })
	for range 5 {
		w.grow(50)
		w.wait(newer, w.head(), Views()...)
		w.wait(older, w.head(), OrderView) // its reads go on: it tells how far the other one is
	}
	require.Empty(t, w.status(older, OrderView).Stopped)
	w.same(w.head())
	w.verified()
	// A program from before there were generations calls what it knows, and is refused.
	_, err = w.read.Exec(t.Context(), `SELECT advance_checkpoints(ARRAY['order_view'], position, digest, position + 1, digest) FROM checkpoints WHERE view = 'order_view'`)
	require.ErrorContains(t, err, "OS002")
	_, err = w.rebuilder(OrderView).run(t.Context())
	require.NoError(t, err, "back to the older code, by the same way")
	w.until("the older one goes on", func() bool { return w.status(older, OrderView).Code == 1 && w.status(older, OrderView).Stopped == "" })
	w.grow(50)
	w.wait(older, w.head(), Views()...)
	w.verified()
}
