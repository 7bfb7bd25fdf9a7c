package broadcast

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

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
	out, err := newPublisher(b.js.Conn())
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
