package broadcast

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func TestStreamWithAnotherMessageIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*nats.Msg){
		"another body":    func(m *nats.Msg) { m.Data = append([]byte(" "), m.Data...) },
		"another subject": func(m *nats.Msg) { m.Subject = "orders.demo.hotel.-.order.rejected" },
		"no digest":       func(m *nats.Msg) { m.Header.Del(stream.HeaderDigest) },
		"another digest":  func(m *nats.Msg) { m.Header.Set(stream.HeaderDigest, strings.Repeat("00", 32)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(300)
			b.forge(300, map[int64]func(*nats.Msg){120: change})
			require.Equal(t, int64(120), b.verify().At)
			r, _ := b.relayWith(stream.Limits{}, hastyPacing())
			b.mended(r)
			require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_rebuilds_total"), 0)
			require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_differences_total"), 0)
		})
	}
}

// forge makes a stream of the log's first messages, some of them changed.
func (b *bench) forge(n int, changed map[int64]func(*nats.Msg)) {
	b.t.Helper()
	_, err := stream.Ensure(b.t.Context(), b.js, stream.Limits{})
	require.NoError(b.t, err)
	records, err := stream.NewLog(b.pool).Read(b.t.Context(), 0, n)
	require.NoError(b.t, err)
	for i := range records {
		msg := nats.Msg{Header: nats.Header{}}
		require.NoError(b.t, fill(&msg, &records[i]))
		if change := changed[records[i].Position]; change != nil {
			change(&msg)
		}
		_, err := b.js.PublishMsg(b.t.Context(), &msg)
		require.NoError(b.t, err)
	}
}

func (b *bench) publishForeign() {
	b.t.Helper()
	_, err := b.js.PublishMsg(b.t.Context(), &nats.Msg{Subject: "orders.demo.x.-.order.placed", Data: []byte(`{}`)})
	require.NoError(b.t, err)
}

func (b *bench) halted(r *Relay, says string) {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *assert.CollectT) { require.Contains(c, r.Halted(), says) }, 20*time.Second, 10*time.Millisecond)
}

// Somebody else's message takes the next position. While the log does not have that, nobody can tell what it is; afterwards it is known to be
// none of the log's.
func TestForeignMessageHaltsUntilTheLogHasItsPosition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r, _ := b.relayWith(stream.Limits{}, hastyPacing())
	rs := b.connect()
	b.append(10)
	rs.reach()
	b.publishForeign()
	b.halted(r, "it ends at 11, the log at 10")
	b.append(5)
	b.mended(r)
	rs.reach()
	b.publishForeign()
	b.append(5)
	b.halted(r, "once more after 6s: the stream is damaged at 16: the message carries no digest")
	require.Equal(t, int64(16), b.verify().At)
	b.append(5)
	bounds, err := stream.BoundsOf(t.Context(), b.js)
	require.NoError(t, err)
	require.Equal(t, int64(20), bounds.Last, "nothing more is published on top of it")
	b.mended(r)
	rs.reach()
}

// The log came back from an older copy and went on: the stream has orders that were acknowledged and that the log has lost.
func TestEventsThatTheLogHasLostAreNeverThrownAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20)
	r, stop := b.relay()
	b.copied(r)
	stop()
	b.loseLog(12)
	again, stop := b.relayWith(stream.Limits{}, hastyPacing())
	b.halted(again, "it ends at 20, the log at 12")
	b.append(30)
	b.halted(again, "position 20 differs: the message carries the digest of another event")
	stop()
	b.publishForeign() // nor if what comes after it is of no worth
	again, _ = b.relayWith(stream.Limits{}, hastyPacing())
	b.halted(again, "position 20 differs")
	bounds, err := stream.BoundsOf(t.Context(), b.js)
	require.NoError(t, err)
	require.Equal(t, stream.Bounds{First: 1, Last: 21, Messages: 21}, bounds)
}

// loseLog brings the log back to an older point.
func (b *bench) loseLog(to int64) {
	b.t.Helper()
	digest, ok, err := stream.NewLog(b.pool).Digest(b.t.Context(), to)
	require.NoError(b.t, err)
	require.True(b.t, ok)
	_, err = b.pool.Exec(b.t.Context(), `DELETE FROM order_events WHERE position > $1`, to)
	require.NoError(b.t, err)
	_, err = b.pool.Exec(b.t.Context(), `UPDATE log_head SET position = $1, digest = $2`, to, digest[:])
	require.NoError(b.t, err)
	b.digest = digest
	b.tip.Set(to)
}

// A row of the log was changed: the stream has the only good copy.
func TestStreamIsKeptWhereTheLogIsBroken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"changed": {`UPDATE order_events SET event = event || ' '::bytea WHERE position = 70`, "the log itself does not chain at 70"},
		"missing": {`DELETE FROM order_events WHERE position = 70`, "the log has no position 70"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(200)
			r, stop := b.relay()
			b.copied(r)
			stop()
			_, err := b.pool.Exec(t.Context(), c.sql)
			require.NoError(t, err)
			again, _ := b.relayWith(stream.Limits{}, pacing{recent: 200, batch: 50, every: time.Hour, look: time.Hour, rebuild: time.Hour})
			b.halted(again, c.says)
			bounds, err := stream.BoundsOf(t.Context(), b.js)
			require.NoError(t, err)
			require.Equal(t, stream.Bounds{First: 1, Last: 200, Messages: 200}, bounds)
		})
	}
}

// A relay without the lease leaves the stream as it is.
func TestOnlyTheRelayWithTheLeaseMakesTheStreamAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20)
	b.forge(20, map[int64]func(*nats.Msg){20: func(m *nats.Msg) { m.Header.Del(stream.HeaderDigest) }})
	r, err := NewRelay(RelayConfig{NATS: b.dial(), Pool: b.pool, Logger: discard()})
	require.NoError(t, err)
	_, err = r.tail(t.Context())
	damage, ok := errors.AsType[*damageError](err)
	require.True(t, ok, err)
	require.Equal(t, int64(20), damage.at)
	without := newLease(b.pool, leaseKey)
	require.ErrorIs(t, r.rebuild(t.Context(), without, damage), errNotMine)
	require.Equal(t, int64(20), b.verify().At)
	_, err = without.take(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { without.release(context.WithoutCancel(t.Context())) })
	require.NoError(t, r.rebuild(t.Context(), without, damage))
	_, err = stream.BoundsOf(t.Context(), b.js)
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

func TestSettingsThatStopTheStreamHaltTheRelay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10)
	r, stop := b.relay()
	b.copied(r)
	b.update(func(c *jetstream.StreamConfig) { c.Sealed = true })
	b.append(1)
	b.halted(r, "the stream takes nothing: sealed is true and should be false")
	require.Len(t, r.Drift(), 1)
	require.NoError(t, stream.Drop(t.Context(), b.js)) // as the text asks for
	b.mended(r)
	require.Empty(t, r.Drift())
	stop()
}

func TestDriftIsMendedWhileTheRelayRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10)
	r, _ := b.relayWith(stream.Limits{MaxAge: time.Hour}, hastyPacing())
	b.copied(r)
	b.update(func(c *jetstream.StreamConfig) { c.MaxAge, c.MaxMsgSize, c.Replicas = 0, 1<<20, 1 })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		s, err := b.js.Stream(t.Context(), stream.Name)
		require.NoError(c, err)
		require.Equal(c, time.Hour, s.CachedInfo().Config.MaxAge)
		require.Equal(c, int32(-1), s.CachedInfo().Config.MaxMsgSize)
	}, 20*time.Second, 10*time.Millisecond)
	b.append(10)
	b.copied(r)
	require.Empty(t, r.Drift())
	require.InDelta(t, 0, metricOf(t, r, "orderstore_relay_halted"), 0)
	require.InDelta(t, 20, metricOf(t, r, "orderstore_relay_position"), 0)
}

func TestDriftThatCannotBeMendedIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10)
	r, err := NewRelay(RelayConfig{
		NATS: b.dial(), Pool: b.pool, Limits: stream.Limits{Replicas: 3}, Logger: discard(), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	require.Error(t, r.Ensure(t.Context()), "one server has no room for three copies")
	_, err = stream.Ensure(t.Context(), b.js, stream.Limits{})
	require.NoError(t, err)
	b.run(r)
	b.copied(r)
	require.Len(t, r.Drift(), 1)
	require.Contains(t, r.Drift()[0], "num_replicas is 1 and should be 3: ")
	require.InDelta(t, 1, metricOf(t, r, "orderstore_relay_settings_differing"), 0)
}

// The scrubber says what it found, and that it found nothing.
func TestHealthIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1200)
	r, _ := b.relayWith(stream.Limits{}, hastyPacing())
	b.copied(r)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Contains(c, r.Health(), "the same as the log up to 1200 at ")
	}, 20*time.Second, 10*time.Millisecond)
	require.GreaterOrEqual(t, metricOf(t, r, "orderstore_relay_compared_messages_total"), 1200.0)
	require.GreaterOrEqual(t, metricOf(t, r, "orderstore_relay_compared_streams_total"), 1.0)
}

// A reader that is far ahead of a stream which is being filled again reads the log: the broker is not asked to send it all again.
func TestFollowerLeavesARefillAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := stream.Ensure(t.Context(), b.js, stream.Limits{})
	require.NoError(t, err)
	b.bulk(6000, 20)
	b.truncate(10)
	f := stream.NewFollower(stream.FollowerConfig{
		JS: b.js, Log: stream.NewLog(b.pool), After: 6000, Digest: b.digest, Name: "test", Logger: discard(),
	})
	t.Cleanup(f.Close)
	b.bulk(20, 20)
	b.follow(f, 6020)
	s, err := b.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	require.Zero(t, s.CachedInfo().State.Consumers)
	r, _ := b.relay()
	b.copied(r)
	b.bulk(10, 20)
	b.follow(f, 6030)
	b.copied(r)
}

// metricOf reads a counter or gauge as it is shown.
func metricOf(t testing.TB, r *Relay, name string) float64 {
	t.Helper()
	families, err := r.cfg.Registerer.(*prometheus.Registry).Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Fail(t, "there is no metric "+name)
	return 0
}
