package query

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListNotModified(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}}, names: []string{"pen"}})
	w.store(given{tenant: "other"})
	for _, c := range []struct{ who, path string }{
		{"demo", "/v1/orders?limit=1"}, {"demo", "/v1/orders?text=pen"}, {"acme", "/v1/tasks"}, {"demo", "/v1/orders/" + g.id + "/timeline"},
	} {
		first := w.get(c.who, c.path).is(http.StatusOK)
		etag := first.header.Get("ETag")
		require.Regexp(t, `^"[0-9a-f-]+"$`, etag, "strong")
		require.Equal(t, "private, no-cache", first.header.Get("Cache-Control"))
		again := w.get(c.who, c.path, "If-None-Match", `"0", W/`+etag).is(http.StatusNotModified).at(w.position)
		require.Empty(t, again.body)
		require.Equal(t, etag, again.header.Get("ETag"))
		w.get(c.who, c.path, "If-None-Match", `"x"`).is(http.StatusOK)
	}
	path := "/v1/orders?limit=5"
	etag := w.get("demo", path).header.Get("ETag")
	w.get("demo", "/v1/orders?limit=6&sort=total", "If-None-Match", etag).is(http.StatusNotModified) // other words, the same bytes
	w.get("other", path, "If-None-Match", etag).is(http.StatusOK)
	w.store(given{tenant: "other"})
	w.get("demo", path, "If-None-Match", etag).is(http.StatusNotModified).at(w.position) // others' orders changed
	w.store(given{})
	w.get("demo", path, "If-None-Match", etag).is(http.StatusOK)
}

// While nothing happens, a page that the client has costs no look at orders; a table that takes the place of another one is no such time.
func TestListNotModifiedReadsNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{})
	etag := w.get("demo", "/v1/orders").header.Get("ETag")
	w.exec(w.read, `UPDATE order_view SET document = '{}'`)
	w.get("demo", "/v1/orders", "If-None-Match", etag).is(http.StatusNotModified)
	w.get("demo", "/v1/orders?limit=9", "If-None-Match", etag).is(http.StatusOK)
	w.exec(w.read, `UPDATE checkpoints SET generation = 2 WHERE view = 'order_view'`)
	w.get("demo", "/v1/orders", "If-None-Match", etag).is(http.StatusOK)
}
