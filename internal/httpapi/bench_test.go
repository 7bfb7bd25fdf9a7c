package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// sink is a ResponseWriter that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// serveAll sends the same request again and again.
func serveAll(b *testing.B, h http.Handler) {
	b.Helper()
	body := strings.NewReader(typicalOrder)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/v1/orders", body)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer user")
	req.Header.Set("Content-Type", "application/json")
	w := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(typicalOrder)
		req.Body = io.NopCloser(body)
		clear(w.header)
		h.ServeHTTP(w, req)
	}
}

// BenchmarkBareEcho is what the router and reading a body cost by themselves.
func BenchmarkBareEcho(b *testing.B) {
	e := echo.New()
	e.POST("/v1/orders", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		return c.Blob(http.StatusCreated, "application/json", body)
	})
	serveAll(b, e)
}

// BenchmarkRoute adds everything a route of ours has around its handler: id, log level check, token, scope, limits.
func BenchmarkRoute(b *testing.B) {
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(b, err)
	httpapi.Mount(e, newTokens(), []httpapi.Route{{
		Method: http.MethodPost, Path: "/v1/orders", Scope: auth.ScopeOrdersWrite, Kinds: []auth.Kind{auth.KindUser},
		Handler: func(c echo.Context, _ auth.Identity) error {
			body, err := httpapi.ReadJSON(c, 1<<20)
			if err != nil {
				return err
			}
			return c.Blob(http.StatusCreated, "application/json", body)
		},
	}})
	serveAll(b, e)
}
