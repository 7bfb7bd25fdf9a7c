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
	wake    func()        // tells the system's sender that effects may have been queued
	waiting func() Status // the sender's part of the status; nil where there is none

	tip stream.Tip // the last position whose transaction is committed

	control int64          // what people had asked for when the system began to follow
	skipped map[int64]bool // events that it goes past

	mu    sync.Mutex
	state Status
}

// stopError says at which event the system cannot go on.
type stopError struct {
	position int64
	typ      events.Type
	cause    error
}

func (e *stopError) Error() string {
	return fmt.Sprintf("event %d (%s): %s", e.position, e.typ, e.cause)
}

func (e *stopError) Unwrap() error { return e.cause }

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

func (w *worker) readOn(ctx context.Context, cp checkpoint) error {
	source := w.cfg.NewFollower(w.system.Name(), cp.position, cp.digest)
	defer source.Close()
	for {
		records, err := source.Next(ctx, w.cfg.Pace.Batch)
		if err != nil {
			return fmt.Errorf("read on after %d: %w", cp.position, err)
		}
		began := time.Now()
		if cp, err = w.take(ctx, cp, records); err != nil {
			return err
		}
		pause(ctx, w.cfg.Pace.breath(time.Since(began), len(records) == w.cfg.Pace.Batch))
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

// take applies records. Where the batch fails for its content it goes event by event, so that the system stands exactly at
// the one that it cannot apply.
func (w *worker) take(ctx context.Context, cp checkpoint, records []stream.Record) (checkpoint, error) {
	next, err := w.apply(ctx, cp, records)
	if err == nil || len(records) == 1 || !contentFault(err) || ctx.Err() != nil {
		return next, err
	}
	for i := range records {
		if cp, err = w.apply(ctx, cp, records[i:i+1]); err != nil {
			return cp, err
		}
	}
	return cp, nil
}

// contentFault tells whether trying the same again cannot help.
func contentFault(err error) bool { return !errors.Is(err, errMoved) && !databaseAway(err) }

// databaseAway tells whether the event is not to blame: no connection, whatever the server's reason, a lost one, or a
// transaction that lost against another.
func databaseAway(err error) bool {
	_, noConnection := errors.AsType[*pgconn.ConnectError](err)
	return noConnection || postgres.IsUnavailable(err) || errors.Is(err, postgres.ErrOutcomeUnknown) ||
		postgres.IsSerializationFailure(err)
}

// read decodes an event, unless this process has appended it and still has it.
func read(r *stream.Record) (events.Event, error) {
	if own, ok := r.Fact.(*events.Appended); ok {
		return *own.Event, nil
	}
	return events.Decode(r.Position, r.Body)
}

// apply does one transaction and gives the position after it.
func (w *worker) apply(ctx context.Context, cp checkpoint, records []stream.Record) (checkpoint, error) {
	name, last := w.system.Name(), &records[len(records)-1]
	batch := Batch{Events: make([]events.Event, 0, len(records)), QuietTo: cp.quietTo, Now: w.cfg.Clock().UTC()}
	for i := range records {
		if w.skipped[records[i].Position] {
			continue
		}
		e, err := read(&records[i])
		if err != nil {
			return cp, &stopError{position: records[i].Position, typ: e.Type, cause: err}
		}
		batch.Events = append(batch.Events, e)
	}
	next := checkpoint{position: last.Position, digest: last.Digest, control: cp.control}
	err := postgres.InTx(ctx, w.cfg.Pool, func(tx pgx.Tx) error {
		locked, err := lockCheckpoint(ctx, tx, name, cp)
		if err != nil {
			return err
		}
		batch.QuietTo, next.quietTo = locked.quietTo, locked.quietTo
		if len(batch.Events) == 0 {
			return moveCheckpoint(ctx, tx, name, next.position, next.digest)
		}
		if err := guard(func() error { return w.system.Apply(ctx, tx, batch) }); err != nil {
			return err
		}
		return moveCheckpoint(ctx, tx, name, next.position, next.digest)
	})
	if err != nil {
		if contentFault(err) && len(batch.Events) > 0 {
			err = &stopError{position: batch.Events[0].Position, typ: batch.Events[0].Type, cause: err}
		}
		return cp, err
	}
	w.metrics.moved(name, next.position, len(records))
	w.note(func(s *Status) { s.Position, s.Stopped, s.Waiting = next.position, "", "" })
	w.tip.Set(next.position)
	w.wake()
	return next, nil
}

// guard keeps one system's panic from ending the others.
func guard(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return do()
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
