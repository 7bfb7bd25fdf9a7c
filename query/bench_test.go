package query

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n *nowhere) WriteHeader(int)             {}

func readAgain(b *testing.B, h http.Handler, path string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, path, http.NoBody)
	require.NoError(b, err)
	req.Header.Set("Authorization", "Bearer demo")
	w := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, req)
	}
}

// BenchmarkGetOrder reads one order: as echo alone answers a document of that size, from memory, and from the database.
func BenchmarkGetOrder(b *testing.B) {
	document := make([]byte, 2500)
	id := uuid.Must(uuid.NewV7())
	path := "/v1/orders/" + id.String()
	b.Run("echo", func(b *testing.B) {
		e := echo.New()
		e.GET("/v1/orders/:id", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/json", document) })
		readAgain(b, e, path)
	})
	read := pgtest.Database(b, migrations.Read, "read")
	for _, sql := range []string{
		`INSERT INTO checkpoints (view, position, digest) VALUES ('order_view', 1, decode(repeat('00', 32), 'hex'))`,
		fmt.Sprintf(`INSERT INTO order_view VALUES ('%s', 'demo', 'web', 'R', 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', 1, now(), now(), 1, 1,
			convert_to(repeat('x', 2500), 'UTF8'))`, id),
	} {
		_, err := read.Exec(b.Context(), sql)
		require.NoError(b, err)
	}
	for _, c := range []struct {
		name  string
		bytes int64
	}{{"memory", 1 << 20}, {"database", 0}} {
		b.Run(c.name, func(b *testing.B) {
			cache, err := NewOrderCache(CacheConfig{Bytes: c.bytes})
			require.NoError(b, err)
			if cache != nil {
				cache.Reached(1)
				cache.confirmed.Store(1 << 62) // no projection runs here that would go on confirming it
			}
			e, err := httpapi.New(httpapi.Config{})
			require.NoError(b, err)
			httpapi.Mount(e, callers(), Routes(Config{
				Read: read, Cache: cache, Positions: Tips(func(string) *stream.Tip { return nil }), Cursor: httpapi.NewCursor([]byte("key")),
			}))
			readAgain(b, e, path)
		})
	}
}
