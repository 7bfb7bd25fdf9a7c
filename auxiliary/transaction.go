package auxiliary

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

// member is a system on its way along the log, alone or with others.
type member struct {
	w    *worker
	at   checkpoint
	down chan setDown // told once, when it goes with the others no more
}

// setDown says why a system does not go with the others any more.
type setDown struct {
	err   error // nil: it goes on alone
	alone int64 // until it has reached this position it does not come back
}

// blame is a member for which a transaction could not be made, while the others could have had theirs.
type blame struct {
	member *member
	err    error
}

func (b *blame) Error() string { return b.member.w.system.Name() + ": " + b.err.Error() }

func (b *blame) Unwrap() error { return b.err }

// together applies what was read to all members, which stand at the position before it, and moves them, in one transaction. It is
// made for all or for none: a *blame says whose fault that is, any other error is nobody's. how is lockCheckpoint or lockCheckpoints.
func together(ctx context.Context, cfg *Config, how string, members []*member, r *reading) error {
	now := cfg.Clock().UTC()
	batches := make([]Batch, len(members))
	for i, m := range members {
		all, err := r.eventsFor(m.w)
		if err != nil {
			return &blame{m, err}
		}
		batches[i] = Batch{Events: all, Now: now}
	}
	last := &r.records[len(r.records)-1]
	err := postgres.InTx(ctx, cfg.Pool, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, how, members); err != nil {
			return err
		}
		for i, m := range members {
			batches[i].QuietTo = m.at.quietTo
			if err := applyTo(ctx, tx, m, batches[i]); err != nil {
				return err
			}
		}
		if seeded.On(seeded.AuxiliaryTwice) {
			return nil
		}
		return moveCheckpoints(ctx, tx, members, last.Position, last.Digest)
	})
	if err == nil && seeded.On(seeded.AuxiliaryTwice) {
		err = postgres.InTx(ctx, cfg.Pool, func(tx pgx.Tx) error { return moveCheckpoints(ctx, tx, members, last.Position, last.Digest) })
	}
	if err != nil {
		return err
	}
	for _, m := range members {
		m.at.position, m.at.digest = last.Position, last.Digest
		m.w.moved(last.Position, len(r.records))
	}
	return nil
}

func applyTo(ctx context.Context, tx pgx.Tx, m *member, batch Batch) error {
	if len(batch.Events) == 0 {
		return nil
	}
	err := guard(func() error { return m.w.system.Apply(ctx, tx, batch) })
	if err == nil || ctx.Err() != nil || !contentFault(err) {
		return err
	}
	return &blame{m, &stopError{position: batch.Events[0].Position, typ: batch.Events[0].Type, cause: err}}
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

// moved tells those who wait that a transaction is committed.
func (w *worker) moved(position int64, handled int) {
	w.metrics.moved(w.system.Name(), position, handled)
	w.note(func(s *Status) { s.Position, s.Stopped, s.Waiting = position, "", "" })
	w.tip.Set(position)
	w.wake()
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
