package broadcast

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/stream"
)

// Invariant 3: stream message p is log row p, byte for byte.
func TestStreamIsTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1)
	r, _ := b.relay()
	b.copied(r)
	b.append(2500)
	b.append(1)
	b.copied(r)

	msg, err := stream.Message(t.Context(), b.js, 1)
	require.NoError(t, err)
	require.Equal(t, "orders.demo.retail~erp.-.order.rejected", msg.Subject)
	s, err := b.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	raw, err := s.GetMsg(t.Context(), 7)
	require.NoError(t, err)
	require.Equal(t, "7", raw.Header.Get("ce-id"))
	require.Equal(t, "order.rejected", raw.Header.Get("ce-type"))
	require.Equal(t, "demo", raw.Header.Get("ce-tenant"))
}

func TestRelayGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(300)
	r, stop := b.relay()
	b.copied(r)
	stop()
	b.append(300)
	again, _ := b.relay()
	b.copied(again)
}

func TestTwoRelaysRaceSafely(t *testing.T) {
	t.Parallel()
	b := setup(t)
	first, _ := b.relay()
	_, _ = b.relay()
	var wg sync.WaitGroup
	for range 2 { // without a lease: as if each thought that all others had stopped
		r := b.idleRelay(stream.Limits{}, usualPacing())
		wg.Go(func() {
			for range 20 {
				_ = r.copyOnce(t.Context())
			}
		})
	}
	for range 40 {
		b.append(50)
	}
	wg.Wait()
	b.copied(first)
}

// copyOnce publishes what there is, without asking for the lease.
func (r *Relay) copyOnce(ctx context.Context) error {
	last, err := r.tail(ctx)
	if err != nil {
		return err
	}
	records, err := r.log.Read(ctx, last, relayBatch)
	if err != nil {
		return err
	}
	out, err := newPublisher(r.on.Connection, &r.flush)
	if err != nil {
		return err
	}
	defer out.close()
	return out.publish(ctx, records)
}

func TestStandbyRelayTakesOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10)
	first, stop := b.relay()
	b.copied(first)
	second, _ := b.relay()
	stop()
	b.append(10)
	b.copied(second)
}

func TestLostStreamIsRefilledWithTheSameSequences(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1500)
	r, _ := b.relay()
	b.copied(r)
	require.NoError(t, b.js.DeleteStream(t.Context(), stream.Name))
	b.refilled() // though nothing new is appended
}

func TestLostTailIsRefilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1000)
	r, stop := b.relay()
	b.copied(r)
	stop()
	b.truncate(400)
	b.append(5)
	again, _ := b.relay()
	b.copied(again)
}

func TestTailLostUnderTheRelayIsRefilled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1000)
	r, _ := b.relay()
	b.copied(r)
	b.truncate(400)
	b.refilled()
}

// truncate makes the stream one that ends earlier, as a broker is that comes back from an older copy of its store.
func (b *bench) truncate(to int64) {
	b.t.Helper()
	require.NoError(b.t, b.js.DeleteStream(b.t.Context(), stream.Name))
	require.EventuallyWithT(b.t, func(c *assert.CollectT) { // a running relay may be making it too
		_, err := stream.Ensure(b.t.Context(), b.js, stream.Limits{})
		require.NoError(c, err)
	}, 10*time.Second, 10*time.Millisecond)
	records, err := stream.NewLog(b.pool).Read(b.t.Context(), 0, int(to))
	require.NoError(b.t, err)
	for i := range records {
		msg := nats.Msg{Header: nats.Header{}}
		require.NoError(b.t, fill(&msg, &records[i]))
		if _, err = b.js.PublishMsg(b.t.Context(), &msg, jetstream.WithExpectLastSequence(uint64(i))); err != nil {
			return // a running relay refills it already
		}
	}
}

// refilled waits until the stream itself says that it is at the log's end.
func (b *bench) refilled() {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *assert.CollectT) {
		bounds, err := stream.BoundsOf(b.t.Context(), b.js)
		require.NoError(c, err)
		require.Equal(c, b.tip.Position(), bounds.Last)
	}, 30*time.Second, 20*time.Millisecond)
	require.Empty(b.t, b.verify().Difference)
}

func TestBrokerRestartIsWaitedOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(200)
	r, _ := b.relay()
	b.copied(r)
	natstest.Restart(t, b.server)
	b.append(200)
	b.copied(r)
}

func TestVerifyFindsAHoleAndAMissingStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(20)
	require.Contains(t, b.verify().Difference, "no stream")
	r, stop := b.relay()
	b.copied(r)
	stop()
	s, err := b.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	require.True(t, cfg.DenyDelete && cfg.DenyPurge)
	require.ErrorContains(t, s.DeleteMsg(t.Context(), 10), "not permitted")
	require.Empty(t, b.verify().Difference)
	b.append(1)
	v := b.verify()
	require.Equal(t, int64(21), v.At)
	require.Contains(t, v.Difference, "the stream ends at 20, the log at 21")
}

func TestFollowerReadsOnThroughEverything(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(700)
	r, stop := b.relay()
	b.copied(r)
	f := stream.NewFollower(stream.FollowerConfig{JS: b.js, Log: stream.NewLog(b.pool), Name: "test", Logger: discard()})
	t.Cleanup(f.Close)
	b.follow(f, 700)

	stop()
	b.truncate(300) // the stream is an older one now: what was read is not read again
	b.append(100)
	b.follow(f, 800) // from the log: the relay is stopped
	require.NoError(t, b.js.DeleteStream(t.Context(), stream.Name))
	b.append(100)
	b.follow(f, 900)
	again, _ := b.relay()
	b.copied(again)
	b.append(100)
	b.follow(f, 1000)
}

// follow reads to a position; Next itself sees to it that each comes once and in order.
func (b *bench) follow(f *stream.Follower, to int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	for next := f.Position() + 1; f.Position() < to; {
		records, err := f.Next(ctx, 128)
		require.NoError(b.t, err)
		for i := range records {
			require.Equal(b.t, next, records[i].Position)
			next++
		}
	}
}
