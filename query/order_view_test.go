package query

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
)

func TestOrderIsTheStoredDocument(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{version: 7})
	a := w.get("demo", "/v1/orders/"+g.id).is(http.StatusOK).at(w.position)
	require.Equal(t, g.document(), string(a.body))
	require.Equal(t, `"7"`, a.header.Get("ETag"))
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	for _, who := range []string{"operator", "crm", "crm-demo"} {
		require.Equal(t, g.document(), string(w.get(who, "/v1/orders/"+g.id).is(http.StatusOK).body))
	}
}

func TestOrderNotModified(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}}})
	for _, c := range []struct{ who, query string }{{"demo", ""}, {"demo", "?include=timeline"}, {"demo", "?include=auxiliary"}, {"acme", ""}} {
		first := w.get(c.who, "/v1/orders/"+g.id+c.query).is(http.StatusOK)
		etag := first.header.Get("ETag")
		again := w.get(c.who, "/v1/orders/"+g.id+c.query, "If-None-Match", `"0", W/`+etag).is(http.StatusNotModified).at(w.position)
		require.Empty(t, again.body)
		require.Equal(t, etag, again.header.Get("ETag"))
		w.get(c.who, "/v1/orders/"+g.id+c.query, "If-None-Match", `"99"`).is(http.StatusOK)
	}
	plain := w.get("demo", "/v1/orders/"+g.id).header.Get("ETag")
	w.get("demo", "/v1/orders/"+g.id+"?include=timeline", "If-None-Match", plain).is(http.StatusOK)
	w.get("acme", "/v1/orders/"+g.id, "If-None-Match", plain).is(http.StatusOK)
}

// Invariant 8, read side: no party sees another's orders, and cannot tell them from orders that do not exist.
func TestInvariant8OrdersOfOthersDoNotExist(t *testing.T) {
	t.Parallel()
	w := setup(t)
	mine := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}}})
	missing := newID(t)
	for _, who := range []string{"other", "beta"} {
		for _, suffix := range []string{"", "?include=timeline", "/timeline"} {
			theirs := w.get(who, "/v1/orders/"+mine.id+suffix).problem(http.StatusNotFound, fault.NotFound)
			none := w.get(who, "/v1/orders/"+missing+suffix).problem(http.StatusNotFound, fault.NotFound)
			require.Equal(t, string(none.body), string(theirs.body))
			for _, h := range []http.Header{none.header, theirs.header} {
				h.Del("X-Request-Id")
				h.Del("Date")
			}
			require.Equal(t, none.header, theirs.header)
		}
	}
	w.store(given{tenant: "other"})
	ids, _ := w.get("other", "/v1/orders?text="+mine.reference).items("id")
	require.Empty(t, ids)
	ids, _ = w.get("other", "/v1/orders?external_ref="+mine.reference).items("id")
	require.Empty(t, ids)
	ids, _ = w.get("other", "/v1/orders").items("tenant")
	require.Equal(t, []string{"other"}, ids)
	tasks, _ := w.get("beta", "/v1/tasks").items("id")
	require.Empty(t, tasks)
	w.get("crm-demo", "/v1/orders/"+w.store(given{tenant: "other"}).id).problem(http.StatusNotFound, fault.NotFound)
	w.get("nobody", "/v1/orders/"+mine.id).problem(http.StatusForbidden, fault.Forbidden)
	w.get("", "/v1/orders/"+mine.id).is(http.StatusUnauthorized)
}

func TestProviderSeesItsOwnPart(t *testing.T) {
	t.Parallel()
	w := setup(t)
	mine := newID(t)
	g := w.store(given{tasks: []givenTask{{mine, "acme", "offered"}, {newID(t), "beta", "offered"}}})
	for _, suffix := range []string{"", "?include=timeline", "/timeline"} {
		body := string(w.get("acme", "/v1/orders/"+g.id+suffix).is(http.StatusOK).body)
		require.NotContains(t, body, "beta", "path %q", suffix)
		require.Contains(t, body, mine)
	}
	order := w.get("acme", "/v1/orders/"+g.id).json()
	require.Len(t, order["tasks"], 1)
	require.Len(t, order["results"], 1)
	require.Len(t, order["sync_status"], 1)
	raw := string(w.get("acme", "/v1/orders/"+g.id).body)
	require.Contains(t, raw, `"big":9007199254740993,`, "what is not cut stays as it was stored")
	require.NotContains(t, string(w.get("acme", "/v1/tasks").body), "beta")
	w.get("acme", "/v1/orders/"+g.id+"?include=auxiliary").problem(http.StatusForbidden, fault.Forbidden)
	w.get("acme", "/v1/orders").problem(http.StatusForbidden, fault.Forbidden)
}

func TestBadRequestsForAnOrder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	for _, id := range []string{"x", "*", "%3E", "a.b", "%00", "00000000-0000-0000-0000-00000000000", "%7B" + g.id[1:], strings.Repeat("a", 300), "a%0D%0Ab"} {
		w.get("demo", "/v1/orders/"+id).problem(http.StatusUnprocessableEntity, fault.Invalid)
		w.get("demo", "/v1/orders/"+id+"/timeline").problem(http.StatusUnprocessableEntity, fault.Invalid)
	}
	for _, query := range []string{
		"include=all", "include=timeline,x", "fields=nothing", "position=-1", "position=x", "wait=soon", "include=timeline&include=auxiliary",
	} {
		w.get("demo", "/v1/orders/"+g.id+"?"+query).problem(http.StatusBadRequest, fault.BadParameter)
	}
	w.get("demo", "/v1/orders/"+g.id, "Order-Position", "1e3").problem(http.StatusBadRequest, fault.BadParameter)
}

func TestIncludeTimeline(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}}})
	order := w.get("demo", "/v1/orders/"+g.id+"?include=timeline").is(http.StatusOK).at(w.position).json()
	timeline := order["timeline"].([]any)
	require.Len(t, timeline, 2)
	placed, offered := timeline[0].(map[string]any), timeline[1].(map[string]any)
	require.Equal(t, map[string]any{
		"specversion": "1.0", "id": "1", "type": "order.placed", "source": "/orderstore", "subject": g.id, "time": g.placed.Format(time.RFC3339),
		"position": 1.0, "tenant": "demo", "businesstype": "hotel", "orderversion": 1.0, "dataref": "/v1/orders/" + g.id + "?position=1",
		"data": map[string]any{"total": 1.0},
	}, placed)
	require.Equal(t, "acme", offered["provider"])
	require.Equal(t, g.tasks[0].id, offered["taskid"])
	// The order is at 2, the timeline of this node only at 1: the answer reflects what both do.
	w.exec(w.read, `UPDATE checkpoints SET position = 1 WHERE view = 'timeline'`)
	w.get("demo", "/v1/orders/"+g.id+"?include=timeline").is(http.StatusOK).at(1)
}

func TestIncludedTimelineGoesOnAsAPage(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	w.exec(w.read, `INSERT INTO timeline SELECT n, 'demo', NULL, $1, convert_to($2, 'UTF8') FROM generate_series(2, $3) n`,
		g.id, g.event("order.amended", nil), maxIncluded+3)
	w.reach(maxIncluded + 3)
	order := w.get("demo", "/v1/orders/"+g.id+"?include=timeline").is(http.StatusOK).json()
	require.Len(t, order["timeline"], maxIncluded)
	ids, next := w.get("demo", "/v1/orders/"+g.id+"/timeline?cursor="+order["timeline_next"].(string)).items("id")
	require.Equal(t, []string{"501", "502", "503"}, ids)
	require.Empty(t, next)
}

func TestReadDatabaseAway(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	cfg := w.config()
	nobody, err := pgxpool.New(t.Context(), "postgres://user:secret@127.0.0.1:1/read") // where no server listens
	require.NoError(t, err)
	defer nobody.Close()
	cfg.Read = nobody
	server := w.serve(cfg)
	for _, path := range []string{"/v1/orders/" + g.id, "/v1/orders/" + g.id + "?include=timeline", "/v1/orders/" + g.id + "/timeline", "/v1/orders"} {
		a := w.getFrom(server, "demo", path).problem(http.StatusServiceUnavailable, fault.Unavailable)
		require.NotEmpty(t, a.header.Get("Retry-After"))
		require.NotContains(t, string(a.body), "127.0.0.1")
	}
}
