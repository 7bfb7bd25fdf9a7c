package stream_test

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// appender makes a log of which some records are this process's own, and copies it to the stream.
type appender struct {
	t      *testing.T
	js     jetstream.JetStream
	recent *stream.Recent
	last   stream.Record
}

func (a *appender) next() stream.Record {
	p := a.last.Position + 1
	body := []byte{byte(p), byte(p >> 8), '!'}
	a.last = stream.Record{Position: p, Body: body, Subject: "orders.t.b.p.test", Digest: stream.Chain(a.last.Digest, p, body)}
	return a.last
}

func (a *appender) publish(all []stream.Record) {
	a.t.Helper()
	for i := range all {
		msg := &nats.Msg{Subject: all[i].Subject, Data: all[i].Body, Header: nats.Header{
			stream.HeaderDigest: {hex.EncodeToString(all[i].Digest[:])},
		}}
		_, err := a.js.PublishMsgAsync(msg)
		require.NoError(a.t, err)
	}
	select {
	case <-a.js.PublishAsyncComplete():
	case <-time.After(20 * time.Second):
		require.Fail(a.t, "the stream does not take what is published")
	}
}

// appendSome appends records, own ones or somebody else's, that come into memory before they are in the stream, or after.
func (a *appender) appendSome(n int, own, early bool) {
	all := make([]stream.Record, n)
	for i := range all {
		all[i] = a.next()
		all[i].Fact = own
	}
	if own && early {
		a.recent.Add(all)
	}
	a.publish(all)
	if own && !early {
		a.recent.Add(all)
	}
}

// TestFollowerReadsItsOwnAndOthersOnce has a follower read what this process appended, which it takes from memory, in between what
// others did, which only the stream has: in bursts that make it give up its consumer, and in single events.
func TestFollowerReadsItsOwnAndOthersOnce(t *testing.T) {
	t.Parallel()
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir(), Port: stream.RandomPort})
	js := jetStream(t, inProcess(t, srv))
	_, err := stream.Ensure(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	rnd := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // any order will do
	a := &appender{t: t, js: js, recent: &stream.Recent{}}
	f := stream.NewFollower(stream.FollowerConfig{JS: js, Recent: a.recent, Name: "test", Logger: quiet()})
	t.Cleanup(f.Close)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const total = 30_000
	var appending sync.WaitGroup
	defer appending.Wait()
	appending.Go(func() {
		for a.last.Position < total {
			n := 1 + rnd.IntN(4)
			if rnd.IntN(3) == 0 {
				n = 500 + rnd.IntN(3000)
			}
			a.appendSome(n, rnd.IntN(3) > 0, rnd.IntN(2) == 0)
		}
	})
	remembered := 0
	var digest [32]byte
	for at := int64(0); at < total; {
		records, err := f.Next(ctx, 700)
		require.NoError(t, err)
		for i := range records {
			at++
			digest = stream.Chain(digest, at, records[i].Body)
			require.Equal(t, at, records[i].Position)
			require.Equal(t, digest, records[i].Digest)
			if own, ok := records[i].Fact.(bool); ok && own {
				remembered++
			}
		}
	}
	require.Positive(t, remembered)
	require.Less(t, remembered, total)
}
