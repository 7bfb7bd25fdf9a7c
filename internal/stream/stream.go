package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Name is the stream that copies the log; Subjects is what it holds.
const (
	Name     = "ORDERS"
	Subjects = "orders.>"
)

// Limits bound what the stream keeps. The log keeps everything; readers that come late read the log first.
type Limits struct {
	MaxAge   time.Duration // 0: no limit
	MaxBytes int64         // 0: no limit
	Replicas int           // 0: one
}

// answerWithin is for the broker to answer one question. What was asked on a connection that broke is never answered, however long the
// caller would wait.
const answerWithin = 5 * time.Second

// lookUp asks the broker for the stream.
func lookUp(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return js.Stream(ctx, Name)
}

// Ensure creates the stream, to begin with position 1, or leaves the one there is as it is. What it has that was not asked for is
// found by Mend.
func Ensure(ctx context.Context, js jetstream.JetStream, limits Limits) (jetstream.Stream, error) {
	return EnsureFrom(ctx, js, limits, func(context.Context) (int64, error) { return 1, nil })
}

// EnsureFrom is Ensure with a stream that begins where first says. It is asked only if there is none.
func EnsureFrom(ctx context.Context, js jetstream.JetStream, limits Limits, first func(context.Context) (int64, error)) (jetstream.Stream, error) {
	s, err := lookUp(ctx, js)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	cfg := config(limits)
	from, err := first(ctx)
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", Name, err)
	}
	if from > 1 {
		cfg.FirstSeq = uint64(from)
	}
	s, err = js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		s, err = lookUp(ctx, js)
	}
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", Name, err)
	}
	return s, nil
}

// Drop deletes the stream with all its consumers. One that is not there is no error.
func Drop(ctx context.Context, js jetstream.JetStream) error {
	if err := js.DeleteStream(ctx, Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete stream %s: %w", Name, err)
	}
	return nil
}

// config is what we want of the stream. What it leaves at zero is wanted to be zero: wanted in drift.go says which of it is looked at.
func config(limits Limits) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              Name,
		Description:       "copy of the order log: a message's sequence is its position",
		Subjects:          []string{Subjects},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardOld,
		MaxAge:            limits.MaxAge,
		MaxBytes:          orUnlimited(limits.MaxBytes),
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		MaxMsgSize:        -1,
		Replicas:          max(limits.Replicas, 1),
		Compression:       jetstream.S2Compression,
		DenyDelete:        true,
		DenyPurge:         true,
		// Readers are far more than a server's default limit of one thousand, which -1 does not lift.
		MaxConsumers: 100_000,
		// The expected last sequence alone keeps a message from being stored twice.
		Duplicates: 100 * time.Millisecond,
		// A broker that flushes each message takes a refill seventy times faster in atomic batches.
		AllowAtomicPublish: true,
	}
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// Bounds are the first and last sequence that the stream holds. An empty stream that starts at n has First n and Last n-1.
type Bounds struct {
	First, Last int64
	Messages    int64 // between them; fewer than there is room for where the stream has a hole
}

// Holes is how many positions between the first and the last the stream lacks.
func (b Bounds) Holes() int64 {
	if b.Messages == 0 {
		return 0
	}
	return b.Last - b.First + 1 - b.Messages
}

// BoundsOf asks the stream's leader.
func BoundsOf(ctx context.Context, js jetstream.JetStream) (Bounds, error) {
	s, err := lookUp(ctx, js)
	if err != nil {
		return Bounds{}, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	state := s.CachedInfo().State
	return Bounds{First: int64(state.FirstSeq), Last: int64(state.LastSeq), Messages: int64(state.Msgs)}, nil //nolint:gosec // below 2^63
}

// Message reads one message of the stream. It returns jetstream.ErrMsgNotFound (test with errors.Is) where the stream has none
// at that position, and ErrDiverged where the message carries no digest.
func Message(ctx context.Context, js jetstream.JetStream, position int64) (Record, error) {
	s, err := lookUp(ctx, js)
	if err != nil {
		return Record{}, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	msg, err := s.GetMsg(ctx, uint64(position)) //nolint:gosec // positions are never negative
	if err != nil {
		return Record{}, fmt.Errorf("get message %d: %w", position, err)
	}
	return newRecord(int64(msg.Sequence), msg.Subject, msg.Data, msg.Header) //nolint:gosec // below 2^63
}
