// Package natstest gives tests a real NATS server with JetStream, within the test's process.
package natstest

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/orderstore/orderstore/internal/stream"
)

// Run starts a server on a directory of its own. Both go when the test ends.
func Run(t testing.TB) *stream.Server {
	t.Helper()
	return start(t, nil)
}

// RunFor starts a server that lets parties in whom the holder of the callout's keys lets in.
func RunFor(t testing.TB, callout stream.Callout) *stream.Server {
	t.Helper()
	return start(t, &callout)
}

func start(t testing.TB, callout *stream.Callout) *stream.Server {
	t.Helper()
	srv, err := stream.StartServer(stream.ServerConfig{
		Dir:     t.TempDir(),
		Port:    stream.RandomPort,
		Callout: callout,
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatalf("start nats server: %v", err)
	}
	t.Cleanup(srv.Shutdown)
	return srv
}

// Connect returns an in-process connection that is closed when the test ends.
func Connect(t testing.TB, srv *stream.Server) *nats.Conn {
	t.Helper()
	conn, err := srv.Connect(t.Context())
	if err != nil {
		t.Fatalf("connect to nats server: %v", err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// Restart stops the server and starts it again on the same store and port, as a crash and a recovery would; connected
// clients reconnect.
func Restart(t testing.TB, srv *stream.Server) {
	t.Helper()
	if err := srv.Restart(); err != nil {
		t.Fatalf("restart nats server: %v", err)
	}
}
