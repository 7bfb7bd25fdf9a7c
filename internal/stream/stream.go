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

// Ensure creates the stream, or leaves the one there is as it is. An existing stream is never updated here: an update with a
// changed first sequence is accepted by the server and purges the stream at its next restart.
func Ensure(ctx context.Context, js jetstream.JetStream, limits Limits) (jetstream.Stream, error) {
	s, err := js.Stream(ctx, Name)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	s, err = js.CreateStream(ctx, config(limits))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		s, err = js.Stream(ctx, Name)
	}
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w", Name, err)
	}
	return s, nil
}

func config(limits Limits) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        Name,
		Description: "copy of the order log: a message's sequence is its position",
		Subjects:    []string{Subjects},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      limits.MaxAge,
		MaxBytes:    orUnlimited(limits.MaxBytes),
		MaxMsgs:     -1,
		Replicas:    max(limits.Replicas, 1),
		Compression: jetstream.S2Compression,
		DenyDelete:  true,
		DenyPurge:   true,
		// Readers are far more than a server's default limit of one thousand, which -1 does not lift.
		MaxConsumers: 100_000,
		// The expected last sequence alone keeps a message from being stored twice.
		Duplicates: 100 * time.Millisecond,
	}
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// Bounds are the first and last sequence that the stream holds. An empty stream that starts at n has First n and Last n-1.
type Bounds struct{ First, Last int64 }

// BoundsOf asks the stream's leader.
func BoundsOf(ctx context.Context, js jetstream.JetStream) (Bounds, error) {
	s, err := js.Stream(ctx, Name)
	if err != nil {
		return Bounds{}, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	state := s.CachedInfo().State
	return Bounds{First: int64(state.FirstSeq), Last: int64(state.LastSeq)}, nil //nolint:gosec // below 2^63
}

// Message reads one message of the stream. It returns jetstream.ErrMsgNotFound (test with errors.Is) where the stream has none
// at that position, and ErrDiverged where the message carries no digest.
func Message(ctx context.Context, js jetstream.JetStream, position int64) (Record, error) {
	s, err := js.Stream(ctx, Name)
	if err != nil {
		return Record{}, fmt.Errorf("look up stream %s: %w", Name, err)
	}
	msg, err := s.GetMsg(ctx, uint64(position)) //nolint:gosec // positions are never negative
	if err != nil {
		return Record{}, fmt.Errorf("get message %d: %w", position, err)
	}
	return newRecord(int64(msg.Sequence), msg.Subject, msg.Data, msg.Header) //nolint:gosec // below 2^63
}
