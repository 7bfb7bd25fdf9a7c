package broadcast

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// reading reads a consumer for as long as the test runs, whatever happens to it, and acknowledges.
type reading struct {
	mu    sync.Mutex
	heard map[string]int // by event id, how often
}

func (g *gate) listen(s *Subscription) *reading {
	l := &reading{heard: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			l.read(ctx, g.js, s)
			pause(ctx, 20*time.Millisecond)
		}
	}()
	g.t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *reading) read(ctx context.Context, js jetstream.JetStream, s *Subscription) {
	c, err := js.Consumer(ctx, stream.Name, consumerName(s.ID))
	if err != nil {
		return
	}
	for ctx.Err() == nil {
		batch, err := c.Fetch(100, jetstream.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return
		}
		for m := range batch.Messages() {
			l.mu.Lock()
			l.heard[m.Headers().Get("ce-id")]++
			l.mu.Unlock()
			_ = m.Ack()
		}
		if batch.Error() != nil {
			return
		}
	}
}

func (l *reading) has(from, to int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := from; p <= to; p++ {
		if l.heard[strconv.FormatInt(p, 10)] == 0 {
			return false
		}
	}
	return true
}

func (l *reading) twice() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for id, n := range l.heard {
		if n > 1 {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// TestLostConsumersAreMadeAgain: nobody misses an event, whatever the broker lost.
func TestLostConsumersAreMadeAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(g *gate, s *Subscription){
		"a consumer": func(g *gate, s *Subscription) {
			require.NoError(g.t, g.js.DeleteConsumer(g.t.Context(), stream.Name, consumerName(s.ID)))
		},
		"the stream": func(g *gate, _ *Subscription) {
			require.NoError(g.t, g.js.DeleteStream(g.t.Context(), stream.Name))
		},
		"a restart": func(g *gate, _ *Subscription) { require.NoError(g.t, g.server.Restart()) },
	} {
		g := openGate(t)
		r := g.relay()
		g.keep()
		s, shop := g.want("demo", Filter{}, 0), g.want("shop", Filter{}, 0)
		heard := g.listen(s)
		g.append(300)
		g.eventually(func() bool { return heard.has(1, 300) }, name)
		g.at(s, 300)
		lose(g, s)
		g.append(300)
		g.eventually(func() bool { return heard.has(1, 600) }, name)
		g.copied(r)
		g.at(s, 600)
		g.at(shop, 600)
		require.Empty(t, heard.twice(), name)
	}
}

// TestStreamOfAnOlderCopy: the broker comes back with messages of an older time and consumers of now.
func TestStreamOfAnOlderCopy(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), newKeys(t)
	callout := keys.Public()
	start := func() *stream.Server {
		s, err := stream.StartServer(stream.ServerConfig{Dir: dir, Callout: &callout, Log: discard()})
		require.NoError(t, err)
		t.Cleanup(s.Shutdown)
		return s
	}
	first := start()
	own, err := first.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(own.Close)
	g := gateOn(t, keys, first.URL(), own)
	s := g.want("demo", Filter{}, 0)
	messages := filepath.Join(dir, "jetstream", stream.OwnAccount, "streams", stream.Name, "msgs")
	old := filepath.Join(t.TempDir(), "msgs")

	stopRelay := g.run(g.newRelay())
	stopKeeper := g.keep()
	g.append(60)
	require.Len(t, fetch(t, g.consumer(s), 60), 60)
	g.at(s, 60)
	stopRelay()
	stopKeeper()
	first.Shutdown()
	require.NoError(t, os.CopyFS(old, os.DirFS(messages)))

	g.reopen(start())
	stopRelay = g.run(g.newRelay())
	stopKeeper = g.keep()
	g.append(40)
	require.Len(t, fetch(t, g.consumer(s), 40), 40)
	g.at(s, 100)
	stopRelay()
	stopKeeper()
	g.server.Shutdown()
	require.NoError(t, os.RemoveAll(messages))
	require.NoError(t, os.CopyFS(messages, os.DirFS(old)))

	g.reopen(start())
	bounds, err := stream.BoundsOf(t.Context(), g.js)
	require.NoError(t, err)
	require.Equal(t, int64(60), bounds.Last, "the copy is older")
	r := g.newRelay()
	g.run(r)
	g.keep()
	heard := g.listen(s)
	g.append(50)
	g.eventually(func() bool { return heard.has(101, 150) }, "nothing is missed")
	g.copied(r)
	g.at(s, 150)
}

func (g *gate) newRelay() *Relay {
	g.t.Helper()
	r, err := NewRelay(RelayConfig{NATS: g.js.Conn(), Pool: g.pool, Waker: g.tip, Logger: discard()})
	require.NoError(g.t, err)
	return r
}

// reopen goes on with another server.
func (g *gate) reopen(s *stream.Server) {
	g.t.Helper()
	own, err := s.Connect(g.t.Context())
	require.NoError(g.t, err)
	g.t.Cleanup(own.Close)
	g.server = s
	g.js, err = jetstream.New(own)
	require.NoError(g.t, err)
}

// TestEventsThatTheStreamHasDropped are not skipped: the party is told to read them elsewhere first.
func TestEventsThatTheStreamHasDropped(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	r := g.relay()
	g.append(50)
	g.copied(r)
	early := g.want("demo", Filter{}, 0)
	g.keep()
	held := g.consumer(early)
	g.stopRelay() // it would fill the stream up again
	trim(t, g, 10)
	g.eventually(func() bool { return g.stored(early).Reason == behindStream }, "the party is told")
	g.gone(early)
	_, err := held.Info(t.Context())
	require.ErrorIs(t, err, jetstream.ErrConsumerNotFound)
	late := g.want("demo", Filter{}, 20)
	g.eventually(func() bool { return g.stored(late).Reason == behindStream }, "the party is told")

	require.NoError(t, g.subs.Ack(t.Context(), early.ID, 40, time.Now()))
	require.Equal(t, "41", ids(fetch(t, g.consumer(early), 10))[0])
	require.Empty(t, g.stored(early).Reason)
}

// trim leaves the stream's newest messages.
func trim(t *testing.T, g *gate, keep int64) {
	t.Helper()
	s, err := g.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = keep
	_, err = g.js.UpdateStream(t.Context(), cfg)
	require.NoError(t, err)
}
