package query

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// fill stores many orders by SQL: each third is of a channel that is rare, each of them has one of 40 SKUs, half have a provider.
func (w *world) fill(tenant string, n int) {
	w.t.Helper()
	facet := func(kind, value string) int64 { return searchtext.Facet(tenant, kind, value) }
	w.exec(w.read, `
WITH o AS (
    INSERT INTO order_view
    SELECT gen_random_uuid(), $1, CASE WHEN i % 97 = 0 THEN 'rare' ELSE 'web' END, 'R-' || i, 'hotel', 'default', (ARRAY['routed', 'completed'])[1 + i % 2],
        'unfulfilled', 'EUR', i % 50, $2::timestamptz + (i / 3) * interval '1 second', $2::timestamptz + (i * 7919 % 10000) * interval '1 second', 1, 1,
        convert_to('{"id":' || i || ',"sku":' || i % 40 || '}', 'UTF8')
    FROM generate_series(1, $3::int) i RETURNING id, placed_at, channel, substr(external_ref, 3)::int AS i
)
INSERT INTO order_facets
SELECT CASE channel WHEN 'rare' THEN $4::bigint ELSE $5::bigint END, placed_at, id FROM o
UNION ALL SELECT ($6::bigint[])[1 + i % 40], placed_at, id FROM o
UNION ALL SELECT $7::bigint, placed_at, id FROM o WHERE i % 2 = 0`,
		tenant, w.base, n, facet(searchtext.KindChannel, "rare"), facet(searchtext.KindChannel, "web"), skuFacets(tenant), facet(searchtext.KindProvider, "acme"))
	w.exec(w.read, `ANALYZE`)
}

func skuFacets(tenant string) []int64 {
	facets := make([]int64, 40)
	for i := range facets {
		facets[i] = searchtext.Facet(tenant, searchtext.KindSKU, fmt.Sprintf("S-%d", i))
	}
	return facets
}

// TestEveryWayToAPageGivesTheSameOrders goes through whole lists, page by page, and compares with what the columns say.
func TestEveryWayToAPageGivesTheSameOrders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fill("demo", 1500)
	w.fill("other", 300)
	w.reach(1)
	for query, where := range map[string]string{
		"channel=rare":                              "channel = 'rare'",
		"channel=rare&channel=web&limit=200":        "true",
		"channel=web&status=routed&limit=200":       "channel = 'web' AND status = 'routed'",
		"status=routed&status=completed&limit=200":  "true",
		"sku=S-7&limit=5":                           "substr(external_ref, 3)::int % 40 = 7",
		"sku=S-7&provider=acme":                     "false",
		"sku=S-8&provider=acme&channel=web&limit=5": "substr(external_ref, 3)::int % 40 = 8 AND channel = 'web'",
		"provider=acme&channel=rare&limit=3":        "substr(external_ref, 3)::int % 2 = 0 AND channel = 'rare'",
	} {
		for _, sort := range []string{"-placed_at", "placed_at", "-updated_at", "total"} {
			column, down := strings.CutPrefix(sort, "-")
			order := column + ", id"
			if down {
				order = column + " DESC, id DESC"
			}
			want := w.texts(`SELECT substr(external_ref, 3) FROM order_view WHERE tenant = 'demo' AND ` + where + ` ORDER BY ` + order)
			got, path := []string{}, "/v1/orders?"+query+"&sort="+sort
			for next := ""; ; {
				ids, after := w.get("demo", path+next).items("id")
				got = append(got, ids...)
				if after == "" {
					break
				}
				next = "&cursor=" + after
			}
			require.Equal(t, want, got, "%s sorted by %s", query, sort)
		}
	}
}

// TestAWalkGivesTheSameOrders goes the way that is taken where every facet has too many orders to be sorted: through the sorted column's
// index, asking each order for its facets, whatever the planner believes.
func TestAWalkGivesTheSameOrders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fill("demo", 3000)
	f, s := filter{tenant: "demo", channels: []string{"web"}, provider: "acme"}, sorting{"total", true}
	var walked, gathered []listRow
	sql, args := f.statement(access{walk: true}, s, nil, 51)
	require.NoError(t, open(w.read).SelectContext(t.Context(), &walked, sql, args...))
	_, plan := w.touched(f.tenant, sql, args)
	require.NotContains(t, plan, "Hash Join")
	a, err := f.accessOf(t.Context(), open(w.read), s)
	require.NoError(t, err)
	require.True(t, a.gather)
	sql, args = f.statement(a, s, nil, 51)
	require.NoError(t, open(w.read).SelectContext(t.Context(), &gathered, sql, args...))
	require.Len(t, walked, 51)
	require.Equal(t, gathered, walked)
}

func (w *world) texts(sql string) []string {
	w.t.Helper()
	rows, err := w.read.Query(w.t.Context(), sql)
	require.NoError(w.t, err)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return append([]string{}, found...)
}

// TestAFilteredPageTouchesFewRows looks at the plans that Postgres makes, under the policies, for the first page and for one deep in the list, for what half of
// all orders have and for what a few have: each reads about as many rows as it answers, from an index in the order of the list.
func TestAFilteredPageTouchesFewRows(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fill("demo", 20_000)
	w.fill("other", 200)
	const limit = 51
	deep := &place{Value: w.base.Add(3000 * time.Second).UnixMicro(), ID: lowestID}
	for name, f := range map[string]filter{
		"common channel":  {tenant: "demo", channels: []string{"web"}},
		"rare channel":    {tenant: "demo", channels: []string{"rare"}},
		"status":          {tenant: "demo", status: []string{"routed"}},
		"common provider": {tenant: "demo", provider: "acme"},
		"SKU":             {tenant: "demo", sku: "S-3"},
		"nothing":         {tenant: "demo", sku: "S-99"},
		"all":             {tenant: "demo"},
		"all of a small":  {tenant: "other"},
		"small tenant":    {tenant: "other", provider: "acme"},
		"two channels":    {tenant: "demo", channels: []string{"web", "rare"}},
	} {
		for _, after := range []*place{nil, deep} {
			s := sorting{"placed_at", true}
			a, err := f.accessOf(w.as(f.tenant), open(w.scoped), s)
			require.NoError(t, err)
			sql, args := f.statement(a, s, after, limit)
			rows, plan := w.touched(f.tenant, sql, args)
			require.LessOrEqual(t, rows, float64(2*2*limit+2*limit), "%s:\n%s", name, plan) // each row once in the index and once in the table, for each of two values
		}
	}
}

// touched runs a statement and gives how many rows its scans of tables and indexes gave or threw away.
func (w *world) touched(tenant, sql string, args []any) (float64, string) {
	w.t.Helper()
	var plans []struct {
		Plan map[string]any `json:"Plan"`
	}
	require.NoError(w.t, w.scoped.QueryRow(w.as(tenant), "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, args...).Scan(&plans))
	var text strings.Builder
	var walk func(node map[string]any) float64
	walk = func(node map[string]any) float64 {
		number := func(name string) float64 { n, _ := node[name].(float64); return n }
		rows := 0.0
		if strings.Contains(node["Node Type"].(string), "Scan") && node["Relation Name"] != nil {
			rows = (number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck")) * number("Actual Loops")
		}
		fmt.Fprintf(&text, "%v %v %v: %v\n", node["Node Type"], node["Relation Name"], node["Index Name"], rows)
		below, _ := node["Plans"].([]any)
		for _, one := range below {
			rows += walk(one.(map[string]any))
		}
		return rows
	}
	return walk(plans[0].Plan), text.String()
}

func TestEstimatedTotalIsGivenOnRequest(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fill("demo", 4000)
	w.reach(1)
	require.NotContains(t, w.get("demo", "/v1/orders").is(http.StatusOK).json(), "estimated_total")
	for query, want := range map[string]float64{"": 4000, "&status=routed": 2000, "&sku=S-3": 100, "&provider=acme": 2000} {
		got := w.get("demo", "/v1/orders?estimate=true&limit=10"+query).is(http.StatusOK).json()["estimated_total"]
		require.InEpsilon(t, want, got, 0.5, "query %q", query)
	}
	require.EqualValues(t, 100, w.get("demo", "/v1/orders?estimate=true&limit=200&sku=S-3").json()["estimated_total"], "all are on the page")
	require.EqualValues(t, 0, w.get("other", "/v1/orders?estimate=true").json()["estimated_total"])
	require.NotContains(t, w.get("demo", "/v1/orders?estimate=false").json(), "estimated_total")
}

func TestFieldsGiveWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.store(given{reference: "A", total: 5, skus: []string{"S-1", "S-2"}, tasks: []givenTask{{newID(t), "acme", "offered"}, {newID(t), "beta", "offered"}}}).id
	const fields = "?fields=total,id,lines.sku,lines.quantities.ordered,tasks.provider,customer.name"
	item := `{"id":"` + id + `","total":5,"lines":[{"sku":"S-1","quantities":{"ordered":1}},{"sku":"S-2","quantities":{"ordered":1}}],"tasks":[{"provider":"acme"},{"provider":"beta"}]}`
	one := w.get("demo", "/v1/orders/"+id+fields).is(http.StatusOK)
	require.Equal(t, item, string(one.body))
	require.Equal(t, `{"items":[`+item+`]}`, string(w.get("demo", "/v1/orders"+fields).is(http.StatusOK).body))
	require.JSONEq(t, `{"id":"`+id+`","tasks":[{"provider":"acme"}]}`, string(w.get("acme", "/v1/orders/"+id+"?fields=id,tasks.provider").is(http.StatusOK).body))
	tag := one.header.Get("ETag")
	require.NotEqual(t, w.get("demo", "/v1/orders/"+id).header.Get("ETag"), tag, "another face of the same version")
	w.get("demo", "/v1/orders/"+id+fields, "If-None-Match", tag).is(http.StatusNotModified)
	w.get("demo", "/v1/orders/"+id+"?fields=nothing").problem(http.StatusBadRequest, fault.BadParameter)
	require.JSONEq(t, `{"timeline":[{"type":"order.placed"},{"type":"task.offered"},{"type":"task.offered"}]}`,
		strings.ReplaceAll(string(w.get("demo", "/v1/orders/"+id+"?include=timeline&fields=timeline.type").is(http.StatusOK).body), "io.orderstore.", ""))
}

// enter puts a product or a vendor into the catalog.
func (w *world) enter(kind, tenant, id, vendor, name string) {
	w.t.Helper()
	w.exec(w.read, `INSERT INTO catalog VALUES ($1, $2, $3, $4, 1, $5)`, kind, tenant, id, vendor, fmt.Sprintf(`{"id":%q,"name":%q}`, id, name))
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for i := range 5 {
		w.enter("product", "demo", fmt.Sprintf("S/%d", i), fmt.Sprintf("v-%d", i%2), "Tee")
	}
	w.enter("product", "other", "S/0", "v-0", "not demo's")
	w.enter("vendor", "", "v-0", "", "everybody's")
	w.enter("vendor", "", "v-1", "", "everybody's")
	w.enter("vendor", "demo", "v-1", "", "demo's own")
	w.enter("vendor", "other", "v-2", "", "not demo's")
	w.reach(3)
	ids, next := w.get("demo", "/v1/catalog/products?limit=3").at(3).items("id")
	require.Equal(t, []string{"S/0", "S/1", "S/2"}, ids)
	ids, next = w.get("demo", "/v1/catalog/products?limit=3&cursor="+next).items("id")
	require.Equal(t, []string{"S/3", "S/4"}, ids)
	require.Empty(t, next)
	ids, _ = w.get("demo", "/v1/catalog/products?vendor_id=v-1").items("id")
	require.Equal(t, []string{"S/1", "S/3"}, ids)
	names, _ := w.get("demo", "/v1/catalog/vendors").items("name")
	require.Equal(t, []string{"everybody's", "demo's own"}, names)
	ids, next = w.get("demo", "/v1/catalog/vendors?limit=1").items("id")
	require.Equal(t, []string{"v-0"}, ids)
	w.get("other", "/v1/catalog/vendors?limit=1&cursor="+next).problem(http.StatusBadRequest, fault.BadCursor)
	product := w.get("demo", "/v1/catalog/products/S%2F0").is(http.StatusOK).at(3)
	require.Equal(t, "Tee", product.json()["name"])
	w.get("demo", "/v1/catalog/products/S%2F0", "If-None-Match", product.header.Get("ETag")).is(http.StatusNotModified)
	require.Equal(t, "demo's own", w.get("demo", "/v1/catalog/vendors/v-1").is(http.StatusOK).json()["name"])
	w.get("demo", "/v1/catalog/vendors/v-2").problem(http.StatusNotFound, fault.NotFound)
	w.get("other", "/v1/catalog/products/S%2F1").problem(http.StatusNotFound, fault.NotFound)
	w.get("demo", "/v1/catalog/vendors?vendor_id=v-1").problem(http.StatusBadRequest, fault.BadParameter)
	w.get("operator", "/v1/catalog/products").problem(http.StatusBadRequest, fault.BadParameter)
	ids, _ = w.get("operator", "/v1/catalog/products?tenant=other").items("id")
	require.Equal(t, []string{"S/0"}, ids)
	w.get("acme", "/v1/catalog/products").problem(http.StatusForbidden, fault.Forbidden)
	w.end.Store(9)
	w.get("demo", "/v1/catalog/vendors/v-9", "Prefer", "wait=0").problem(http.StatusServiceUnavailable, fault.NotReached)
}

func TestAnOrderWithItsCatalog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.enter("product", "demo", "S-1", "v-1", "Tee")
	w.enter("product", "other", "S-1", "v-1", "not demo's")
	w.enter("product", "demo", "S-9", "v-9", "not ordered")
	w.enter("vendor", "", "v-1", "", "everybody's")
	w.enter("vendor", "demo", "v-line", "", "of the line")
	id := w.store(given{skus: []string{"S-1", "S-2"}, tasks: []givenTask{{newID(t), "acme", "offered"}}}).id
	answer := w.get("demo", "/v1/orders/"+id+"?include=catalog").at(w.position).is(http.StatusOK).json()
	require.Equal(t, map[string]any{
		"products": map[string]any{"S-1": map[string]any{"id": "S-1", "name": "Tee"}},
		"vendors":  map[string]any{"v-1": map[string]any{"id": "v-1", "name": "everybody's"}, "v-line": map[string]any{"id": "v-line", "name": "of the line"}},
	}, answer["catalog"])
	w.get("acme", "/v1/orders/"+id+"?include=catalog").problem(http.StatusForbidden, fault.Forbidden)
	w.exec(w.read, `UPDATE checkpoints SET position = 1 WHERE view = 'catalog'`)
	w.get("demo", "/v1/orders/"+id+"?include=catalog,timeline").is(http.StatusOK).at(1)
}
