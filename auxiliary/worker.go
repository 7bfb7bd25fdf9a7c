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

// worker takes one system along the log.
type worker struct {
	cfg     *Config
	system  System
	metrics *metrics
	wake    func()        // tells the system's sender that effects may have been queued
	waiting func() Status // the sender's part of the status; nil where there is none

	tip stream.Tip // the last position whose transaction is committed

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
		pause(ctx, w.failed(ctx, err, failures))
	}
}

// failed notes why the system does not go on and says how long to wait before it tries again.
func (w *worker) failed(ctx context.Context, err error, failures int) time.Duration {
	log := w.cfg.Logger.With("system", w.system.Name())
	switch {
	case errors.Is(err, errMoved):
		w.note(func(s *Status) { s.Waiting = err.Error() })
		return time.Second
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
	w.note(func(s *Status) { s.Position = cp.position })
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
		if cp, err = w.take(ctx, cp, records); err != nil {
			return err
		}
		if len(records) < w.cfg.Pace.Batch {
			pause(ctx, w.cfg.Pace.Linger)
		}
	}
}

// watch looks whether the system was sent back by a rebuild, which a worker that waits for the next event would not notice.
func (w *worker) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for ctx.Err() == nil {
		pause(ctx, w.cfg.Pace.Look)
		here := w.tip.Position()
		cp, err := scanCheckpoint(w.cfg.Pool.QueryRow(ctx, selectCheckpoint, w.system.Name()))
		if errors.Is(err, pgx.ErrNoRows) || err == nil && cp.position < here {
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
	batch := Batch{Events: make([]events.Event, len(records)), QuietTo: cp.quietTo, Now: w.cfg.Clock().UTC()}
	for i := range records {
		e, err := read(&records[i])
		if err != nil {
			return cp, &stopError{position: records[i].Position, typ: e.Type, cause: err}
		}
		batch.Events[i] = e
	}
	next := checkpoint{position: last.Position, digest: last.Digest}
	err := postgres.InTx(ctx, w.cfg.Pool, func(tx pgx.Tx) error {
		locked, err := lockCheckpoint(ctx, tx, name, cp.position)
		if err != nil {
			return err
		}
		batch.QuietTo, next.quietTo = locked.quietTo, locked.quietTo
		if err := guard(func() error { return w.system.Apply(ctx, tx, batch) }); err != nil {
			return err
		}
		return moveCheckpoint(ctx, tx, name, next.position, next.digest)
	})
	if err != nil {
		if contentFault(err) {
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
	w.metrics.stopped(w.state.Name, w.state.Stopped != "")
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
