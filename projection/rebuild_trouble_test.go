package projection

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// endAt ends a rebuild when it comes to a point for the n-th time.
func endAt(r *rebuilder, point string, n int) {
	r.reach = func(at string) error {
		if at != point {
			return nil
		}
		if n--; n > 0 {
			return nil
		}
		return errEnded
	}
}

func TestRebuildRefusesATableThatWasMigratedMeanwhile(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	for _, change := range []string{
		`ALTER TABLE order_view ADD COLUMN note text`, `CREATE INDEX order_view_note ON order_view (channel)`, `ALTER TABLE order_view ADD CHECK (total >= 0)`,
		`ALTER POLICY by_scope ON order_view USING (tenant = 'demo')`, `REVOKE SELECT ON order_view FROM orderstore_query`,
	} {
		r := w.rebuilder(OrderView)
		r.reach = func(at string) error {
			if at == "before switch" {
				w.exec(change)
			}
			return nil
		}
		_, err := r.run(t.Context())
		require.ErrorContains(t, err, "the table of order_view was migrated since its rebuild began", change)
		_, err = Abort(t.Context(), r.cfg)
		require.NoError(t, err)
		w.rebuild(OrderView)
	}
	var guarded []string
	require.NoError(t, w.read.QueryRow(t.Context(), `
SELECT array_agg(c.oid::regclass::text ORDER BY relnamespace = 'public'::regnamespace) FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
WHERE c.relrowsecurity AND c.relname = 'order_view' AND pg_get_expr(polqual, polrelid) ~ 'demo'`).Scan(&guarded))
	require.Equal(t, []string{"old_views.order_view", "order_view"}, guarded, "a rebuilt table has the policy of the one before")
	w.verified()
}

func TestRebuildDoesNotGoOnWithWhatOtherCodeBegan(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	r := w.rebuilder(OrderView)
	endAt(r, "loaded", 1)
	_, err := r.run(t.Context())
	require.ErrorIs(t, err, errEnded)
	r = w.rebuilder(OrderView)
	setCode(r.views, OrderView, 2)
	_, err = r.run(t.Context())
	require.ErrorContains(t, err, "a generation of order_view by version 1 of the view is half built, this program has version 2")
}

// TestRebuildOfTasksNeedsTheTimeline goes on with a half built task view, whose orders are no longer in memory.
func TestRebuildOfTasksNeedsTheTimeline(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(6 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	r := w.rebuilder(TaskInbox)
	endAt(r, "loading", 3)
	_, err := r.run(t.Context())
	require.ErrorIs(t, err, errEnded)
	require.NoError(t, Reset(t.Context(), w.read, Timeline))
	_, err = w.rebuilder(TaskInbox).run(t.Context())
	require.ErrorIs(t, err, errBehind)
	w.rebuild(Timeline)
	w.rebuild(TaskInbox)
	w.verified()
}

func TestRebuildFromALogThatDoesNotChain(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(3 * smallBatch)
	_, err := w.write.Exec(t.Context(), `UPDATE order_events SET event = event || ' ' WHERE position = 150`)
	require.NoError(t, err)
	_, err = w.rebuilder(Timeline).run(t.Context())
	require.ErrorIs(t, err, stream.ErrDiverged)
	require.ErrorContains(t, err, "the log at 150")
	require.Equal(t, "1", w.text(`SELECT generation::text FROM checkpoints WHERE view = 'timeline'`))
}
