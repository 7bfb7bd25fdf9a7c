package broadcast

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/stream"
)

func TestAcknowledgementsAreRead(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		`{"stream":"ORDERS","seq":7}`:                                 7,
		`{"stream":"ORDERS","seq": 7}`:                                7,
		`{"stream":"ORDERS","seq":8,"duplicate":true}`:                8,
		`{"stream":"ORDERS","domain":"eu","seq":9223372036854775807}`: 9223372036854775807,
	} {
		got, err := sequenceOf(&nats.Msg{Data: []byte(body)})
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
	_, err := sequenceOf(&nats.Msg{Data: []byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"ORDERS","seq":0}`)})
	var refused *jetstream.APIError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, jetstream.ErrorCode(10071), refused.ErrorCode)
	_, err = sequenceOf(&nats.Msg{Header: nats.Header{"Status": {"503"}}})
	require.ErrorIs(t, err, nats.ErrNoResponders)
	_, err = sequenceOf(&nats.Msg{Data: []byte(`no json`)})
	require.Error(t, err)
}

// TestBatchThatIsRefusedEndsAtOnce has the broker refuse a batch in its middle; the next one goes on where the stream is.
func TestBatchThatIsRefusedEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(30)
	_, err := stream.Ensure(t.Context(), b.js, stream.Limits{})
	require.NoError(t, err)
	records, err := stream.NewLog(b.pool).Read(t.Context(), 0, 30)
	require.NoError(t, err)
	out, err := newPublisher(natsConnection{b.js.Conn()}, &flush{})
	require.NoError(t, err)
	t.Cleanup(out.close)

	holed := append(append([]stream.Record(nil), records[:10]...), records[11:]...)
	err = out.publish(t.Context(), holed)
	var refused *jetstream.APIError
	require.ErrorAs(t, err, &refused)
	require.ErrorContains(t, err, "publish 12")
	bounds, err := stream.BoundsOf(t.Context(), b.js)
	require.NoError(t, err)
	require.Equal(t, int64(10), bounds.Last)

	require.NoError(t, out.publish(t.Context(), records[10:]))
	require.NoError(t, out.publish(t.Context(), nil))
	for _, r := range records {
		stored, err := stream.Message(t.Context(), b.js, r.Position)
		require.NoError(t, err)
		require.Equal(t, r.Body, stored.Body)
		require.Equal(t, r.Digest, stored.Digest)
	}
	require.NoError(t, b.js.DeleteStream(t.Context(), stream.Name))
	require.ErrorIs(t, out.publish(t.Context(), records[:1]), nats.ErrNoResponders)
}

// A broker that flushes each message is sent atomic batches: all of one is stored, with the same sequences and bytes, or nothing.
func TestAtomicBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(2500)
	s, err := stream.Ensure(t.Context(), b.js, stream.Limits{})
	require.NoError(t, err)
	records, err := stream.NewLog(b.pool).Read(t.Context(), 0, 2500)
	require.NoError(t, err)
	how := &flush{slow: true}
	out, err := newPublisher(natsConnection{b.js.Conn()}, how)
	require.NoError(t, err)
	t.Cleanup(out.close)

	require.NoError(t, out.publish(t.Context(), records[:1000]))
	raw, err := s.GetMsg(t.Context(), 1000)
	require.NoError(t, err)
	require.Equal(t, "1000", raw.Header.Get(headerSequence), "it came in a batch")
	err = out.publish(t.Context(), records[1001:1500])
	refused, ok := errors.AsType[*refusedError](err)
	require.True(t, ok, err)
	require.Equal(t, int64(1002), refused.position)
	require.True(t, outrun(err))
	require.False(t, how.plain, "another batch may do")
	bounds, err := stream.BoundsOf(t.Context(), b.js)
	require.NoError(t, err)
	require.Equal(t, int64(1000), bounds.Last)
	require.NoError(t, out.publish(t.Context(), records[1000:1001]))
	require.NoError(t, out.publish(t.Context(), records[1001:2001]))

	b.update(func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false })
	require.Error(t, out.publish(t.Context(), records[2001:2500]))
	require.True(t, how.plain)
	require.NoError(t, out.publish(t.Context(), records[2001:2500]))
	require.Empty(t, b.verify().Difference)
}

func TestSlowBrokerIsNoticed(t *testing.T) {
	t.Parallel()
	f := &flush{}
	f.took(slowBatch-1, time.Hour)
	f.took(1000, 499*time.Millisecond)
	require.False(t, f.slow)
	f.took(1000, 501*time.Millisecond)
	require.True(t, f.slow)
}

func TestRelayRefillsABrokerThatFlushesEverything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	server, err := stream.StartServer(stream.ServerConfig{Dir: t.TempDir(), SyncAlways: true, Log: discard()})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	b.dial = func() *nats.Conn { return natstest.Connect(t, server) }
	b.js = b.jetStream()
	b.append(3000)
	r, err := NewRelay(RelayConfig{NATS: b.dial(), Pool: b.pool, Waker: b.tip, Logger: discard()})
	require.NoError(t, err)
	r.flush.slow = true
	b.run(r)
	b.copied(r)
	b.append(1)
	b.copied(r)
	require.NoError(t, stream.Drop(t.Context(), b.js))
	b.refilled()
}
