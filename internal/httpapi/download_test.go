package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// ask writes a request on a connection of its own, from which nothing is read.
func ask(t *testing.T, url, request string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	return conn
}

func TestDownloadCutsASlowClient(t *testing.T) {
	t.Parallel()
	url, result := serve(t, func(c echo.Context) error {
		d, err := StartDownload(c, "text/plain", "x.txt")
		if err != nil {
			return err
		}
		d.to.within = 100 * time.Millisecond
		for {
			if _, err := d.WriteString(strings.Repeat("x", 1<<20)); err != nil {
				return CutOff(err)
			}
		}
	})
	conn := ask(t, url, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.ErrorIs(t, <-result, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	all, err := io.ReadAll(conn)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the connection has ended")
	require.NotContains(t, string(all), "\r\n0\r\n", "and the answer has not")
}

// during is an authenticator whose client is disabled, or whose token ends, meanwhile.
type during struct{ disabled bool }

func (*during) Authenticate(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, nil
}

func (d *during) Check(who auth.Identity) error {
	if d.disabled || !time.Now().Before(who.ExpiresAt) {
		return fault.New(fault.Unauthorized, "no longer")
	}
	return nil
}

func TestDownloadEndsForADisabledClientAndOutlivesItsToken(t *testing.T) {
	t.Parallel()
	authn := &during{}
	url, result := serve(t, func(c echo.Context) error {
		setCaller(c, authn, auth.Identity{ExpiresAt: time.Now().Add(-time.Second)}) // it ended a moment ago
		d, err := StartDownload(c, "text/plain", "x.txt")
		if err != nil {
			return err
		}
		_, err = d.WriteString("first")
		err = errors.Join(err, d.Flush())
		authn.disabled = true
		_, second := d.WriteString("second")
		return errors.Join(err, second, CutOff(d.Finish(2)))
	})
	res := get(t.Context(), t, url)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "first", string(body))
	require.Equal(t, fault.Unauthorized, fault.CodeOf(<-result))
	require.Empty(t, res.Trailer.Get(HeaderCount))
}

// In HTTP/1.0 a cut answer looks like a whole one.
func TestDownloadIsNotForHTTP10(t *testing.T) {
	t.Parallel()
	url, result := serve(t, func(c echo.Context) error {
		_, err := StartDownload(c, "text/plain", "x.txt")
		return CutOff(err)
	})
	answer, err := io.ReadAll(ask(t, url, "GET / HTTP/1.0\r\n\r\n"))
	require.NoError(t, err)
	require.Contains(t, string(answer), http.StatusText(http.StatusBadRequest))
	require.Contains(t, string(answer), "HTTP/1.1 or later")
	require.Error(t, <-result)
}
