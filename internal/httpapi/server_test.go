package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// listen serves an api on a port of its own with the limits of NewServer, changed by adjust.
func listen(t *testing.T, a *api, adjust func(*http.Server)) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := httpapi.NewServer("", a.e)
	adjust(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return listener.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestServerLimits(t *testing.T) {
	t.Parallel()
	s := httpapi.NewServer("127.0.0.1:0", http.NotFoundHandler())
	require.Equal(t, 5*time.Second, s.ReadHeaderTimeout)
	require.Equal(t, 16<<10, s.MaxHeaderBytes)
	require.Positive(t, s.IdleTimeout)
	require.Equal(t, 2*time.Minute, s.WriteTimeout, "streams and downloads set their own")
	require.Zero(t, s.ReadTimeout)
}

// Case 62: a header that stalls ends its connection; the time is shortened here, its value is tested above.
func TestStalledHeaderIsClosed(t *testing.T) {
	t.Parallel()
	addr := listen(t, newAPI(t, httpapi.Config{}), func(s *http.Server) { s.ReadHeaderTimeout = 50 * time.Millisecond })
	conn := dial(t, addr)
	_, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)
	_, err = io.ReadAll(conn)
	require.NoError(t, err, "the server ends the connection")
}

func TestLargeHeaderIsRefused(t *testing.T) {
	t.Parallel()
	addr := listen(t, newAPI(t, httpapi.Config{}), func(*http.Server) {})
	conn := dial(t, addr)
	_, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: "+strings.Repeat("x", 24<<10)+"\r\n\r\n")
	require.NoError(t, err)
	status, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, status, "431")
}

// A body that is cut off is the client's fault, and the deadline of one body does not outlive it: the connection serves on.
func TestBodiesOnOneConnection(t *testing.T) {
	t.Parallel()
	addr := listen(t, newAPI(t, httpapi.Config{}), func(*http.Server) {})
	conn := dial(t, addr)
	answers := bufio.NewReader(conn)
	const head = "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer user\r\nContent-Type: application/json\r\n"
	for range 3 {
		_, err := io.WriteString(conn, head+"Content-Length: 3\r\n\r\n\"a\"")
		require.NoError(t, err)
		res, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, `"a"`, string(body))
	}
	_, err := io.WriteString(conn, head+"Content-Length: 9\r\n\r\n\"a\"")
	require.NoError(t, err)
	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)
	require.NoError(t, tcp.CloseWrite())
	res, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestErrorsOfTheRouter(t *testing.T) {
	t.Parallel()
	a := newAPI(t, httpapi.Config{}, httpapi.Route{
		Method: "GET", Path: "/echo/:status", Public: true,
		Handler: func(c echo.Context, _ auth.Identity) error {
			return map[string]error{
				"400": echo.ErrBadRequest, "404": echo.ErrNotFound, "405": echo.ErrMethodNotAllowed, "413": echo.ErrStatusRequestEntityTooLarge,
				"500": echo.ErrTeapot,
			}[c.Param("status")]
		},
	})
	for status, problem := range map[string]string{
		"400": "malformed", "404": "not_found", "405": "method_not_allowed", "413": "too_large", "500": "internal",
	} {
		require.Equal(t, problem, problemType(t, a.do("GET", "/echo/"+status, "")))
	}
}
