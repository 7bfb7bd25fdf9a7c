package query

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
)

func TestListFilters(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{
		reference: "A", status: "routed", channel: "pos", total: 5, skus: []string{"S-1", "S-2"}, customer: []string{"Ada Løve", "Ada@Example.com", "+49 (30) 12-345"},
		tasks: []givenTask{{newID(t), "acme", "rejected"}, {newID(t), "beta", "offered"}},
	})
	w.store(given{
		reference: "B", status: "completed", business: "wms", region: "EU-West", total: 9, placed: w.base.Add(time.Hour), skus: []string{"S-2"},
		names: []string{"机械键盘"}, tasks: []givenTask{{newID(t), "beta", "completed"}},
	})
	w.store(given{reference: "C", status: "unrouted", currency: "JPY", total: 7, updated: w.base.Add(9 * time.Hour), names: []string{"机械键盘"}})
	w.store(given{reference: "X", tenant: "other", skus: []string{"S-2"}, customer: []string{"ada@example.com"}, tasks: []givenTask{{newID(t), "beta", "offered"}}})
	hour := url.QueryEscape(w.base.Add(time.Hour).Format(time.RFC3339Nano))
	for query, want := range map[string][]string{
		"":                                 {"B", "C", "A"},
		"sort=placed_at":                   {"A", "C", "B"},
		"sort=-placed_at":                  {"B", "C", "A"},
		"sort=updated_at":                  {"A", "B", "C"},
		"sort=-updated_at":                 {"C", "B", "A"},
		"sort=total":                       {"A", "C", "B"},
		"sort=-total":                      {"B", "C", "A"},
		"status=routed":                    {"A"},
		"status=routed&status=completed":   {"B", "A"},
		"status=cancelled":                 {},
		"channel=pos":                      {"A"},
		"business_type=wms":                {"B"},
		"region=EU-West":                   {"B"},
		"currency=JPY":                     {"C"},
		"external_ref=B":                   {"B"},
		"external_ref=%27%20OR%201%3D1--":  {},
		"created_after=" + hour:            {"B"},
		"created_before=" + hour:           {"C", "A"},
		"status=routed&channel=web":        {},
		"text=a&status=routed&channel=pos": {"A"},

		"channel=pos&channel=web":                         {"B", "C", "A"},
		"channel=pos&channel=app&sort=total":              {"A"},
		"business_type=wms&business_type=hotel":           {"B", "C", "A"},
		"region=EU-West&region=default&status=routed":     {"A"},
		"provider=beta":                                   {"B", "A"},
		"provider=beta&sort=total":                        {"A", "B"},
		"provider=acme":                                   {"A"},
		"provider=nobody":                                 {},
		"sku=S-2":                                         {"B", "A"},
		"sku=S-2&provider=acme":                           {"A"},
		"sku=S-2&sort=-total&channel=web":                 {"B"},
		"sku=s-2":                                         {},
		"sku=S-2&created_after=" + hour:                   {"B"},
		"sku=S-2&created_before=" + hour:                  {"A"},
		"sku=S-2&status=completed&status=routed":          {"B", "A"},
		"sku=S-2&external_ref=B":                          {"B"},
		"customer=ADA%20L%C3%98VE":                        {"A"},
		"customer=%20ada@example.COM":                     {"A"},
		"customer=004930%2F12345":                         {"A"},
		"customer=Ada":                                    {},
		"currency=EUR&total_min=6":                        {"B"},
		"currency=EUR&total_max=5":                        {"A"},
		"currency=EUR&total_min=5&total_max=9&sort=total": {"A", "B"},
		"updated_after=" + hour:                           {"B", "C"},
		"updated_before=" + hour:                          {"A"},
		"updated_after=" + hour + "&channel=web":          {"B", "C"},
		"text=%E6%9C%BA%E6%A2%B0":                         {"B", "C"},
		"text=%E6%9C%BA%E6%A2%B0&provider=beta":           {"B"},
		"text=%E6%9C%BA%E6%A2%B0&channel=web&sort=total":  {"C", "B"},
		"text=%E6%9C%BA&currency=JPY&total_min=7":         {"C"},
	} {
		refs, next := w.get("demo", "/v1/orders?"+query).at(w.position).items("external_ref")
		require.Equal(t, want, refs, "query %s", query)
		require.Empty(t, next)
	}
	refs, _ := w.get("operator", "/v1/orders?tenant=other").items("external_ref")
	require.Equal(t, []string{"X"}, refs)
	refs, _ = w.get("crm-demo", "/v1/orders?limit=1").items("external_ref")
	require.Equal(t, []string{"B"}, refs)
}

func TestListRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := setup(t)
	injection := url.QueryEscape(`' OR 1=1--`)
	for _, query := range []string{
		"foo=1", "sort=name", "sort=" + injection, "status=" + injection, "status=done", "channel=" + injection, "business_type=A", "region=" + injection,
		"currency=eur", "limit=0", "limit=201", "limit=x", "created_after=yesterday", "created_before=2026-01-31", "text=%FF", "text=%00",
		"external_ref=%00", "provider=*", "provider=", "sku=%00", "customer=%20", "customer=" + strings.Repeat("x", 321), "total_min=1", "total_max=1",
		"currency=EUR&total_min=-1", "currency=EUR&total_max=1.5", "currency=EUR&total_min=", "updated_after=now", "updated_before=1", "channel=a&channel=B", "provider=a&provider=b",
		"estimate=yes", "estimate=", "fields=", "fields=id,nonsense", "fields=lines.", "fields=id.x", "fields=attributes.a.b.c.d.e.f", manyChannels(), "channel=", "tenant=other", "sort=total&sort=-total",
	} {
		w.get("demo", "/v1/orders?"+query).problem(http.StatusBadRequest, fault.BadParameter)
	}
	for _, who := range []string{"operator", "crm"} {
		w.get(who, "/v1/orders").problem(http.StatusBadRequest, fault.BadParameter)
		w.get(who, "/v1/orders?tenant=*").problem(http.StatusBadRequest, fault.BadParameter)
	}
	w.get("acme", "/v1/tasks?status=done").problem(http.StatusBadRequest, fault.BadParameter)
	w.get("acme", "/v1/tasks?provider=beta").problem(http.StatusBadRequest, fault.BadParameter)
	w.get("demo", "/v1/tasks").problem(http.StatusForbidden, fault.Forbidden)
}

// manyChannels names more channels than may be named.
func manyChannels() string {
	var b strings.Builder
	for i := range maxValues + 1 {
		fmt.Fprintf(&b, "channel=c%d&", i)
	}
	return strings.TrimSuffix(b.String(), "&")
}

func TestTextSearch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{reference: "A-1", names: []string{"Ergonomic Chair 100%", "SKU_77-x"}})
	w.store(given{reference: "B-2", names: []string{"机械键盘 青轴", "كرسي مكتب"}})
	w.store(given{reference: "C-3", names: []string{"ＴＥＡ Straße \\ 🍵"}})
	w.store(given{reference: "A-1", tenant: "other", names: []string{"Ergonomic Chair"}})
	for text, want := range map[string][]string{
		"chair": {"A-1"}, "CHAIR": {"A-1"}, "onomic ch": {"A-1"}, "hai": {"A-1"}, "%": {"A-1"}, "_77": {"A-1"}, "0%": {"A-1"},
		"机械": {"B-2"}, "键": {"B-2"}, "盘 青": {"B-2"}, "械键盘": {"B-2"}, "盘机": {}, "كرسي": {"B-2"},
		"tea": {"C-3"}, "straße": {"C-3"}, `\`: {"C-3"}, "🍵": {"C-3"}, "b-2": {"B-2"}, "-": {"C-3", "B-2", "A-1"}, "ergonomic  chair": {"A-1"},
		"nothing": {},
	} {
		refs, _ := w.get("demo", "/v1/orders?text="+url.QueryEscape(text)).items("external_ref")
		require.Equal(t, want, refs, "text %q", text)
	}
	w.exec(w.read, `UPDATE checkpoints SET position = 2 WHERE view = 'order_search'`)
	w.get("demo", "/v1/orders?text=tea").is(http.StatusOK).at(2)
	w.get("demo", "/v1/orders").is(http.StatusOK).at(w.position)
}

func TestPagesAreStableWhileOrdersCome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var want []string
	for i := range 25 {
		// Every five have the same time and total: the id decides.
		g := w.store(given{placed: w.base.Add(time.Duration(i/5) * time.Minute), total: int64(i / 5)})
		want = append(want, g.id)
	}
	slices.Reverse(want)
	for _, sort := range []string{"-placed_at", "-total", "-updated_at"} {
		var got []string
		path := "/v1/orders?limit=4&sort=" + sort
		for next := ""; ; {
			ids, after := w.get("demo", path+next).items("id")
			got = append(got, ids...)
			if after == "" {
				break
			}
			next = "&cursor=" + after
			w.store(given{placed: w.base.Add(time.Hour + time.Duration(len(got))*time.Minute), total: 1000 + int64(len(got))})
		}
		require.Equal(t, want, got, "sort %s", sort)
		w.exec(w.read, `DELETE FROM order_view WHERE placed_at >= $1`, w.base.Add(time.Hour))
	}
}

func TestCursorsAreSealed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for range 3 {
		w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}, {newID(t), "beta", "offered"}}})
		w.store(given{tenant: "other"})
	}
	_, next := w.get("demo", "/v1/orders?limit=1").items("id")
	w.get("demo", "/v1/orders?limit=2&cursor="+next).is(http.StatusOK)
	w.get("operator", "/v1/orders?tenant=demo&cursor="+next).is(http.StatusOK)
	bad := func(who, path string) { w.get(who, path).problem(http.StatusBadRequest, fault.BadCursor) }
	bad("other", "/v1/orders?cursor="+next)
	bad("demo", "/v1/orders?status=routed&cursor="+next)
	bad("demo", "/v1/orders?sort=placed_at&cursor="+next)
	bad("demo", "/v1/orders?cursor=")
	for i := range len(next) {
		flipped := []byte(next)
		flipped[i] ^= 1
		bad("demo", "/v1/orders?cursor="+url.QueryEscape(string(flipped)))
	}
	_, tasks := w.get("acme", "/v1/tasks?limit=1").items("id")
	w.get("acme", "/v1/tasks?cursor="+tasks).is(http.StatusOK)
	bad("beta", "/v1/tasks?cursor="+tasks)
	bad("acme", "/v1/tasks?status=offered&cursor="+tasks)
	bad("demo", "/v1/orders?cursor="+tasks)
}

func TestTasks(t *testing.T) {
	t.Parallel()
	w := setup(t)
	statuses := []string{"offered", "accepted", "completed"}
	var want []string
	for i := range 9 {
		id := newID(t)
		w.store(given{tasks: []givenTask{{id, "acme", statuses[i%3]}, {newID(t), "beta", "offered"}}})
		want = append(want, id)
	}
	ids, next := w.get("acme", "/v1/tasks").at(w.position).items("id")
	require.Equal(t, want, ids)
	require.Empty(t, next)
	positions, _ := w.get("acme", "/v1/tasks?status=accepted").items("order_position")
	require.Equal(t, []string{"5", "14", "23"}, positions)
	var got []string
	for cursor := ""; ; {
		page, next := w.get("acme", "/v1/tasks?limit=2&status=offered&status=completed"+cursor).items("id")
		got = append(got, page...)
		if next == "" {
			break
		}
		cursor = "&cursor=" + next
	}
	require.Equal(t, []string{want[0], want[2], want[3], want[5], want[6], want[8]}, got)
}

func TestTimelinePages(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}, {newID(t), "beta", "offered"}}})
	w.store(given{})
	ids, next := w.get("demo", "/v1/orders/"+g.id+"/timeline?limit=2").at(w.position).items("id")
	require.Equal(t, []string{"1", "2"}, ids)
	ids, last := w.get("demo", fmt.Sprintf("/v1/orders/%s/timeline?limit=2&cursor=%s", g.id, next)).items("id")
	require.Equal(t, []string{"3"}, ids)
	require.Empty(t, last)
	kinds, _ := w.get("beta", "/v1/orders/"+g.id+"/timeline").items("type")
	require.Equal(t, []string{"task.offered"}, kinds)
	w.get("beta", fmt.Sprintf("/v1/orders/%s/timeline?cursor=%s", g.id, next)).problem(http.StatusBadRequest, fault.BadCursor)
}

// What one order in a hundred has is found by looking further: here the index knows of none of them.
func TestTextSearchWalksOnForWhatIsNotRare(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.exec(w.read, `INSERT INTO order_view SELECT gen_random_uuid(), 'demo', 'web', 'M-' || n, 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', n,
		$1::timestamptz + n * interval '1 second', $1, 1, 5, '{}' FROM generate_series(1, 3 * $2::int) n`, w.base, walkLimit)
	w.exec(w.read, `INSERT INTO order_search SELECT id, tenant, position, CASE WHEN total % 100 = 0 THEN 'zirkel' ELSE 'pinsel' END, '{}' FROM order_view`)
	w.reach(5)
	ids, next := w.get("demo", "/v1/orders?limit=50&text=zirkel").items("id")
	require.Len(t, ids, 50)
	require.NotEmpty(t, next)
	rest, end := w.get("demo", "/v1/orders?limit=50&text=zirkel&cursor="+next).items("id")
	require.Len(t, rest, 25)
	require.Empty(t, end)
	require.Equal(t, 7968, nextWalk(walkLimit, 20, 51))
	require.Zero(t, nextWalk(walkLimit, 3, 51), "few orders have it: the index is quicker")
	require.Zero(t, nextWalk(walkLimit, 0, 51))
}

// What few orders have is found behind the many that are looked through one by one.
func TestTextSearchBeyondTheWalk(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var want []string
	for range 3 {
		want = append(want, w.store(given{names: []string{"Übergröße 特殊 Qx"}, status: "completed"}).id)
	}
	w.store(given{names: []string{"Übergröße 特殊"}, tenant: "other"})
	w.exec(w.read, `INSERT INTO order_view SELECT gen_random_uuid(), 'demo', 'web', 'M-' || n, 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', n,
		$1::timestamptz + n * interval '1 second', $1, 1, 5, '{}' FROM generate_series(1, $2) n`, w.base.Add(time.Hour), walkLimit+100)
	w.exec(w.read, `INSERT INTO order_search SELECT id, tenant, position, lower(external_ref), '{}' FROM order_view WHERE document = '{}'`)
	slices.Reverse(want)
	for _, text := range []string{"übergröße", "特殊", "特", "QX", "größe 特殊 q"} {
		for _, filters := range []string{"", "&status=completed", "&sort=-updated_at"} {
			query := "/v1/orders?limit=2&text=" + url.QueryEscape(text) + filters
			if filters == "&sort=-updated_at" {
				query += "&created_before=" + url.QueryEscape(w.base.Add(time.Hour).Format(time.RFC3339))
			}
			first, next := w.get("demo", query).at(w.position).items("id")
			rest, end := w.get("demo", query+"&cursor="+next).items("id")
			require.Equal(t, want, append(first, rest...), "%s", query)
			require.Empty(t, end)
		}
	}
	ids, _ := w.get("demo", "/v1/orders?limit=3&text=m-").items("id")
	require.Len(t, ids, 3)
}
