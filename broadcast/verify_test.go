package broadcast

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// A broker that hands nothing over in time has lost nothing: the relay has no reason to start again.
func TestASlowBrokerIsNoDifference(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10)
	r, stop := b.relay()
	b.copied(r)
	stop()
	s := &scan{v: &Verification{}, log: stream.NewLog(b.pool), to: 10, progress: func(int64) {}}
	require.NoError(t, s.open(t.Context(), b.js))
	// Somebody else took them, so that the wait for them ends without one.
	batch, err := s.consumer.Fetch(10)
	require.NoError(t, err)
	for range batch.Messages() {
	}
	require.NoError(t, batch.Error())

	require.ErrorIs(t, s.step(t.Context(), 10), errBrokerSlow)
	require.Empty(t, s.v.Difference)

	b.update(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	require.NoError(t, s.step(t.Context(), 10))
	require.Equal(t, "the stream does not hand over position 1", s.v.Difference)
}
