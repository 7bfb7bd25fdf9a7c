package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/tlstest"
)

// guarded serves what says how much of a body it read.
func guarded(t *testing.T, cfg httpapi.ListenerConfig) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_, _ = io.WriteString(w, req.URL.Path+" "+string(body))
	}))
	s.Listener = httpapi.Guarded(s.Listener, cfg)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestAmbiguousRequestIsRefused: case 59, on a connection that was in use before, in one piece with what came before it and byte by byte.
func TestAmbiguousRequestIsRefused(t *testing.T) {
	t.Parallel()
	addr := guarded(t, httpapi.ListenerConfig{})
	const good = "POST /good HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	const bad = "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, step := range []int{1, len(good) + 70, len(good + bad)} {
		conn := dial(t, addr)
		for rest := good + bad; rest != ""; {
			n := min(step, len(rest))
			if _, err := io.WriteString(conn, rest[:n]); err != nil {
				break // it is closed already
			}
			rest = rest[n:]
		}
		in := bufio.NewReader(conn)
		first, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(first.Body)
		require.NoError(t, err)
		require.NoError(t, first.Body.Close())
		require.Equal(t, "/good abc", string(body))
		second, err := http.ReadResponse(in, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, second.StatusCode)
		rest, _ := io.ReadAll(second.Body) // until the connection's end, or its reset
		require.NoError(t, second.Body.Close())
		require.NotContains(t, string(rest), "smuggled")
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	refused := make(chan struct{}, 8)
	addr := guarded(t, httpapi.ListenerConfig{Most: 2, MostPerAddress: 2, Refused: func() { refused <- struct{}{} }})
	ask := func(conn net.Conn) string {
		_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		require.NoError(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(line)
	}
	first := dial(t, addr)
	require.Equal(t, "HTTP/1.1 200 OK", ask(first))
	require.Equal(t, "HTTP/1.1 200 OK", ask(dial(t, addr)))
	line, err := bufio.NewReader(dial(t, addr)).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 503 Service Unavailable\r\n", line)
	<-refused
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		again, err := http.Get("http://" + addr) //nolint:noctx // one that is not refused
		if err != nil {
			return false
		}
		defer again.Body.Close()
		return again.StatusCode == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond, "one has gone")
}

// Case 62, for bodies: one that comes drop by drop to a route that does not read it ends with its connection. The time is the server's own,
// so here it is only seen to be set.
func TestDrippingBodyIsCut(t *testing.T) {
	t.Parallel()
	var set time.Time
	e := newAPI(t, httpapi.Config{})
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/nowhere", strings.NewReader("drop"))
	e.e.ServeHTTP(&timed{ResponseRecorder: httptest.NewRecorder(), read: &set}, req)
	require.WithinDuration(t, time.Now().Add(30*time.Second), set, 10*time.Second)
}

// timed is a connection whose deadline is seen.
type timed struct {
	*httptest.ResponseRecorder
	read *time.Time
}

func (w *timed) SetReadDeadline(at time.Time) error {
	*w.read = at
	return nil
}

// Case 51: what is sent compressed is refused before a byte of it is read.
func TestCompressedBodyIsNotRead(t *testing.T) {
	t.Parallel()
	body := &counted{Reader: strings.NewReader(strings.Repeat("x", 1000))}
	e := echo.New()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	req.Header.Set("Content-Type", "application/json")
	c := e.NewContext(req, httptest.NewRecorder())
	_, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	require.NotEqual(t, fault.UnsupportedMedia, fault.CodeOf(err))
	require.Positive(t, body.read, "the counting counts")
	body.read = 0
	req.Header.Set("Content-Encoding", "gzip")
	_, err = httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	require.Equal(t, fault.UnsupportedMedia, fault.CodeOf(err))
	require.Zero(t, body.read)
}

type counted struct {
	io.Reader
	read int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

// TestSilentConnectionsUnderTLSHoldUpNobody has one connection too many that does not even begin its handshake: it is closed without a
// word, and those after it are served.
func TestSilentConnectionsUnderTLSHoldUpNobody(t *testing.T) {
	t.Parallel()
	cert, key := tlstest.New(t).Issue(t, "server")
	pair, err := tls.LoadX509KeyPair(cert, key)
	require.NoError(t, err)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	encrypted := tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	guarded := httpapi.Guarded(encrypted, httpapi.ListenerConfig{Most: 1})
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := guarded.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	var dialer net.Dialer
	dial := func() net.Conn {
		conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		return conn
	}
	first := dial()
	defer func() { _ = first.Close() }()
	held := <-accepted
	silent := dial()
	defer func() { _ = silent.Close() }()
	_, err = silent.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, held.Close())
	next := dial()
	defer func() { _ = next.Close() }()
	require.NoError(t, (<-accepted).Close())
}
