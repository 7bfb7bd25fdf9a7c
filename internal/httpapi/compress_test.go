package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// compressing serves one resource in several ways.
func compressing(t *testing.T) *httptest.Server {
	t.Helper()
	large := `{"text":"` + strings.Repeat("an order of pens ", 500) + `"}`
	reply := func(body string) httpapi.Handler {
		return func(c echo.Context, _ auth.Identity) error {
			if httpapi.NotModified(c, httpapi.ETag(7, "")) {
				return nil
			}
			return c.Blob(http.StatusOK, "application/json", []byte(body))
		}
	}
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(e, newTokens(), []httpapi.Route{
		{Method: http.MethodGet, Path: "/large", Public: true, Handler: reply(large)},
		{Method: http.MethodGet, Path: "/small", Public: true, Handler: reply(`{"ok":true}`)},
		{Method: http.MethodPost, Path: "/token", Public: true, Handler: reply(large)},
		{Method: http.MethodGet, Path: "/problem", Public: true, Handler: func(echo.Context, auth.Identity) error {
			return fault.New(fault.NotFound, "%s", large)
		}},
		{Method: http.MethodGet, Path: "/panic", Public: true, Handler: func(echo.Context, auth.Identity) error { panic(large) }},
		{Method: http.MethodGet, Path: "/stream", Public: true, Class: httpapi.ClassStream, Handler: func(c echo.Context, _ auth.Identity) error {
			s, err := httpapi.Stream(c)
			if err != nil {
				return err
			}
			return s.Event("1", "order.placed", []byte(large))
		}},
		{Method: http.MethodGet, Path: "/public", Public: true, Handler: func(c echo.Context, _ auth.Identity) error {
			return httpapi.NewPublic("application/json", []byte(large), httpapi.Shared{MaxAge: 60e9, Stale: 3600e9}).Answer(c)
		}},
	})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server
}

type reply struct {
	*http.Response
	body []byte // decoded
	sent int
}

// fetch sends a request as it is: nothing is added or decoded by itself.
func fetch(t *testing.T, server *httptest.Server, method, path string, headers ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	body := raw
	switch res.Header.Get("Content-Encoding") {
	case "gzip":
		r, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		body, err = io.ReadAll(r)
		require.NoError(t, err)
	case "zstd":
		r, err := zstd.NewReader(nil)
		require.NoError(t, err)
		defer r.Close()
		body, err = r.DecodeAll(raw, nil)
		require.NoError(t, err)
	}
	return reply{res, body, len(raw)}
}

func TestAnswersAreCompressedAsTheClientAccepts(t *testing.T) {
	t.Parallel()
	server := compressing(t)
	plain := fetch(t, server, http.MethodGet, "/large")
	require.Empty(t, plain.Header.Get("Content-Encoding"))
	for accept, coding := range map[string]string{
		"gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip;q=1.0, zstd;q=0.5": "gzip", "gzip;q=0.2, zstd;q=0.8": "zstd",
		"gzip;q=0, zstd;q=0": "", "identity": "", "br": "", "gzip;q=0": "", "deflate, gzip;q=0.1": "gzip",
	} {
		a := fetch(t, server, http.MethodGet, "/large", "Accept-Encoding", accept)
		require.Equal(t, coding, a.Header.Get("Content-Encoding"), accept)
		require.Equal(t, string(plain.body), string(a.body), accept)
		require.Equal(t, "Accept-Encoding", a.Header.Get("Vary"), accept)
		if coding != "" {
			require.Less(t, a.sent, len(plain.body)/5)
			require.Equal(t, `"7-`+coding+`"`, a.Header.Get("ETag"))
		}
	}
	require.Equal(t, "Accept-Encoding", plain.Header.Get("Vary"))
}

func TestWhatIsNeverCompressed(t *testing.T) {
	t.Parallel()
	server := compressing(t)
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, "/small"}, {http.MethodPost, "/token"}, {http.MethodGet, "/stream"}, {http.MethodGet, "/problem"}, {http.MethodGet, "/panic"},
	} {
		a := fetch(t, server, c.method, c.path, "Accept-Encoding", "gzip, zstd")
		require.Empty(t, a.Header.Get("Content-Encoding"), c.path)
		require.NotEmpty(t, a.body, c.path)
	}
	require.Equal(t, http.StatusNotFound, fetch(t, server, http.MethodGet, "/problem", "Accept-Encoding", "gzip").StatusCode)
	require.Equal(t, http.StatusInternalServerError, fetch(t, server, http.MethodGet, "/panic", "Accept-Encoding", "gzip").StatusCode)
}

// The tag of a compressed answer, and the plain one of an answer before, both say which version the client has.
func TestTagsOfCompressedAnswers(t *testing.T) {
	t.Parallel()
	server := compressing(t)
	for _, tag := range []string{`"7"`, `W/"7"`, `"7-gzip"`, `"7-zstd"`, `"1", W/"7-gzip"`, `*`} {
		for _, accept := range []string{"gzip", "zstd", "identity"} {
			a := fetch(t, server, http.MethodGet, "/large", "Accept-Encoding", accept, "If-None-Match", tag)
			require.Equal(t, http.StatusNotModified, a.StatusCode, "%s, %s", tag, accept)
			require.Empty(t, a.body)
			require.Empty(t, a.Header.Get("Content-Encoding"))
			require.Contains(t, tag+`"7"`, a.Header.Get("ETag"))
		}
	}
	require.Equal(t, http.StatusOK, fetch(t, server, http.MethodGet, "/large", "If-None-Match", `"8-gzip"`).StatusCode)
	e := echo.New()
	for _, tag := range []string{`"7"`, `"7-gzip"`, `"7-zstd"`, `W/"7-gzip"`} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/", http.NoBody)
		req.Header.Set("If-Match", tag)
		version, given, err := httpapi.IfMatch(e.NewContext(req, httptest.NewRecorder()))
		require.NoError(t, err)
		require.True(t, given)
		require.Equal(t, int64(7), version, tag)
	}
}

func TestPublicResources(t *testing.T) {
	t.Parallel()
	server := compressing(t)
	a := fetch(t, server, http.MethodGet, "/public")
	require.Equal(t, "public, max-age=60, stale-while-revalidate=3600", a.Header.Get("Cache-Control"))
	require.Equal(t, "Accept-Encoding", a.Header.Get("Vary"))
	require.Equal(t, http.StatusNotModified, fetch(t, server, http.MethodGet, "/public", "If-None-Match", a.Header.Get("ETag")).StatusCode)
}
