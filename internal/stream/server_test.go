package stream_test

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func startServer(t *testing.T, cfg stream.ServerConfig) *stream.Server {
	t.Helper()
	cfg.Log = quiet()
	srv, err := stream.StartServer(cfg)
	require.NoError(t, err)
	t.Cleanup(srv.Shutdown)
	return srv
}

func inProcess(t *testing.T, srv *stream.Server) *nats.Conn {
	t.Helper()
	conn, err := srv.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

func jetStream(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}

func TestServerKeepsItsStreams(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "nats")
	first := startServer(t, stream.ServerConfig{Dir: dir, SyncAlways: true})
	js := jetStream(t, inProcess(t, first))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NOTES", Subjects: []string{"notes.>"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "notes.one", []byte("kept"))
	require.NoError(t, err)
	first.Shutdown()
	first.Shutdown()
	_, err = first.Connect(t.Context())
	require.ErrorIs(t, err, nats.ErrConnectionClosed)

	second := startServer(t, stream.ServerConfig{Dir: dir})
	s, err := jetStream(t, inProcess(t, second)).Stream(t.Context(), "NOTES")
	require.NoError(t, err)
	msg, err := s.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "kept", string(msg.Data))
	require.Equal(t, jetstream.FileStorage, s.CachedInfo().Config.Storage)
}

func TestServerAsksForCredentials(t *testing.T) {
	t.Parallel()
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir(), User: "operator", Password: "p@ss/word"})
	conn, err := stream.Connect(t.Context(), srv.URL(), "test")
	require.NoError(t, err)
	require.NoError(t, conn.FlushTimeout(5*time.Second))
	conn.Close()

	u, err := url.Parse(srv.URL())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1", u.Hostname())
	require.Equal(t, "operator", u.User.Username())
	_, err = nats.Connect("nats://" + u.Host)
	require.ErrorIs(t, err, nats.ErrAuthorization)
	_, err = stream.Connect(t.Context(), "nats://operator:wrong@"+u.Host, "test")
	require.ErrorIs(t, err, nats.ErrAuthorization, "wrong credentials are not tried for ever")
	_, err = nats.Connect("", nats.InProcessServer(srv), nats.Timeout(200*time.Millisecond))
	require.Error(t, err)
}

func TestServerWithoutCredentialsInventsThem(t *testing.T) {
	t.Parallel()
	first := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	second := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	a, err := url.Parse(first.URL())
	require.NoError(t, err)
	b, err := url.Parse(second.URL())
	require.NoError(t, err)
	require.NotEqual(t, a.User.String(), b.User.String())
}

func TestSecondServerOnOneDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, stream.ServerConfig{Dir: dir})
	_, err := stream.StartServer(stream.ServerConfig{Dir: dir, Log: quiet()})
	require.ErrorIs(t, err, stream.ErrServerInUse)
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))
	require.NoError(t, inProcess(t, first).FlushTimeout(5*time.Second))
}

func TestStoreOfANewerServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startServer(t, stream.ServerConfig{Dir: dir}).Shutdown()
	version := filepath.Join(dir, "version")
	ours, err := os.ReadFile(version)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(version, []byte("2.999.0\n"), 0o600))
	_, err = stream.StartServer(stream.ServerConfig{Dir: dir, Log: quiet()})
	require.ErrorIs(t, err, stream.ErrNewerStore)
	require.ErrorContains(t, err, "2.999.0")

	require.NoError(t, os.WriteFile(version, []byte("2.1.9\n"), 0o600))
	startServer(t, stream.ServerConfig{Dir: dir})
	again, err := os.ReadFile(version)
	require.NoError(t, err)
	require.Equal(t, string(ours), string(again))
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	first := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	u, err := url.Parse(first.URL())
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	_, err = stream.StartServer(stream.ServerConfig{Dir: t.TempDir(), Port: port, Log: quiet()})
	require.ErrorIs(t, err, stream.ErrPortTaken)
	require.ErrorContains(t, err, u.Host)

	first.Shutdown()
	second := startServer(t, stream.ServerConfig{Dir: t.TempDir(), Port: port})
	require.Contains(t, second.URL(), u.Host)
}

func TestDirectoryThatIsAFileIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nats")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := stream.StartServer(stream.ServerConfig{Dir: file, Log: quiet()})
	require.ErrorContains(t, err, file)
	_, err = stream.StartServer(stream.ServerConfig{Log: quiet()})
	require.Error(t, err)
}

func TestClientsReturnAfterARestart(t *testing.T) {
	t.Parallel()
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	for name, connect := range map[string]func(...nats.Option) (*nats.Conn, error){
		"in process": func(opts ...nats.Option) (*nats.Conn, error) { return srv.Connect(t.Context(), opts...) },
		"network": func(opts ...nats.Option) (*nats.Conn, error) {
			return stream.Connect(t.Context(), srv.URL(), "test", opts...)
		},
	} {
		reconnected := make(chan struct{}, 1)
		conn, err := connect(nats.ReconnectHandler(func(*nats.Conn) { reconnected <- struct{}{} }))
		require.NoError(t, err, name)
		defer conn.Close()
		require.NoError(t, srv.Restart())
		<-reconnected
		require.NoError(t, conn.FlushTimeout(5*time.Second), name)
	}
}

func TestPublishWhileDisconnectedFails(t *testing.T) {
	t.Parallel()
	srv := startServer(t, stream.ServerConfig{Dir: t.TempDir()})
	gone := make(chan struct{}, 1)
	conn, err := stream.Connect(t.Context(), srv.URL(), "test",
		nats.DisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} }))
	require.NoError(t, err)
	defer conn.Close()
	srv.Shutdown()
	<-gone
	require.ErrorIs(t, conn.Publish("notes.one", []byte("lost")), nats.ErrReconnectBufExceeded)
}

func TestConnectWaitsForTheServerAndNoLonger(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startServer(t, stream.ServerConfig{Dir: dir, User: "u", Password: "p"})
	address := first.URL()
	u, err := url.Parse(address)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	first.Shutdown()

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = stream.Connect(ctx, address, "test")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	connected := make(chan error, 1)
	go func() {
		conn, err := stream.Connect(t.Context(), address, "test")
		if err == nil {
			conn.Close()
		}
		connected <- err
	}()
	startServer(t, stream.ServerConfig{Dir: dir, Port: port, User: "u", Password: "p"})
	require.NoError(t, <-connected)

	_, err = stream.Connect(t.Context(), "nats://\x7f", "test")
	require.Error(t, err, "a faulty address is not waited for")
}
