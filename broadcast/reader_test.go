package broadcast

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// heard is what a reader has got, in the order it came.
type heard struct {
	mu      sync.Mutex
	records []stream.Record
}

func (h *heard) add(records ...stream.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records = append(h.records, records...)
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.records)
}

// readers are parties that stay connected whatever happens to the broker.
type readers struct {
	b   *bench
	all map[string]*heard
}

// connect starts one of each: a view, which may read the log; an auxiliary system that has the stream alone; and a durable consumer at the
// broker, whose owner keeps the position itself. They have connections of their own.
func (b *bench) connect() *readers {
	b.t.Helper()
	rs := &readers{b: b, all: map[string]*heard{"view": {}, "stream alone": {}, "consumer": {}}}
	for name, log := range map[string]*stream.Log{"view": stream.NewLog(b.pool), "stream alone": nil} {
		f := stream.NewFollower(stream.FollowerConfig{JS: b.jetStream(), Log: log, Name: name, Logger: discard()})
		h := rs.all[name]
		b.run(loop(func(ctx context.Context) error {
			defer f.Close()
			for {
				records, err := f.Next(ctx, 500)
				if err != nil {
					return err
				}
				h.add(records...)
			}
		}))
	}
	js, h := b.jetStream(), rs.all["consumer"]
	b.run(loop(func(ctx context.Context) error { return consume(ctx, js, h) }))
	return rs
}

type loop func(ctx context.Context) error

func (l loop) Run(ctx context.Context) error { return l(ctx) }

func (b *bench) jetStream() jetstream.JetStream {
	b.t.Helper()
	js, err := jetstream.New(b.dial())
	require.NoError(b.t, err)
	return js
}

// consume reads with a durable consumer. When that is lost, or does not go on from the own position, it is made again after that.
func consume(ctx context.Context, js jetstream.JetStream, h *heard) error {
	for position := int64(0); ctx.Err() == nil; {
		consumer, err := js.CreateConsumer(ctx, stream.Name, jetstream.ConsumerConfig{
			Durable: "party", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 5000,
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: uint64(position + 1), //nolint:gosec // never negative
		})
		if err == nil {
			position = pulled(ctx, consumer, position, h)
		}
		_ = js.DeleteConsumer(ctx, stream.Name, "party") // what the broker knows of it is of no account
		pause(ctx, 20*time.Millisecond)
	}
	return ctx.Err()
}

// fetch reads until the broker fails, or what comes is neither the next nor known already.
func pulled(ctx context.Context, consumer jetstream.Consumer, position int64, h *heard) int64 {
	for ctx.Err() == nil {
		batch, err := consumer.Fetch(200, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return position
		}
		skipped := false
		for msg := range batch.Messages() {
			r, err := stream.RecordOf(msg)
			switch {
			case err != nil || r.Position > position+1:
				skipped = true
			case r.Position == position+1 && !skipped:
				h.add(r)
				position++
			}
			_ = msg.Ack() // a hint to the broker, no more
		}
		if _, err := consumer.Info(ctx); err != nil || batch.Error() != nil || skipped {
			return position
		}
	}
	return position
}

// reach waits until each has heard everything, and checks that each heard the log, in order, each event once.
func (rs *readers) reach() {
	t := rs.b.t
	t.Helper()
	end := rs.b.tip.Position()
	for name, h := range rs.all {
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			require.GreaterOrEqual(c, int64(h.count()), end)
		}, 60*time.Second, 10*time.Millisecond, name)
		log := stream.NewLog(rs.b.pool)
		for at := int64(0); at < end; at += relayBatch {
			rows, err := log.Read(t.Context(), at, relayBatch)
			require.NoError(t, err)
			got := h.records[at:min(at+relayBatch, end)]
			for i := range rows {
				require.Equal(t, rows[i].Position, got[i].Position, name)
				require.Equal(t, rows[i].Digest, got[i].Digest, name)
				require.Equal(t, rows[i].Body, got[i].Body, name)
			}
		}
		require.Equal(t, int(end), h.count(), name)
	}
}
