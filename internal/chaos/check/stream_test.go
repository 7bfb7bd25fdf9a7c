package check

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// brokers start a cluster of three servers.
func brokers(t *testing.T) []*server.Server {
	t.Helper()
	dir, ports, routes := t.TempDir(), make([]int, 3), make([]*url.URL, 3)
	for i := range ports {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ports[i] = taken.Addr().(*net.TCPAddr).Port
		routes[i] = &url.URL{Scheme: "nats", Host: taken.Addr().String()}
		require.NoError(t, taken.Close())
	}
	all := make([]*server.Server, 3)
	for i := range all {
		name := fmt.Sprintf("server-%d", i+1)
		var err error
		all[i], err = server.NewServer(&server.Options{
			ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, name), NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
		require.NoError(t, err)
		all[i].Start()
		t.Cleanup(func() {
			all[i].Shutdown()
			all[i].WaitForShutdown()
		})
	}
	for _, s := range all {
		require.True(t, s.ReadyForConnections(30*time.Second))
	}
	return all
}

// Each server's copy of the stream is read from that server, whichever leads the stream, and one that is away is said to be.
func TestEachServersOwnCopyIsRead(t *testing.T) {
	t.Parallel()
	servers := brokers(t)
	conn, err := nats.Connect(servers[0].ClientURL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	create := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: events.Stream, Subjects: []string{events.SubjectAll}, Replicas: 3})
		return err == nil
	}
	require.Eventually(t, create, 30*time.Second, 50*time.Millisecond)
	publish := func(from, to int) {
		for i := from; i <= to; i++ {
			_, err := js.Publish(t.Context(), "orders.shop.x.-.order.placed", fmt.Appendf(nil, "event %d", i))
			require.NoError(t, err)
		}
	}
	publish(1, 700)
	read := func(head int64, within time.Duration) []Copy {
		run := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(run, savedDir), 0o700))
		c := &collector{dir: run, head: head, began: time.Now(), until: time.Now().Add(within)}
		var urls []string
		for _, s := range servers {
			urls = append(urls, s.ClientURL())
		}
		c.streams(t.Context(), urls)
		for i, made := range c.meta.Copies {
			last, n := int64(0), 0
			if made.File == "" {
				continue
			}
			require.NoError(t, load(run, made.File, func(l *link) error {
				require.Equal(t, last+1, l.Position)
				require.Equal(t, sumOf(fmt.Appendf(nil, "event %d", l.Position)), l.Sum)
				last, n = l.Position, n+1
				return nil
			}))
			require.Equal(t, made.Rows, int64(n), "server %d", i)
		}
		return c.meta.Copies
	}
	for _, made := range read(700, 30*time.Second) {
		require.Empty(t, made.Trouble)
		require.Equal(t, int64(700), made.Rows)
		require.GreaterOrEqual(t, made.Within, int64(0))
	}

	servers[2].Shutdown()
	servers[2].WaitForShutdown()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := js.Stream(ctx, events.Stream)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	publish(701, 710)
	copies := read(710, 5*time.Second)
	for _, made := range copies[:2] {
		require.Empty(t, made.Trouble)
		require.Equal(t, int64(710), made.Rows)
	}
	require.NotEmpty(t, copies[2].Trouble)
	require.Equal(t, int64(-1), copies[2].Within)
}
