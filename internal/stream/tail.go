package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoTail says that the stream begins too late to go on from a position.
var ErrNoTail = errors.New("the stream does not reach back")

// Ahead says how far the stream is, when it holds what follows a position and a relay published that; 0 where it does not. A stream
// that is not there is not ahead.
func Ahead(ctx context.Context, js jetstream.JetStream, position int64) (last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	bounds, err := BoundsOf(ctx, js)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case bounds.Last <= position || bounds.Messages == 0:
		return 0, nil
	}
	_, err = Message(ctx, js, position+1)
	switch {
	case err == nil, errors.Is(err, jetstream.ErrMsgNotFound): // missing, while later ones are there: it was
		return bounds.Last, nil
	case errors.Is(err, ErrDiverged): // without a digest it is somebody else's
		return 0, nil
	}
	return 0, err
}

// Tail reads what the stream holds after the end of a log that has lost it, and checks that it follows.
type Tail struct {
	stream   jetstream.Stream
	position int64
	digest   [32]byte
	last     int64
}

// OpenTail makes sure that the stream goes on from a position and its digest. It returns ErrNoTail where the stream begins after that,
// and ErrDiverged where it holds something else at the position (test with errors.Is).
func OpenTail(ctx context.Context, js jetstream.JetStream, after int64, digest [32]byte) (*Tail, error) {
	bounds, err := BoundsOf(ctx, js)
	if err != nil {
		return nil, err
	}
	t := &Tail{position: after, digest: digest, last: bounds.Last}
	if t.last <= after {
		return t, nil
	}
	if t.stream, err = lookUp(ctx, js); err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	if bounds.First > after+1 {
		return nil, fmt.Errorf("%w to %d: it begins at %d", ErrNoTail, after+1, bounds.First)
	}
	if bounds.First > after {
		return t, nil // the first record's digest says what comes before it
	}
	here, err := t.message(ctx, after)
	if err != nil {
		return nil, err
	}
	if here.Digest != digest {
		return nil, fmt.Errorf("position %d: %w: log and stream have different events there", after, ErrDiverged)
	}
	return t, nil
}

// Last is where the stream ended when the tail was opened.
func (t *Tail) Last() int64 { return t.last }

// Next gives the next records, limit at most, and none at the end. It returns ErrDiverged (test with errors.Is) where a record does not
// follow the one before it.
func (t *Tail) Next(ctx context.Context, limit int) ([]Record, error) {
	n := min(int64(limit), t.last-t.position)
	if n <= 0 {
		return nil, nil
	}
	records := make([]Record, 0, n)
	for range n {
		r, err := t.message(ctx, t.position+1)
		if err != nil {
			return nil, err
		}
		if !r.follows(t.position, t.digest) {
			return nil, fmt.Errorf("position %d: %w", r.Position, ErrDiverged)
		}
		t.position, t.digest = r.Position, r.Digest
		records = append(records, r)
	}
	return records, nil
}

func (t *Tail) message(ctx context.Context, position int64) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	msg, err := t.stream.GetMsg(ctx, uint64(position)) //nolint:gosec // positions are never negative
	if err != nil {
		return Record{}, fmt.Errorf("get message %d: %w", position, err)
	}
	return newRecord(int64(msg.Sequence), msg.Subject, msg.Data, msg.Header) //nolint:gosec // below 2^63
}
