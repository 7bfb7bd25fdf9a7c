package broadcast

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// older makes the events up to a position look recorded long ago.
func (b *bench) older(to int64, by time.Duration) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), `UPDATE order_events SET recorded_at = recorded_at - $2::interval WHERE position <= $1`, to, by)
	require.NoError(b.t, err)
}

func TestKeptByLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	log, now := stream.NewLog(b.pool), time.Now()
	kept := func(l stream.Limits) int64 {
		t.Helper()
		first, err := log.Kept(t.Context(), l, now)
		require.NoError(t, err)
		return first
	}
	require.Equal(t, int64(1), kept(stream.Limits{MaxAge: time.Hour, MaxBytes: 1}), "an empty log")
	b.bulk(1000, 200)
	b.older(1000, 3*time.Hour)
	b.bulk(1000, 200)
	b.older(2000, 40*time.Minute)
	b.bulk(1000, 200)
	require.Equal(t, int64(1), kept(stream.Limits{}))
	require.Equal(t, int64(1001), kept(stream.Limits{MaxAge: time.Hour}))
	require.Equal(t, int64(2001), kept(stream.Limits{MaxAge: time.Hour}.Half()))
	require.Equal(t, int64(1), kept(stream.Limits{MaxAge: 24 * time.Hour, MaxBytes: 1 << 40}))
	require.Equal(t, int64(3001), kept(stream.Limits{MaxBytes: 10}), "none has room")
	var size int64
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT sum(octet_length(event) + octet_length(subject) + 300) FROM order_events WHERE position > 2500`).Scan(&size))
	require.Equal(t, int64(2501), kept(stream.Limits{MaxBytes: size}))
	require.Equal(t, int64(2502), kept(stream.Limits{MaxBytes: size - 1}))
	require.Equal(t, int64(2501), kept(stream.Limits{MaxAge: time.Hour, MaxBytes: size}))
	require.Equal(t, int64(2001), kept(stream.Limits{MaxAge: time.Minute, MaxBytes: 1 << 30}))
	now = now.Add(48 * time.Hour)
	require.Equal(t, int64(3001), kept(stream.Limits{MaxAge: time.Hour}), "all are too old")
}

// beginsAt waits until the stream is at the log's end, and says with what it begins and how many of its messages were published.
func (b *bench) beginsAt(r *Relay) stream.Bounds {
	b.t.Helper()
	var bounds stream.Bounds
	require.EventuallyWithT(b.t, func(c *assert.CollectT) {
		var err error
		bounds, err = stream.BoundsOf(b.t.Context(), b.js)
		require.NoError(c, err)
		require.Equal(c, b.tip.Position(), bounds.Last)
		require.Equal(c, bounds.Last, r.Published().Position())
	}, 30*time.Second, 10*time.Millisecond)
	require.Empty(b.t, b.verify().Difference)
	return bounds
}

// A stream that is made again has what its limits allow, and is not sent what they would drop.
func TestRefillBeginsWhereTheLimitsDo(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]stream.Limits{
		"age":   {MaxAge: time.Hour},
		"bytes": {MaxBytes: 512 << 10},
		"both":  {MaxAge: time.Hour, MaxBytes: 700 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.bulk(2000, 200)
			b.older(1500, 2*time.Hour)
			r, stop := b.relayWith(limits, hastyPacing())
			bounds := b.beginsAt(r)
			s, err := b.js.Stream(t.Context(), stream.Name)
			require.NoError(t, err)
			info := s.CachedInfo()
			require.Greater(t, info.Config.FirstSeq, uint64(1))
			if limits.MaxBytes == 0 {
				require.Equal(t, int64(1501), bounds.First)
			} else if bounds.First > 1501 {
				require.Greater(t, int64(info.State.Bytes), limits.MaxBytes*95/100, "it is full") //nolint:gosec // below 2^63
			}
			b.bulk(500, 200)
			after := b.beginsAt(r)
			require.Equal(t, after.Last-after.First+1, after.Messages)

			stop()
			b.update(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }) // as good as a purge
			r, _ = b.relayWith(limits, hastyPacing())
			again := b.beginsAt(r)
			require.Less(t, again.First, int64(2200))
			require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_rebuilds_total"), 0)
			require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_settings_mended_total"), 0)

			require.NoError(t, stream.Drop(t.Context(), b.js))
			b.bulk(1, 200)
			require.InDelta(t, again.First, b.beginsAt(r).First, 50)
			require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_rebuilds_total"), 0, "a stream that is gone is made, not made again")
		})
	}
}
