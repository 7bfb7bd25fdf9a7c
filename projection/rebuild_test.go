package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func (w *world) rebuilder(views ...string) *rebuilder {
	r := newRebuilder(RebuildConfig{
		Pool: w.read, Log: w.log, Views: views, Who: "tester", Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	r.chunk = smallBatch
	return r
}

func (w *world) rebuild(views ...string) []Rebuilt {
	w.t.Helper()
	done, err := w.rebuilder(views...).run(w.t.Context())
	require.NoError(w.t, err)
	require.Len(w.t, done, len(views))
	return done
}

func (w *world) verified() {
	w.t.Helper()
	report := w.verifyAny()
	require.True(w.t, report.OK(), "%+v", report)
}

// TestRebuildBesideALiveProjector rebuilds each view and all of them while events come and readers read, and compares with the fold.
func TestRebuildBesideALiveProjector(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(6 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	read := w.readAlong()
	sets := [][]string{{OrderView}, {Timeline, TaskInbox}, Views()}
	for _, views := range sets {
		done := make(chan error, 1)
		var rebuilt []Rebuilt
		go func() {
			var err error
			rebuilt, err = w.rebuilder(views...).run(context.WithoutCancel(t.Context()))
			done <- err
		}()
		for busy := true; busy; {
			w.grow(37)
			select {
			case err := <-done:
				require.NoError(t, err)
				busy = false
			default:
			}
		}
		require.Len(t, rebuilt, len(views))
		for _, one := range rebuilt {
			require.True(t, one.Comparison.Done, one.View)
			require.Zero(t, one.Comparison.Differences(), one.Comparison.Difference)
			require.Positive(t, one.Comparison.Rows)
		}
		w.grow(50)
		w.wait(p, w.head(), Views()...)
	}
	read.stop()
	require.Positive(t, read.reads.Load())
	for _, s := range p.Status() {
		require.Empty(t, s.Stopped)
		require.Greater(t, s.Generation, int64(1), s.View)
	}
	stop()
	w.same(w.head())
	w.verified()
}

// TestRebuildOnAStoppedInstance has nobody project: the live generations stand behind the log, each at another position.
func TestRebuildOnAStoppedInstance(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(5 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	w.grow(3 * smallBatch)
	for _, one := range w.rebuild(Views()...) {
		require.Equal(t, w.head(), one.Position)
		require.True(t, one.Comparison.Done)
		require.Zero(t, one.Comparison.Differences())
	}
	w.same(w.head())
	w.verified()
	require.Equal(t, fmt.Sprint(len(Views())), w.text(`SELECT count(*)::text FROM audit WHERE action = 'switch' AND who = 'tester'`))
	p, _ = w.run(w.config())
	w.grow(20)
	w.wait(p, w.head(), Views()...)
	w.same(w.head())
}

// TestRebuildOfAnEmptyReadDatabase has nothing to compare with.
func TestRebuildOfAnEmptyReadDatabase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.rebuild(Views()...)
	w.grow(2 * smallBatch)
	w.rebuild(Views()...)
	w.same(w.head())
	w.verified()
}

// ended is what a rebuild returns that is ended at a chosen point.
var errEnded = errors.New("ended")

// TestRebuildInterruptedGoesOn ends a rebuild at each point, where nothing is left to it but what it has stored, and begins again.
func TestRebuildInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(5 * smallBatch)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	for _, point := range []string{"loading", "loaded", "indexed", "compared", "before switch", "switching"} {
		for _, views := range [][]string{{OrderView, OrderSearch}} {
			generation := w.status(p, OrderView).Generation
			r := w.rebuilder(views...)
			passed := 0
			r.reach = func(at string) error {
				if at != point {
					return nil
				}
				if passed++; point == "loading" && passed < 4 {
					return nil
				}
				return errEnded
			}
			_, err := r.run(t.Context())
			require.ErrorIs(t, err, errEnded, point)
			require.Equal(t, fmt.Sprint(generation), w.text(`SELECT generation::text FROM checkpoints WHERE view = 'order_view'`), point)
			stored := w.text(`SELECT min(position)::text FROM next_views.builds`)
			require.NotEqual(t, "0", stored, point)
			w.grow(30)
			first := int64(0)
			r = w.rebuilder(views...)
			r.cfg.Progress = func(at Progress) {
				if first == 0 && at.Stage != StageIndex {
					first = at.Position
				}
			}
			done, err := r.run(t.Context())
			require.NoError(t, err, point)
			earlier := point == "compared" || point == "before switch" || point == "switching"
			require.Equal(t, earlier, done[0].Comparison.Earlier, point)
			require.Equal(t, !earlier, done[0].Comparison.Done, point)
			require.GreaterOrEqual(t, fmt.Sprintf("%09d", first), fmt.Sprintf("%09s", stored), "it began where it was")
			w.wait(p, w.head(), Views()...)
			w.until("the switch is noticed", func() bool { return w.status(p, OrderView).Generation == generation+1 })
		}
	}
	w.same(w.head())
	w.verified()
}

// TestRebuildEndedAfterTheSwitch leaves the former generation to be dropped by the next call.
func TestRebuildEndedAfterTheSwitch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(3 * smallBatch)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	r := w.rebuilder(OrderView)
	r.reach = func(at string) error {
		if at == "switched" {
			return errEnded
		}
		return nil
	}
	_, err := r.run(t.Context())
	require.ErrorIs(t, err, errEnded)
	require.Equal(t, "2", w.text(`SELECT generation::text FROM checkpoints WHERE view = 'order_view'`))
	require.Equal(t, fmt.Sprint(len(w.orders)), w.text(`SELECT count(*)::text FROM old_views.order_view`), "kept until told")
	w.grow(30)
	w.wait(p, w.head(), Views()...)
	w.verified()
	dropped, err := DropOld(t.Context(), w.rebuilder(Views()...).cfg)
	require.NoError(t, err)
	require.Equal(t, []Dropped{{View: OrderView, Generation: 1}}, dropped)
	require.Equal(t, "0", w.text(`SELECT count(*)::text FROM pg_tables WHERE schemaname = 'old_views' AND tablename = 'order_view'`))
	dropped, err = DropOld(t.Context(), w.rebuilder(Views()...).cfg)
	require.NoError(t, err)
	require.Empty(t, dropped)
	w.rebuild(OrderView)
	w.rebuild(OrderView)
	require.Equal(t, "3", w.text(`SELECT generation::text FROM old_views.kept WHERE view = 'order_view'`), "the former one takes the place of an older")
	w.verified()
}

func TestTwoRebuildsAtOnceAreRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(3 * smallBatch)
	r := w.rebuilder(OrderView)
	refused := false
	r.reach = func(at string) error {
		if at != "loading" || refused {
			return nil
		}
		refused = true
		_, err := w.rebuilder(Timeline).run(t.Context())
		require.ErrorIs(t, err, errRebuilding)
		_, err = Abort(t.Context(), w.rebuilder(Views()...).cfg)
		require.ErrorIs(t, err, errRebuilding)
		return nil
	}
	_, err := r.run(t.Context())
	require.NoError(t, err)
	require.True(t, refused)
}

func TestAbortLeavesNothingButTheLiveGeneration(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(4 * smallBatch)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	r := w.rebuilder(OrderView, Timeline)
	r.reach = func(at string) error {
		if at == "indexed" {
			return errEnded
		}
		return nil
	}
	_, err := r.run(t.Context())
	require.ErrorIs(t, err, errEnded)
	aborted, err := Abort(t.Context(), w.rebuilder(Views()...).cfg)
	require.NoError(t, err)
	require.Equal(t, []string{OrderView, Timeline}, aborted)
	require.Equal(t, "builds", w.text(`SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'next_views'`))
	require.Equal(t, "0", w.text(`SELECT count(*)::text FROM next_views.builds`))
	w.grow(30)
	w.wait(p, w.head(), Views()...)
	w.verified()
	w.rebuild(OrderView)
	w.verified()
}

// TestRebuildMakesTheTableWhole compares everything that a table has besides its rows.
func TestRebuildMakesTheTableWhole(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(2 * smallBatch)
	w.exec(`ALTER TABLE order_view SET (fillfactor = 90)`)
	w.exec(`ALTER TABLE order_view ALTER COLUMN tenant SET STATISTICS 500`)
	w.exec(`GRANT SELECT ON order_view TO PUBLIC`)
	const shape = `SELECT string_agg(s, E'\n' ORDER BY s) FROM (
		SELECT 'index ' || indexdef AS s FROM pg_indexes WHERE schemaname = 'public'
		UNION ALL SELECT format('column %s %s %s %s %s %s', attrelid::regclass, attname, atttypid::regtype, attnotnull, attcompression, coalesce(attstattarget, -1))
			FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND relkind = 'r'
		UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
		UNION ALL SELECT format('table %s %s %s %s', relname, relowner, reloptions, relacl) FROM pg_class WHERE relnamespace = 'public'::regnamespace) x`
	before := w.text(shape)
	require.Contains(t, before, "fillfactor=90")
	w.rebuild(Views()...)
	require.Equal(t, before, w.text(shape))
}

// TestRebuildSaysWhereTheLiveTableWasDamaged refuses to go on unasked where the same code made other rows.
func TestRebuildSaysWhereTheLiveTableWasDamaged(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(4 * smallBatch)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	w.exec(`UPDATE order_view SET total = total + 1 WHERE id = $1`, w.orders[3].ID)
	w.exec(`DELETE FROM order_view WHERE id = $1`, w.orders[5].ID)
	w.exec(`DELETE FROM timeline WHERE position = 9`)
	_, err := w.rebuilder(OrderView).run(t.Context())
	require.ErrorIs(t, err, ErrRowsDiffer)
	require.ErrorContains(t, err, fmt.Sprintf("2 of %d rows of order_view differ at position %d", len(w.orders)-1, w.head()))
	require.Equal(t, "1", w.text(`SELECT generation::text FROM checkpoints WHERE view = 'order_view'`))
	r := w.rebuilder(OrderView, Timeline)
	r.cfg.Accept = true
	done, err := r.run(t.Context())
	require.NoError(t, err)
	for _, one := range done {
		switch one.View {
		case OrderView:
			require.EqualValues(t, 1, one.Comparison.Changed)
			require.EqualValues(t, 1, one.Comparison.OnlyNew)
		case Timeline:
			require.EqualValues(t, 1, one.Comparison.OnlyNew)
			require.Contains(t, one.Comparison.Difference, "row 9,")
		}
	}
	w.verified()
}

// TestSwitchWaitsForALongRead has a read hold the live table: the switch lets others read, and comes when the read ends.
func TestSwitchWaitsForALongRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.grow(3 * smallBatch)
	p, _ := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	long, err := w.read.Begin(t.Context())
	require.NoError(t, err)
	_, err = long.Exec(t.Context(), `LOCK TABLE order_view IN ACCESS SHARE MODE`)
	require.NoError(t, err)
	r := w.rebuilder(OrderView)
	tries, waited := 0, make(chan struct{})
	r.cfg.Progress = func(at Progress) {
		if at.Stage == StageSwitch && at.Position == at.Target {
			if tries++; tries == 3 {
				close(waited)
			}
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.run(context.WithoutCancel(t.Context()))
		done <- err
	}()
	<-waited
	w.grow(30)
	w.wait(p, w.head(), Views()...)
	require.Equal(t, "1", w.text(`SELECT generation::text FROM checkpoints WHERE view = 'order_view'`))
	require.NotEmpty(t, w.text(`SELECT count(*)::text FROM order_view`))
	require.NoError(t, long.Rollback(t.Context()))
	require.NoError(t, <-done)
	w.grow(30)
	w.wait(p, w.head(), Views()...)
	w.verified()
}
