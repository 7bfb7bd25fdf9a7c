package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// cutter stands between a client and Postgres. Once armed, it lets the client's next bytes through to the server,
// waits until the server has answered them, and cuts the connection without handing the answer on.
type cutter struct {
	listener net.Listener
	server   string
	armed    atomic.Bool
	conns    sync.WaitGroup
}

// cutterFor returns a cutter and the URL that leads through it.
func cutterFor(t *testing.T, direct string) (*cutter, string) {
	t.Helper()
	u, err := url.Parse(direct)
	require.NoError(t, err)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{listener: listener, server: u.Host}
	c.conns.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.conns.Wait()
	})
	u.Host = listener.Addr().String()
	return c, u.String()
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp4", c.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.conns.Go(func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		})
		c.conns.Go(func() {
			c.answer(client, server)
			_ = client.Close()
			_ = server.Close()
		})
	}
}

func (c *cutter) answer(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || c.armed.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
