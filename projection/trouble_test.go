package projection

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

func (w *world) status(p *Projection, view string) ViewStatus {
	w.t.Helper()
	for _, s := range p.Status() {
		if s.View == view {
			return s
		}
	}
	w.t.Fatalf("no view %s", view)
	return ViewStatus{}
}

func TestReadsTheLogWhereTheStreamWasTrimmed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(500)
	s, err := w.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.NoError(t, w.js.DeleteStream(t.Context(), stream.Name))
	cfg.FirstSeq = uint64(w.head() + 1)
	_, err = w.js.CreateStream(t.Context(), cfg)
	require.NoError(t, err)
	w.grow(100)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	w.grow(100)
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

func TestGoesOnWhileTheStreamIsAway(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(100)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	require.NoError(t, w.js.DeleteStream(t.Context(), stream.Name))
	after := w.head()
	w.happen(200)
	w.commit(after)
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

// Two projectors on one read database by mistake do twice the work and no harm.
func TestTwoProjectorsOnOneDatabase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	a, _ := w.run(w.config())
	b, _ := w.run(w.config())
	for range 8 {
		w.grow(200)
		w.until("one of two projectors gets there", func() bool {
			for _, view := range Views() {
				if max(a.Tip(view).Position(), b.Tip(view).Position()) < w.head() {
					return false
				}
			}
			return true
		})
		w.same(w.head())
	}
}

// poison adds an event of a type that no version knows yet.
func (w *world) poison() int64 {
	after := w.head()
	o := w.orders[0]
	w.addRaw("orders.demo.hotel.-.order.teleported", fmt.Appendf(nil,
		`{"cell":1,"type":"order.teleported","version":1,"time":"2026-01-31T12:00:00Z","tenant":%q,"order_id":%q,"order_version":%d,"data":{}}`,
		o.Tenant, o.ID, o.Version+1))
	w.happen(50)
	w.commit(after)
	w.publish(after)
	return after
}

func TestUnknownEventStopsOnlyTheViewsThatNeedIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(300)
	good := w.poison()
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Timeline)
	for _, view := range []string{OrderView, TaskInbox, OrderSearch} {
		w.until(view+" stops", func() bool { return w.status(p, view).Stopped != "" })
		require.Equal(t, good, w.status(p, view).Position)
		require.Contains(t, w.status(p, view).Stopped, "order.teleported")
		require.Equal(t, w.status(p, view).Stopped, w.text(`SELECT stopped FROM checkpoints WHERE view = $1`, view))
		require.Equal(t, good, p.Tip(view).Position())
	}
	w.sameTimeline(w.head())
	w.grow(20)
	w.wait(p, w.head(), Timeline)
	stop()
	report := w.verify(ordersPerPass)
	require.True(t, report.OK(), "%+v", report)
	// A newer version tries again. It still does not know the event, and says so.
	p, _ = w.run(w.config())
	w.until("order_view stops again", func() bool { return w.status(p, OrderView).Stopped != "" })
	w.wait(p, w.head(), Timeline)
}

// A row that the database refuses stops its view alone. The task view, which needs the same orders, goes on without the
// order view, from the timeline.
func TestRefusedRowStopsItsViewAlone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.exec(`ALTER TABLE order_view ADD CONSTRAINT no_poison CHECK (external_ref <> 'R-000150')`)
	w.grow(9 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), TaskInbox, Timeline, OrderSearch)
	w.until("order_view stops", func() bool { return w.status(p, OrderView).Stopped != "" })
	at := w.status(p, OrderView).Position
	e, err := events.Decode(at+1, w.records[at].Body)
	require.NoError(t, err)
	require.Equal(t, "R-000150", e.Data.(*events.Placed).ExternalRef)
	w.grow(300)
	w.wait(p, w.head(), TaskInbox, Timeline)
	stop()
	require.True(t, w.verify(ordersPerPass).OK())
	w.exec(`ALTER TABLE order_view DROP CONSTRAINT no_poison`)
	p, _ = w.run(w.config())
	w.wait(p, w.head(), Views()...)
	require.Empty(t, w.text(`SELECT string_agg(stopped, '') FROM checkpoints`))
	w.same(w.head())
}

func TestResetViewsCatchUpWhileOthersGoOn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(10 * smallBatch)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	for _, views := range [][]string{{TaskInbox}, {OrderView}, {Timeline}, {OrderView, TaskInbox}, {Timeline, TaskInbox}, Views()} {
		require.NoError(t, Reset(t.Context(), w.read, views...))
		w.grow(50)
		w.wait(p, w.head(), Views()...)
		w.until("the views are level again", func() bool {
			return w.text(`SELECT min(position)::text FROM checkpoints`) == fmt.Sprint(w.head())
		})
		w.same(w.head())
	}
	require.True(t, w.verify(ordersPerPass).OK())
}

// A view that begins behind the others joins them: from then on they have one checkpoint.
func TestLaggingViewJoins(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(8 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	require.NoError(t, Reset(t.Context(), w.read, TaskInbox))
	p, stop = w.run(w.config())
	w.wait(p, w.head(), TaskInbox)
	for range 5 {
		w.grow(30)
		w.wait(p, w.head(), OrderView, TaskInbox)
	}
	stop()
	// One transaction wrote both rows last.
	require.Equal(t, "1", w.text(`SELECT count(DISTINCT xmin::text)::text FROM checkpoints WHERE view <> 'order_search'`))
	w.same(w.head())
}

// Connections that break in the middle of a transaction, with its outcome unknown, lose nothing and apply nothing twice.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	w := setup(t)
	p, _ := w.run(w.config())
	killer, err := w.read.Acquire(t.Context())
	require.NoError(t, err)
	defer killer.Release()
	for range 15 {
		w.grow(150)
		_, err := killer.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		require.NoError(t, err)
	}
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
	for _, s := range p.Status() {
		require.Empty(t, s.Stopped)
	}
}

// A projection that is ended anywhere within a batch leaves views and checkpoint together.
func TestEndedWithinABatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(20 * smallBatch)
	var took atomic.Int64
	cfg := w.config()
	inner := cfg.NewFollower
	for round := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		cfg.NewFollower = func(after int64, digest [32]byte) Follower {
			return &cutFollower{Follower: inner(after, digest), took: &took, until: int64(150 + 10*round), cut: cancel}
		}
		took.Store(0)
		p := New(cfg)
		p.maxBatch = smallBatch
		require.ErrorIs(t, p.Run(ctx), context.Canceled)
		cancel()
		report := w.verifyAny()
		require.True(t, report.OK(), "round %d: %+v", round, report)
	}
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

func (w *world) verifyAny() *Report {
	report, err := Verify(w.t.Context(), w.read, w.log, func(int64) {})
	require.NoError(w.t, err)
	return report
}

// cutFollower ends its projection once so many records have been given out.
type cutFollower struct {
	Follower
	took  *atomic.Int64
	until int64
	cut   context.CancelFunc
}

func (f *cutFollower) Next(ctx context.Context, limit int) ([]stream.Record, error) {
	records, err := f.Follower.Next(ctx, min(limit, 97))
	if f.took.Add(int64(len(records))) > f.until {
		f.cut()
	}
	return records, err
}

// A log that is not the one the views were built from is said, and nothing is written from it.
func TestAnotherLog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(100)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	position := w.head()
	require.NoError(t, w.js.DeleteStream(t.Context(), stream.Name))
	w.happen(10)
	w.commit(position)
	w.exec(`UPDATE checkpoints SET position = $1, digest = decode(repeat('cd', 32), 'hex')`, position)
	p, _ = w.run(w.config())
	w.until("the divergence is said", func() bool { return w.status(p, OrderView).Stopped != "" })
	require.Equal(t, position, p.Tip(OrderView).Position())
	require.Equal(t, fmt.Sprint(position), w.text(`SELECT max(position)::text FROM timeline`))
}
