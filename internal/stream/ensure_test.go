package stream_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func firstOf(p int64) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) { return p, nil }
}

// A stream that starts at N takes N as its first message, and nothing else.
func TestStreamBeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir(), Port: stream.RandomPort})
	js := jetStream(t, inProcess(t, srv))
	cause := errors.New("the log does not answer")
	_, err := stream.EnsureFrom(t.Context(), js, stream.Limits{}, func(context.Context) (int64, error) { return 0, cause })
	require.ErrorIs(t, err, cause)
	_, err = stream.EnsureFrom(t.Context(), js, stream.Limits{}, firstOf(41))
	require.NoError(t, err)
	bounds, err := stream.BoundsOf(t.Context(), js)
	require.NoError(t, err)
	require.Equal(t, stream.Bounds{First: 41, Last: 40}, bounds)
	require.Zero(t, bounds.Holes())
	_, err = js.Publish(t.Context(), "orders.a", nil, jetstream.WithExpectLastSequence(0))
	require.Error(t, err)
	ack, err := js.Publish(t.Context(), "orders.a", nil, jetstream.WithExpectLastSequence(40))
	require.NoError(t, err)
	require.Equal(t, uint64(41), ack.Sequence)

	_, err = stream.EnsureFrom(t.Context(), js, stream.Limits{}, func(context.Context) (int64, error) {
		return 0, errors.New("nobody is asked where the stream is there")
	})
	require.NoError(t, err)
}
