package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// beats is how many looks there are between two notes that the system runs.
const beats = 5

// worker takes one system along the log.
type worker struct {
	cfg     *Config
	system  System
	metrics *metrics
	convoy  *convoy
	wake    func()        // tells the system's sender that effects may have been queued
	waiting func() Status // the sender's part of the status; nil where there is none

	tip stream.Tip // the last position whose transaction is committed

	control  int64                // what people had asked for when the system began to follow
	skipped  map[int64]bool       // events that it goes past
	needless map[events.Type]bool // that it has nothing to do with
	alone    int64                // before it has reached this position it does not go with the others

	mu    sync.Mutex
	state Status
}

func (w *worker) run(ctx context.Context) {
	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() { w.beat(ctx) })
	failures := 0
	for ctx.Err() == nil {
		before := w.status().Position
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if w.status().Position > before {
			failures = 0
		}
		failures++
		w.rest(ctx, w.failed(ctx, err, failures))
	}
}

// beat notes that there is a process which runs the system.
func (w *worker) beat(ctx context.Context) {
	for ctx.Err() == nil {
		// Where it fails the database is away, which is seen otherwise.
		_, _ = w.cfg.Pool.Exec(ctx, updateSeen, w.system.Name(), w.cfg.Clock().UTC())
		pause(ctx, beats*w.cfg.Pace.Look)
	}
}

// rest waits for d, or until people ask for something.
func (w *worker) rest(ctx context.Context, d time.Duration) {
	until := time.Now().Add(d)
	for left := d; left > 0 && ctx.Err() == nil; left = time.Until(until) {
		pause(ctx, min(left, w.cfg.Pace.Look))
		cp, err := scanCheckpoint(w.cfg.Pool.QueryRow(ctx, selectCheckpoint, w.system.Name()))
		if err == nil && cp.control != w.control {
			return
		}
	}
}

// failed notes why the system does not go on and says how long to wait before it tries again.
func (w *worker) failed(ctx context.Context, err error, failures int) time.Duration {
	log := w.cfg.Logger.With("system", w.system.Name())
	switch {
	case errors.Is(err, errMoved):
		w.note(func(s *Status) { s.Waiting = err.Error() })
		return w.cfg.Pace.Look
	case errors.Is(err, errPaused):
		w.note(func(s *Status) { s.Paused, s.Stopped, s.Waiting = true, "", "" })
		return w.cfg.Pace.StoppedWait
	case databaseAway(err):
		log.WarnContext(ctx, "auxiliary system waits for its database", "cause", err)
		w.note(func(s *Status) { s.Waiting = "the auxiliary database is away" })
		return w.cfg.Pace.Retry.after(failures)
	}
	if w.status().Stopped != err.Error() {
		log.ErrorContext(ctx, "auxiliary system stopped", "position", w.status().Position, "cause", err)
	}
	w.note(func(s *Status) { s.Stopped, s.Waiting = err.Error(), "" })
	if err := markStopped(ctx, w.cfg.Pool, w.system.Name(), w.status().Position, err.Error()); err != nil {
		log.WarnContext(ctx, "auxiliary system stopped and cannot note it", "cause", err)
	}
	return w.cfg.Pace.StoppedWait
}

// follow reads on from the stored position until something fails. It always returns an error.
func (w *worker) follow(ctx context.Context) error {
	cp, err := loadCheckpoint(ctx, w.cfg.Pool, w.system.Name(), w.cfg.QuietTo)
	if err != nil {
		return err
	}
	if cp.rebuild {
		if err := Rebuild(ctx, w.cfg.Pool, w.system); err != nil {
			return err
		}
		w.cfg.Logger.InfoContext(ctx, "auxiliary system begins anew", "system", w.system.Name(), "was_at", cp.position)
		if cp, err = loadCheckpoint(ctx, w.cfg.Pool, w.system.Name(), w.cfg.QuietTo); err != nil {
			return err
		}
	}
	if w.control != cp.control {
		w.alone = 0 // what it could not apply may be behind it, or left out
	}
	w.control = cp.control
	if w.skipped, err = skippedEvents(ctx, w.cfg.Pool, w.system.Name()); err != nil {
		return err
	}
	w.note(func(s *Status) { s.Position, s.Paused = cp.position, cp.paused })
	if cp.paused {
		return errPaused
	}
	w.tip.Set(cp.position)
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() { w.watch(ctx, cancel) })
	err = w.readOn(ctx, cp)
	if errors.Is(context.Cause(ctx), errMoved) {
		return errMoved
	}
	return err
}

// readOn goes along the log, with the others where it can.
func (w *worker) readOn(ctx context.Context, at checkpoint) error {
	for {
		if w.convoy.near(at.position) && at.position >= w.alone {
			var down setDown
			if at, down = w.convoy.ride(ctx, w, at); down.err != nil {
				return down.err
			}
			w.alone = max(w.alone, down.alone)
			continue
		}
		var err error
		if at, err = w.goAlone(ctx, at); err != nil {
			return err
		}
	}
}

// goAlone reads on with a follower of its own until the system can go with the others.
func (w *worker) goAlone(ctx context.Context, at checkpoint) (checkpoint, error) {
	source := w.cfg.NewFollower(w.system.Name(), at.position, at.digest)
	defer source.Close()
	m := &member{w: w, at: at}
	for {
		records, err := source.Next(ctx, w.cfg.Pace.Batch)
		if err != nil {
			return m.at, fmt.Errorf("read on after %d: %w", m.at.position, err)
		}
		began := time.Now()
		if err := w.take(ctx, m, records); err != nil {
			return m.at, err
		}
		if m.at.position >= w.alone && w.convoy.near(m.at.position) {
			return m.at, nil
		}
		pause(ctx, w.cfg.breath(time.Since(began), len(records) == w.cfg.Pace.Batch))
	}
}

// watch looks whether the system was sent back by a rebuild or people ask for something, which a worker that waits for the next event would not notice.
func (w *worker) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		pause(ctx, w.cfg.Pace.Look)
		here := w.tip.Position()
		cp, err := scanCheckpoint(w.cfg.Pool.QueryRow(ctx, selectCheckpoint, w.system.Name()))
		if errors.Is(err, pgx.ErrNoRows) || err == nil && (cp.position < here || cp.control != w.control) {
			cancel(errMoved)
		}
	}
}

// take applies records. Where the batch fails for its content it is halved, so that the system stands exactly at the event that it
// cannot apply.
func (w *worker) take(ctx context.Context, m *member, records []stream.Record) error {
	err := together(ctx, w.cfg, lockCheckpoint, []*member{m}, newReading(records))
	if err == nil || len(records) == 1 || !contentFault(err) || ctx.Err() != nil {
		var b *blame
		if errors.As(err, &b) {
			return b.err
		}
		return err
	}
	half := len(records) / 2
	if err := w.take(ctx, m, records[:half]); err != nil {
		return err
	}
	return w.take(ctx, m, records[half:])
}

// contentFault tells whether trying the same again cannot help.
func contentFault(err error) bool { return !errors.Is(err, errMoved) && !databaseAway(err) }

// databaseAway tells whether the event is not to blame: no connection, whatever the server's reason, a lost one, or a
// transaction that lost against another.
func databaseAway(err error) bool {
	_, noConnection := errors.AsType[*pgconn.ConnectError](err)
	return noConnection || errors.Is(err, errKeysAway) || postgres.IsUnavailable(err) || errors.Is(err, postgres.ErrOutcomeUnknown) ||
		postgres.IsSerializationFailure(err)
}

func (w *worker) note(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.state)
	w.metrics.stopped(w.state.Name, w.state.Stopped != "", w.state.Paused)
}

func (w *worker) status() Status {
	w.mu.Lock()
	s := w.state
	w.mu.Unlock()
	if w.waiting != nil {
		out := w.waiting()
		s.Queued, s.Dead, s.TargetAway = out.Queued, out.Dead, out.TargetAway
	}
	return s
}
