package broadcast

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// hastyPacing has the scrubber look at everything at once, again and again.
func hastyPacing() pacing {
	return pacing{
		recent: 100, batch: 500, idle: 10 * time.Millisecond, busy: 10 * time.Millisecond, every: time.Second,
		look: time.Second, rebuild: 6 * time.Second,
	}
}

// mended waits until the stream is what it has to be, and the relay works.
func (b *bench) mended(r *Relay) {
	b.t.Helper()
	require.EventuallyWithT(b.t, func(c *assert.CollectT) {
		require.Empty(c, r.Halted())
		bounds, err := stream.BoundsOf(b.t.Context(), b.js)
		require.NoError(c, err)
		require.Equal(c, stream.Bounds{First: 1, Last: b.tip.Position(), Messages: b.tip.Position()}, bounds)
		v, err := Verify(b.t.Context(), b.js, stream.NewLog(b.pool), b.tip.Position(), func(int64) {})
		require.NoError(c, err)
		require.Empty(c, v.Difference)
	}, 60*time.Second, 100*time.Millisecond)
	s, err := b.js.Stream(b.t.Context(), stream.Name)
	require.NoError(b.t, err)
	require.Equal(b.t, int64(-1), s.CachedInfo().Config.MaxMsgs)
}

func (b *bench) update(change func(*jetstream.StreamConfig)) {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), stream.Name)
	require.NoError(b.t, err)
	cfg := s.CachedInfo().Config
	change(&cfg)
	_, err = b.js.UpdateStream(b.t.Context(), cfg)
	require.NoError(b.t, err)
}

// What happens to a broker while parties are connected: it has everything again, and nobody misses an event or gets one twice.
func TestLosingTheBrokerWithReadersConnected(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*bench){
		"deleted": func(b *bench) { require.NoError(b.t, b.js.DeleteStream(b.t.Context(), stream.Name)) },
		"purged by a limit on messages": func(b *bench) {
			b.update(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
		},
		"purged to nothing": func(b *bench) {
			b.update(func(c *jetstream.StreamConfig) { c.MaxAge = 100 * time.Millisecond })
			require.EventuallyWithT(b.t, func(c *assert.CollectT) {
				bounds, err := stream.BoundsOf(b.t.Context(), b.js)
				require.NoError(c, err)
				require.True(c, bounds.Messages == 0 || bounds.First == 1, "emptied, or made again already")
			}, 30*time.Second, time.Millisecond)
			b.update(func(c *jetstream.StreamConfig) { c.MaxAge = 0 })
		},
		"holes by a limit per subject": func(b *bench) {
			b.update(func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 })
			b.update(func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = -1 })
		},
		"an older copy": func(b *bench) { b.truncate(400) },
		"a consumer deleted": func(b *bench) {
			s, err := b.js.Stream(b.t.Context(), stream.Name)
			require.NoError(b.t, err)
			for c := range s.ListConsumers(b.t.Context()).Info() {
				require.NoError(b.t, s.DeleteConsumer(b.t.Context(), c.Name))
			}
		},
		"restarted": func(b *bench) { require.NoError(b.t, b.server.Restart()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			r, _ := b.relay()
			rs := b.connect()
			b.append(900)
			rs.reach()
			lose(b)
			b.append(100)
			b.mended(r)
			b.append(100)
			rs.reach()
			b.mended(r)
		})
	}
}

// What happens to the broker's files while it is stopped.
func TestLosingTheBrokersFilesWithReadersConnected(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir, older string){
		"gone": func(t *testing.T, dir, _ string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, "jetstream"))) },
		"an older copy": func(t *testing.T, dir, older string) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "jetstream")))
			require.NoError(t, os.CopyFS(filepath.Join(dir, "jetstream"), os.DirFS(older)))
		},
		"the last block cut": func(t *testing.T, dir, _ string) {
			blocks := blocksOf(t, dir)
			cut(t, blocks[len(blocks)-1])
		},
		"a block in the middle cut": func(t *testing.T, dir, _ string) { cut(t, blocksOf(t, dir)[1]) },
		"a block in the middle gone, no index": func(t *testing.T, dir, _ string) {
			blocks := blocksOf(t, dir)
			require.NoError(t, os.Remove(blocks[1]))
			require.NoError(t, os.Remove(filepath.Join(filepath.Dir(blocks[0]), "index.db")))
		},
		"bytes changed in the middle": func(t *testing.T, dir, _ string) {
			f, err := os.OpenFile(blocksOf(t, dir)[1], os.O_RDWR, 0)
			require.NoError(t, err)
			info, err := f.Stat()
			require.NoError(t, err)
			_, err = f.WriteAt(make([]byte, 5000), info.Size()/2)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, while := setupOutside(t)
			r, _ := b.relayWith(stream.Limits{MaxBytes: 31 << 20}, hastyPacing()) // the broker's files are smaller with a limit
			rs := b.connect()
			older := filepath.Join(t.TempDir(), "older")
			b.bulk(100, 30_000)
			if strings.Contains(name, "older") {
				rs.reach()
				while(func(dir string) {
					require.NoError(t, os.CopyFS(older, os.DirFS(filepath.Join(dir, "jetstream"))))
				})
			}
			b.bulk(350, 30_000)
			rs.reach()
			while(func(dir string) { damage(t, dir, older) })
			b.bulk(20, 30_000)
			b.mended(r)
			rs.reach()
		})
	}
}

// setupOutside has a broker that all connect to over the network; the function stops it, does something to its folder, and starts it again.
func setupOutside(t *testing.T) (*bench, func(func(dir string))) {
	t.Helper()
	cfg := stream.ServerConfig{Dir: t.TempDir(), Port: stream.RandomPort, User: "test", Password: "test", Log: discard()}
	start := func() *stream.Server {
		server, err := stream.StartServer(cfg)
		require.NoError(t, err)
		t.Cleanup(server.Shutdown)
		return server
	}
	b := &bench{t: t, pool: pgtest.Database(t, migrations.Write, "write"), server: start(), tip: &stream.Tip{}}
	u, err := url.Parse(b.server.URL())
	require.NoError(t, err)
	cfg.Port, err = strconv.Atoi(u.Port())
	require.NoError(t, err)
	b.dial = func() *nats.Conn {
		nc, err := stream.Connect(t.Context(), b.server.URL(), "test", nats.DisconnectErrHandler(nil), nats.ReconnectHandler(nil))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	b.js = b.jetStream()
	return b, func(do func(dir string)) {
		b.server.Shutdown()
		do(cfg.Dir)
		b.server = start()
	}
}

// blocksOf lists the files that hold the stream's messages, in order.
func blocksOf(t *testing.T, dir string) []string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", stream.Name, "msgs", "*.blk"))
	require.NoError(t, err)
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
		require.NoError(t, err)
		return n
	}
	slices.SortFunc(blocks, func(a, b string) int { return number(a) - number(b) })
	require.GreaterOrEqual(t, len(blocks), 3)
	return blocks
}

// cut takes away the second half of a file.
func cut(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()/2))
}
