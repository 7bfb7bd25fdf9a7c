package broadcast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/stream"
)

const (
	verifyBatch = 1000
	verifyWait  = 5 * time.Second // for the broker to hand over messages that it says it has
)

// errBrokerSlow means that nothing can be said of the stream for now.
var errBrokerSlow = errors.New("the broker is slow")

// Verification is what was found comparing the stream with the log.
type Verification struct {
	Messages   int64 // compared
	Bounds     stream.Bounds
	Difference string // the first one; empty where there is none
	At         int64  // its position
}

func (v *Verification) differs(at int64, format string, args ...any) {
	if v.Difference == "" {
		v.Difference, v.At = fmt.Sprintf(format, args...), at
	}
}

// Verify compares each message of the stream with the log, byte for byte, up to a position of the log that is known to be
// complete. A stream that ends before it differs: what is missing is what the relay still has to copy.
func Verify(ctx context.Context, js jetstream.JetStream, log Log, to int64, progress func(messages int64)) (*Verification, error) {
	v := &Verification{}
	bounds, err := stream.BoundsOf(ctx, js)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		v.differs(1, "there is no stream")
		return v, nil
	}
	if err != nil {
		return v, err
	}
	v.Bounds = bounds
	s := &scan{v: v, log: log, position: max(bounds.First-1, 0), to: min(bounds.Last, to), progress: progress}
	if err := s.run(ctx, js); err != nil {
		return v, err
	}
	if bounds.Last < to {
		v.differs(bounds.Last+1, "the stream ends at %d, the log at %d", bounds.Last, to)
	}
	if bounds.Last > to {
		if _, known, err := log.Digest(ctx, bounds.Last); err != nil || !known {
			v.differs(to+1, "the stream ends at %d, beyond the log", bounds.Last)
			return v, err
		}
	}
	return v, nil
}

// scan compares a stretch of the stream with the log.
type scan struct {
	v        *Verification
	log      Log
	position int64 // the last that was compared
	to       int64
	progress func(int64)
	js       jetstream.JetStream
	consumer jetstream.Consumer
}

func (s *scan) run(ctx context.Context, js jetstream.JetStream) error {
	if s.position >= s.to {
		return nil
	}
	if err := s.open(ctx, js); err != nil {
		return err
	}
	for s.position < s.to && s.v.Difference == "" {
		if err := s.step(ctx, verifyBatch); err != nil {
			return err
		}
	}
	return nil
}

// open makes a consumer that begins after the position.
func (s *scan) open(ctx context.Context, js jetstream.JetStream) error {
	consumer, err := js.CreateConsumer(ctx, stream.Name, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(s.position + 1), //nolint:gosec // positions are never negative
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	s.js, s.consumer = js, consumer
	return nil
}

// step compares up to a number of messages.
func (s *scan) step(ctx context.Context, most int64) error {
	batch, err := s.consumer.Fetch(int(min(most, s.to-s.position)), jetstream.FetchMaxWait(verifyWait))
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return s.take(ctx, batch)
}

func (s *scan) take(ctx context.Context, batch jetstream.MessageBatch) error {
	records, err := s.log.Read(ctx, s.position, verifyBatch)
	if err != nil {
		return err
	}
	taken := int64(0)
	for msg := range batch.Messages() {
		if int(taken) < len(records) && s.v.Difference == "" {
			s.compare(msg, &records[taken])
		}
		taken++
	}
	if err := batch.Error(); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if taken == 0 {
		if err := s.missing(ctx); err != nil {
			return err
		}
	}
	s.v.Messages += taken
	s.position += taken
	s.progress(taken)
	return nil
}

// missing tells a message that is not there from a broker that is slow, which is no difference: its error says to try again.
func (s *scan) missing(ctx context.Context) error {
	next := s.position + 1
	_, err := stream.Message(ctx, s.js, next)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		s.v.differs(next, "the stream does not hand over position %d", next)
		return nil
	case err != nil && !errors.Is(err, stream.ErrDiverged):
		return fmt.Errorf("read message %d: %w", next, err)
	}
	return fmt.Errorf("%w: position %d is there and was not handed over within %s", errBrokerSlow, next, verifyWait)
}

func (s *scan) compare(msg jetstream.Msg, want *stream.Record) {
	got, err := stream.RecordOf(msg)
	switch {
	case err != nil && !errors.Is(err, stream.ErrDiverged):
		s.v.differs(want.Position, "%v", err)
	case got.Position != want.Position:
		s.v.differs(want.Position, "the stream has a hole at %d", want.Position)
	default:
		if what := unlike(&got, want); what != "" {
			s.v.differs(want.Position, "%s", what)
		}
	}
}

// unlike says how a message differs from the row at its position; empty where it does not.
func unlike(got, want *stream.Record) string {
	switch {
	case !bytes.Equal(got.Body, want.Body):
		return fmt.Sprintf("message %d is not the log's event", want.Position)
	case got.Digest != want.Digest:
		return fmt.Sprintf("message %d carries another digest than the log", want.Position)
	case got.Subject != want.Subject:
		return fmt.Sprintf("message %d has the subject %q, the log %q", want.Position, got.Subject, want.Subject)
	}
	return ""
}
