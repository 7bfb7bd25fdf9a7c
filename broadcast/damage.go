package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/stream"
)

// examineWithin is for the broker and the log to answer what has to be known of a stream that is not as it should be.
const examineWithin = time.Minute

// damageError says that the stream is not a copy of the log, and that the log has all that it ever had: it can be made again.
type damageError struct {
	at   int64
	what string
}

var errNotMine = errors.New("the relay that has the lease is the one to mend the stream")

// Error says where, and what.
func (d *damageError) Error() string {
	return fmt.Sprintf("the stream is damaged at %d: %s", d.at, d.what)
}

// difference is how one message differs from the log's row.
type difference struct {
	what    string // empty: it does not
	unknown bool   // it carries the digest of an event that the log does not have at its position
}

// examine compares the stream's end with the log, and what else can be told of it at once. It returns ErrNotACopy (test with errors.Is)
// for a stream that may hold what the log has lost, and a damageError for one that can be made again.
func (r *Relay) examine(ctx context.Context, bounds stream.Bounds) error {
	_, ok, err := r.rows.Digest(ctx, bounds.Last)
	if err != nil {
		return err
	}
	if !ok {
		head, _, err := r.rows.Head(ctx)
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: it ends at %d, the log at %d", ErrNotACopy, bounds.Last, head)
	}
	if bounds.Messages > 0 {
		if err := r.examineEnd(ctx, bounds); err != nil {
			return err
		}
	}
	if err := r.examineSuspect(ctx, bounds); err != nil {
		return err
	}
	return r.examineFront(ctx, bounds)
}

// examineEnd looks for the last message that is the log's row. The digests being a chain, the log then has all before it too. What comes
// after it and carries a digest is an event that the log does not have: nobody may throw it away. What carries none was not published by a relay.
func (r *Relay) examineEnd(ctx context.Context, bounds stream.Bounds) error {
	var found *damageError
	for p := bounds.Last; p >= bounds.First; p-- {
		d, err := r.differs(ctx, p)
		switch {
		case err != nil:
			return err
		case d.unknown:
			return fmt.Errorf("%w: position %d differs: %s", ErrNotACopy, p, d.what)
		case d.what == "" && found == nil && bounds.Holes() > 0:
			return &damageError{at: p, what: fmt.Sprintf("%d positions are missing before it", bounds.Holes())}
		case d.what == "":
			return found.orNil()
		}
		found = &damageError{at: p, what: d.what}
	}
	now, err := stream.BoundsOf(ctx, r.js)
	if err != nil || now.First > bounds.First {
		return err // they were as old as the limits let them be
	}
	return found.orNil()
}

// orNil keeps a nil pointer from becoming an error.
func (d *damageError) orNil() error {
	if d == nil {
		return nil
	}
	return d
}

// differs compares one message with the log's row.
func (r *Relay) differs(ctx context.Context, position int64) (difference, error) {
	rows, err := r.rows.Read(ctx, position-1, 1)
	if err != nil {
		return difference{}, err
	}
	if len(rows) == 0 {
		return difference{}, fmt.Errorf("%w: the log has no position %d", ErrNotACopy, position)
	}
	message, err := stream.Message(ctx, r.js, position)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return difference{what: "there is no message"}, nil
	case errors.Is(err, stream.ErrDiverged):
		return difference{what: "the message carries no digest"}, nil
	case err != nil:
		return difference{}, err
	case message.Digest != rows[0].Digest:
		return difference{what: "the message carries the digest of another event", unknown: true}, nil
	}
	return difference{what: unlike(&message, &rows[0])}, nil
}

// examineSuspect looks again at what the scrubber found. The stream's end is a row of the log, so whatever stands before it was one.
func (r *Relay) examineSuspect(ctx context.Context, bounds stream.Bounds) error {
	at := r.suspect
	if at < bounds.First || at > bounds.Last || bounds.Messages == 0 {
		r.suspect = 0
		return nil
	}
	d, err := r.differs(ctx, at)
	if err != nil {
		return err
	}
	if d.what == "" {
		r.suspect = 0
		return nil
	}
	return &damageError{at: at, what: d.what}
}

// examineFront finds a stream that was purged: one that begins later than even half its limits would have it begin.
func (r *Relay) examineFront(ctx context.Context, bounds stream.Bounds) error {
	if bounds.First <= 1 {
		return nil
	}
	first, err := r.on.Kept(ctx, r.cfg.Limits.Half(), time.Now())
	if err != nil || bounds.First <= first {
		return err
	}
	return &damageError{at: first, what: fmt.Sprintf("the stream begins at %d", bounds.First)}
}

// rebuild deletes the stream, which is then made as one that was never there. The other copy of what it holds is the log, so that is looked through first: every row has to
// chain on to the one before. All consumers at the broker go with it; whoever reads keeps its position itself.
func (r *Relay) rebuild(ctx context.Context, l *lease, d *damageError) error {
	if !l.held(ctx) {
		return fmt.Errorf("%w: %s", errNotMine, d.Error())
	}
	if since := time.Since(r.rebuilt); !r.rebuilt.IsZero() && since < r.pace.rebuild {
		return fmt.Errorf("made again %s ago, and once more after %s: %w", since.Round(time.Second), r.pace.rebuild, d)
	}
	r.cfg.Logger.ErrorContext(ctx, "the stream is to be made again", "cause", d)
	r.setHealth("%s; the log is looked through before the stream is made again", d)
	bounds, err := stream.BoundsOf(ctx, r.js)
	if err != nil {
		return err
	}
	if bounds.Messages > 0 {
		if err := r.chains(ctx, bounds); err != nil {
			return fmt.Errorf("%w; the stream is kept though it is damaged at %d (%s)", err, d.at, d.what)
		}
	}
	if !l.held(ctx) {
		return fmt.Errorf("%w: %s", errNotMine, d.Error())
	}
	answer, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	if err := stream.Drop(answer, r.js); err != nil {
		return fmt.Errorf("%w: %w", d, err)
	}
	r.rebuilt = time.Now()
	r.metrics.rebuilds.Inc()
	r.setHealth("made again at %s: %s", r.rebuilt.UTC().Format(time.RFC3339), d)
	return nil
}

// chains makes sure that the log has every row of the stream, each following the one before.
func (r *Relay) chains(ctx context.Context, bounds stream.Bounds) error {
	digest, ok, err := r.rows.Digest(ctx, bounds.First-1)
	if err != nil {
		return err
	}
	for at := bounds.First - 1; ok && at < bounds.Last; {
		rows, err := r.rows.Read(ctx, at, relayBatch)
		if err != nil && !errors.Is(err, stream.ErrDiverged) {
			return err
		}
		ok = err == nil && len(rows) > 0
		for i := range rows {
			if stream.Chain(digest, rows[i].Position, rows[i].Body) != rows[i].Digest {
				return fmt.Errorf("%w: the log itself does not chain at %d", ErrNotACopy, rows[i].Position)
			}
			at, digest = rows[i].Position, rows[i].Digest
		}
	}
	if !ok {
		return fmt.Errorf("%w: the log does not have all of %d to %d", ErrNotACopy, bounds.First, bounds.Last)
	}
	return nil
}
