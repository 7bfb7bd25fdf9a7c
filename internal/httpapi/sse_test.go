package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

// serve runs one handler behind a real server; what it returns comes out of the channel.
func serve(t *testing.T, h func(c echo.Context) error) (url string, result <-chan error) {
	t.Helper()
	results := make(chan error, 1)
	e, err := New(Config{})
	require.NoError(t, err)
	e.GET("/", func(c echo.Context) error {
		err := h(c)
		results <- err
		return err
	})
	server := httptest.NewUnstartedServer(e)
	server.Config = NewServer("", e)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, results
}

func get(ctx context.Context, t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	return res
}

func TestSSEFormat(t *testing.T) {
	t.Parallel()
	url, result := serve(t, func(c echo.Context) error {
		s, err := Stream(c)
		if err != nil {
			return err
		}
		return errors.Join(
			s.Event("7", "order.placed", []byte(`{"a":1}`)),
			s.Event("", "", []byte("one\r\ntwo\n")),
			s.Comment(),
			s.Event("8\nevent: forged", "x\rdata: forged", nil),
		)
	})
	res := get(t.Context(), t, url)
	defer res.Body.Close()
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.True(t, res.Close)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, <-result)
	require.Equal(t, ":\n\n"+
		"id: 7\nevent: order.placed\ndata: {\"a\":1}\n\n"+
		"data: one\ndata: two\ndata: \n\n"+
		":\n\n"+
		"id: 8\nevent: x\ndata: \n\n", string(body))
}

// Each event is on the wire when Event returns, and a client that hangs up ends the handler.
func TestSSEEndsWithItsClient(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	url, result := serve(t, func(c echo.Context) error {
		s, err := Stream(c)
		if err != nil {
			return err
		}
		if err := s.Event("1", "", []byte("x")); err != nil {
			return err
		}
		<-read
		<-c.Request().Context().Done()
		return s.Comment()
	})
	ctx, cancel := context.WithCancel(t.Context())
	res := get(ctx, t, url)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for _, want := range []string{":\n", "\n", "id: 1\n", "data: x\n"} {
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, want, line)
	}
	close(read)
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
}

type barred struct{ err error }

func (b *barred) Authenticate(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, b.err
}
func (b *barred) Check(auth.Identity) error { return b.err }

// Case 16: a stream is cut at the next event or comment once its client may no longer listen.
func TestSSEEndsWithItsIdentity(t *testing.T) {
	t.Parallel()
	gone := errors.New("the client is disabled")
	url, result := serve(t, func(c echo.Context) error {
		authn := &barred{}
		setCaller(c, authn, auth.Identity{ClientID: "c_1"})
		s, err := Stream(c)
		if err != nil {
			return err
		}
		if err := s.Event("1", "", []byte("seen")); err != nil {
			return err
		}
		authn.err = gone
		return s.Event("2", "", []byte("unseen"))
	})
	res := get(t.Context(), t, url)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.ErrorIs(t, <-result, gone)
	require.Contains(t, string(body), "seen")
	require.NotContains(t, string(body), "unseen")
}

// A client that does not read is cut by the deadline of the write that no longer fits into the connection.
func TestSSECutsASlowClient(t *testing.T) {
	t.Parallel()
	url, result := serve(t, func(c echo.Context) error {
		s, err := Stream(c)
		if err != nil {
			return err
		}
		s.timeout = 100 * time.Millisecond
		data := []byte(strings.Repeat("x", 1<<20))
		for {
			if err := s.Event("", "", data); err != nil {
				return err
			}
		}
	})
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.ErrorIs(t, <-result, os.ErrDeadlineExceeded)
}
