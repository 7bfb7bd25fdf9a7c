package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// busy is a node with one route of each class, whose requests stay until they are let go.
type busy struct {
	t         *testing.T
	e         *echo.Echo
	admission *httpapi.Admission
	pressure  float64
	entered   chan struct{}
	gate      chan struct{}
	release   func()
	answers   sync.WaitGroup

	mu      sync.Mutex
	refused map[httpapi.Class]int
}

func newBusy(t *testing.T) *busy {
	t.Helper()
	b := &busy{t: t, entered: make(chan struct{}), gate: make(chan struct{}), refused: map[httpapi.Class]int{}}
	b.admission = httpapi.NewAdmission(httpapi.AdmissionConfig{
		Pressure: func() float64 { return b.pressure },
		Refused: func(c httpapi.Class) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.refused[c]++
		},
	})
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	b.e = e
	quick := func(c echo.Context, _ auth.Identity) error {
		if _, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody); err != nil && c.Request().Method == http.MethodPost {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
	stays := func(c echo.Context, _ auth.Identity) error {
		b.entered <- struct{}{}
		<-b.gate
		return c.NoContent(http.StatusNoContent)
	}
	var routes []httpapi.Route
	for _, class := range append(httpapi.Classes(), httpapi.ClassFree) {
		routes = append(routes,
			httpapi.Route{Method: http.MethodPost, Path: "/" + class.String(), Public: true, Class: class, Handler: quick},
			httpapi.Route{Method: http.MethodPost, Path: "/" + class.String() + "/stays", Public: true, Class: class, Handler: stays})
	}
	b.admission.Mount(e, newTokens(), routes)
	b.release = sync.OnceFunc(func() {
		close(b.gate)
		b.answers.Wait()
	})
	t.Cleanup(b.release)
	return b
}

func (b *busy) post(path string, body io.Reader) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, path, body)
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	b.e.ServeHTTP(rec, req)
	return rec
}

// stay lets n requests in that stay.
func (b *busy) stay(n int, class httpapi.Class, body string) {
	b.t.Helper()
	for range n {
		b.answers.Go(func() { b.post("/"+class.String()+"/stays", strings.NewReader(body)) })
		select {
		case <-b.entered:
		case <-time.After(10 * time.Second):
			b.t.Fatal("it was not let in")
		}
	}
}

// let answers which classes are let in.
func (b *busy) let() []string {
	b.t.Helper()
	var in []string
	for _, class := range append(httpapi.Classes(), httpapi.ClassFree) {
		rec := b.post("/"+class.String(), strings.NewReader("{}"))
		if rec.Code == http.StatusNoContent {
			in = append(in, class.String())
			continue
		}
		require.Equal(b.t, http.StatusServiceUnavailable, rec.Code)
		require.Equal(b.t, "overloaded", problemType(b.t, rec))
		after, err := strconv.Atoi(rec.Header().Get("Retry-After"))
		require.NoError(b.t, err)
		assert.Positive(b.t, after)
	}
	return in
}

func TestSubmissionIsShedLast(t *testing.T) {
	t.Parallel()
	b := newBusy(t)
	for _, c := range []struct {
		pressure float64
		in       []string
	}{
		{0, []string{"export", "list", "read", "write", "submit", "batch", "stream", "free"}},
		{0.2, []string{"list", "read", "write", "submit", "batch", "stream", "free"}},
		{0.3, []string{"read", "write", "submit", "batch", "stream", "free"}},
		{0.6, []string{"write", "submit", "batch", "stream", "free"}},
		{0.8, []string{"submit", "batch", "stream", "free"}},
		{1.1, []string{"batch", "stream", "free"}},
		{0, []string{"export", "list", "read", "write", "submit", "batch", "stream", "free"}},
	} {
		b.pressure = c.pressure
		require.Equal(t, c.in, b.let(), "pressure %v", c.pressure)
	}
	require.Equal(t, map[httpapi.Class]int{
		httpapi.ClassExport: 5, httpapi.ClassList: 4, httpapi.ClassRead: 3, httpapi.ClassWrite: 2, httpapi.ClassSubmit: 1,
	}, b.refused)
}

func TestClassesAreBoundedEachAndTogether(t *testing.T) {
	t.Parallel()
	b := newBusy(t)
	b.stay(4, httpapi.ClassExport, "{}")
	require.Equal(t, []string{"list", "read", "write", "submit", "batch", "stream", "free"}, b.let(), "exports are full")
	b.stay(128, httpapi.ClassList, "{}")
	b.stay(64, httpapi.ClassBatch, "{}")
	require.Equal(t, []string{"read", "write", "submit", "stream", "free"}, b.let(), "lists and batches are full")
	b.stay(1921, httpapi.ClassSubmit, "{}")
	require.Equal(t, []string{"write", "submit", "stream", "free"}, b.let(), "half of what there is for all is used")
	b.stay(1024, httpapi.ClassSubmit, "{}")
	require.Equal(t, []string{"submit", "stream", "free"}, b.let())
	b.stay(1023, httpapi.ClassSubmit, "{}")
	require.Equal(t, []string{"stream", "free"}, b.let())
	require.Equal(t, int64(1921+1024+1023), b.admission.UnderWay(httpapi.ClassSubmit))
	b.release()
	require.Zero(t, b.admission.UnderWay(httpapi.ClassSubmit))
	require.Equal(t, []string{"export", "list", "read", "write", "submit", "batch", "stream", "free"}, b.let())
}

func TestBodiesInMemoryAreBounded(t *testing.T) {
	t.Parallel()
	b := newBusy(t)
	large := `{"a":"` + strings.Repeat("x", httpapi.DefaultMaxBody-8) + `"}`
	require.Len(t, large, httpapi.DefaultMaxBody)
	b.stay(48, httpapi.ClassSubmit, large)
	require.Equal(t, []string{"submit", "batch", "stream", "free"}, b.let(), "three quarters of the room are used")
	b.stay(16, httpapi.ClassSubmit, large)
	require.Equal(t, http.StatusServiceUnavailable, b.post("/submit", strings.NewReader("{}")).Code)
	rec := b.post("/submit", io.MultiReader(strings.NewReader(`{"a":`), strings.NewReader("1}"))) // of unknown length
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, "overloaded", problemType(t, rec))
	b.release()
	require.Equal(t, http.StatusNoContent, b.post("/submit", io.MultiReader(strings.NewReader(large))).Code)
	require.Len(t, b.let(), 8)
}

// BenchmarkAdmission is what a request pays for being let in.
func BenchmarkAdmission(b *testing.B) {
	for name, class := range map[string]httpapi.Class{"free": httpapi.ClassFree, "submit": httpapi.ClassSubmit} {
		b.Run(name, func(b *testing.B) {
			e := echo.New()
			httpapi.NewAdmission(httpapi.AdmissionConfig{Pressure: func() float64 { return 0.1 }}).Mount(e, newTokens(), []httpapi.Route{{
				Method: http.MethodPost, Path: "/v1/orders", Public: true, Class: class,
				Handler: func(echo.Context, auth.Identity) error { return nil },
			}})
			serveAll(b, e)
		})
	}
}
