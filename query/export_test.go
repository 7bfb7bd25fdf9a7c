package query

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// whole is an order document with all that an export has columns for.
func whole(g given, note string) string {
	return fmt.Sprintf(`{"id":%q,"tenant":%q,"channel":"web","external_ref":%q,"business_type":"hotel","region":"EU-West","version":3,`+
		`"status":%q,"fulfillment_status":"partial","currency":"JPY","total":9007199254740993,"shipping":500,"placed_at":"2026-01-31T12:00:00.123456Z",`+
		`"updated_at":"2026-02-01T00:00:00Z","customer":{"name":%s,"email":"a@example.com","phone":"+43 1","address":{"line1":"Gasse 1, Tür \"2\"",`+
		`"city":"Wien","postal_code":"1010","country":"AT"}},"attributes":{"note":%s},"lines":[`+
		`{"line_id":"1","sku":"=SUM(A1)","name":"@home","vendor_id":"v1","quantity":2,"unit_price":-5,"discount":3,"tax":4,"total":7,`+
		`"quantities":{"ordered":2,"assigned":2,"accepted":1,"fulfilled":1,"rejected":0,"cancelled":1,"returned":1}},`+
		`{"line_id":"2","sku":"机械键盘","quantity":1,"unit_price":1,"discount":0,"tax":0,"total":1,"quantities":{"ordered":1,"assigned":0,`+
		`"accepted":0,"fulfilled":0,"rejected":1,"cancelled":0,"returned":0}}],"sync_status":[],"tasks":[],"results":[]}`,
		g.id, g.tenant, g.reference, g.status, quoted(note), quoted(note))
}

func quoted(text string) string { b, _ := json.Marshal(text); return string(b) }

func (w *world) storeWhole(g given, note string) given {
	w.t.Helper()
	g = w.store(g)
	w.exec(w.read, `UPDATE order_view SET document = convert_to($2, 'UTF8') WHERE id = $1`, g.id, whole(g, note))
	return g
}

func TestExportFormatsAgreeWithEachOtherAndWithTheOrders(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ids := []string{}
	notes := []string{"plain", "=1+2", "a,b\"c\"", "line\nbreak", "ünï"}
	for i := range 2*exportBegin + 7 { // several pages
		ids = append(ids, w.storeWhole(given{status: "completed"}, notes[i%len(notes)]).id)
	}
	w.storeWhole(given{status: "routed"}, "not in the filter")
	w.storeWhole(given{tenant: "other", status: "completed"}, "somebody else's")
	const path = "/v1/orders/export?status=completed&sort=placed_at&format="
	count := strconv.Itoa(len(ids))

	lines := w.get("demo", path+"ndjson").is(http.StatusOK).at(w.position)
	require.Equal(t, count, lines.trailer.Get(httpapi.HeaderCount))
	var documents []map[string]any
	for i, line := range strings.Split(strings.TrimSuffix(string(lines.body), "\n"), "\n") {
		require.Equal(t, string(w.get("demo", "/v1/orders/"+ids[i]).is(http.StatusOK).body), line)
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.UseNumber()
		document := map[string]any{}
		require.NoError(t, decoder.Decode(&document))
		documents = append(documents, document)
	}
	require.Len(t, documents, len(ids))

	table := w.get("demo", path+"csv").is(http.StatusOK).at(w.position)
	require.Equal(t, count, table.trailer.Get(httpapi.HeaderCount))
	require.Equal(t, strings.Count(string(table.body), "\n"), strings.Count(string(table.body), "\r\n"), "RFC 4180")
	records, err := csv.NewReader(bytes.NewReader(table.body)).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, 1+2*len(ids))
	for i, record := range records[1:] {
		order := documents[i/2]
		line := order["lines"].([]any)[i%2].(map[string]any)
		for n, column := range records[0] {
			require.Equal(t, guarded(cellOf(order, line, column)), record[n], column)
		}
	}

	file := w.get("demo", path+"parquet").is(http.StatusOK).at(w.position)
	require.Equal(t, count, file.trailer.Get(httpapi.HeaderCount))
	rows, err := parquet.Read[exportLine](bytes.NewReader(file.body), int64(len(file.body)))
	require.NoError(t, err)
	var again bytes.Buffer
	encoder, err := newCSV(&again)
	require.NoError(t, err)
	for i := range rows {
		require.NoError(t, encoder.(*csvLines).put(&rows[i]))
	}
	require.NoError(t, encoder.Close())
	require.Equal(t, string(table.body), again.String(), "Parquet has what CSV has")

	found := w.get("demo", "/v1/orders/export?text="+ids[0][:3]+"&format=ndjson&status=cancelled").is(http.StatusOK)
	require.Empty(t, found.body)
	require.Equal(t, "0", found.trailer.Get(httpapi.HeaderCount), "nothing is a whole answer too")
	byAccept := w.get("demo", "/v1/orders/export?status=completed&sort=placed_at", "Accept", "text/html, text/csv;q=0.9").is(http.StatusOK)
	require.Equal(t, table.body, byAccept.body)
}

// cellOf is what a column is in a document.
func cellOf(order, line map[string]any, column string) any {
	of, name := order, column
	customer := order["customer"].(map[string]any)
	switch {
	case column == "order_id":
		name = "id"
	case column == "order_total":
		name = "total"
	case column == "line_total":
		of, name = line, "total"
	case column == "attributes":
		note, _ := json.Marshal(order["attributes"])
		return string(note)
	case strings.HasPrefix(column, "customer_"):
		of, name = customer, strings.TrimPrefix(column, "customer_")
	case strings.HasPrefix(column, "address_"):
		of, name = customer["address"].(map[string]any), strings.TrimPrefix(column, "address_")
	case strings.HasPrefix(column, "quantities_"):
		of, name = line["quantities"].(map[string]any), strings.TrimPrefix(column, "quantities_")
	default:
		if _, ok := order[column]; !ok {
			of = line
		}
	}
	if of[name] == nil {
		return ""
	}
	return of[name]
}

func guarded(value any) string {
	text, isText := value.(string)
	if isText && text != "" && strings.Contains("=+-@", text[:1]) {
		return "'" + text
	}
	return fmt.Sprint(value)
}

func TestExportIsOneStateWhateverHappensMeanwhile(t *testing.T) {
	t.Parallel()
	w := setup(t)
	want := []string{}
	for range 3 * exportBegin {
		want = append(want, whole(w.storeWhole(given{names: []string{"chair"}}, "before"), "before"))
	}
	q := w.queries()
	for _, f := range []filter{{tenant: "demo"}, {tenant: "demo", text: "chair"}} {
		snap, err := q.freeze(w.as("demo"), f.views())
		require.NoError(t, err)
		require.Equal(t, w.position, snap.position)
		got := []string{}
		err = snap.orders(t.Context(), f, sorting{"placed_at", false}, func(document []byte) error {
			if len(got) == 0 {
				w.changeEverything(f.views())
			}
			got = append(got, string(document))
			return nil
		})
		require.NoError(t, err)
		snap.end()
		require.Equal(t, want, got)
		w.exec(w.read, `DROP SCHEMA old_views CASCADE`)
		w.exec(w.read, `CREATE SCHEMA old_views; GRANT USAGE ON SCHEMA old_views TO orderstore_query`)
		want = []string{} // all that follows was switched away
	}
}

// changeEverything writes to the views and puts empty tables in their place, as a rebuild does; a lock that an export holds would have it
// fail.
func (w *world) changeEverything(views []string) {
	w.exec(w.read, `UPDATE order_view SET document = 'changed', status = 'completed'`)
	w.exec(w.read, `DELETE FROM order_view WHERE version % 2 = 0`)
	w.store(given{names: []string{"chair"}})
	for _, view := range views {
		w.exec(w.read, `CREATE TABLE next_views.`+view+` (LIKE `+view+` INCLUDING ALL);
			GRANT SELECT ON next_views.`+view+` TO orderstore_query; ALTER TABLE next_views.`+view+` ENABLE ROW LEVEL SECURITY;
			CREATE POLICY by_scope ON next_views.`+view+` USING (true)`)
		w.exec(w.read, `SET lock_timeout = '5s'; ALTER TABLE `+view+` SET SCHEMA old_views; ALTER TABLE next_views.`+view+` SET SCHEMA public`)
	}
}

func (w *world) queries() *queries {
	cfg := w.config()
	return &queries{cfg: cfg, db: open(cfg.Read), exports: make(chan struct{}, exportsAtOnce), looking: make(chan struct{}, lookingAtOnce)}
}

// A client can tell that it did not get everything: the answer ends before its end.
func TestExportThatIsCutIsRecognised(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fillLarge(3000, 8192)
	for _, format := range []string{"ndjson", "csv", "parquet"} {
		resp := w.open("demo", "/v1/orders/export?format="+format)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		_, err := io.ReadFull(resp.Body, make([]byte, 64<<10))
		require.NoError(t, err)
		w.exec(w.read, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()`)
		_, err = io.Copy(io.Discard, resp.Body)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, format)
		require.Empty(t, resp.Trailer.Get(httpapi.HeaderCount))
		require.NoError(t, resp.Body.Close())
	}
}

func TestExportsAreFew(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.fillLarge(3000, 8192)
	var under []*http.Response
	for range exportsAtOnce {
		under = append(under, w.open("demo", "/v1/orders/export")) //nolint:bodyclose // closed below
	}
	refused := w.get("demo", "/v1/orders/export").problem(http.StatusServiceUnavailable, fault.Overloaded)
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	w.get("demo", "/v1/orders").is(http.StatusOK)
	for _, resp := range under {
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.Greater(t, n, int64(3000*8192))
		require.Equal(t, "3000", resp.Trailer.Get(httpapi.HeaderCount))
		require.NoError(t, resp.Body.Close())
	}
	w.get("demo", "/v1/orders/export?format=xml").problem(http.StatusBadRequest, fault.BadParameter)
	w.get("demo", "/v1/orders/export?limit=5").problem(http.StatusBadRequest, fault.BadParameter)
	w.get("acme", "/v1/orders/export").problem(http.StatusForbidden, fault.Forbidden)
	w.get("demo", "/v1/orders/export?wait=0s&position="+strconv.FormatInt(w.position+1, 10)).problem(http.StatusServiceUnavailable, fault.NotReached)
}

// What an export has in memory does not grow with what is exported. Other tests would count, so they wait.
func TestExportMemoryIsConstant(t *testing.T) { //nolint:paralleltest // it measures the process
	w := setup(t)
	const size, most = 4096, 4000
	q := w.queries()
	peaks := map[string][]uint64{}
	for _, orders := range []int{most / 100, most} {
		w.exec(w.read, `TRUNCATE order_view`)
		w.fillLarge(orders, size)
		for _, format := range exportFormats() {
			peaks[format.name] = append(peaks[format.name], w.peak(q, format, orders))
		}
	}
	for _, format := range exportFormats() {
		peaks := peaks[format.name]
		t.Logf("%s: %d KiB, then %d KiB for %d KiB of documents", format.name, peaks[0]>>10, peaks[1]>>10, most*size>>10)
		require.Less(t, peaks[1], peaks[0]+most*size/3, format.name)
	}
}

// peak is how much memory was in use during an export, at most, looked at ten times.
func (w *world) peak(q *queries, format exportFormat, orders int) uint64 {
	w.t.Helper()
	snap, err := q.freeze(w.as("demo"), []string{viewOrders})
	require.NoError(w.t, err)
	defer snap.end()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.GC() // the second one empties pools
	runtime.ReadMemStats(&before)
	peak, n := uint64(0), 0
	encoder, err := format.encode(io.Discard)
	require.NoError(w.t, err)
	if groups, ok := encoder.(*parquetLines); ok {
		groups.most, groups.mostBytes = 256, rowGroupBytes // groups as small as these orders are few
	}
	require.NoError(w.t, snap.orders(w.t.Context(), filter{tenant: "demo"}, sorting{"placed_at", false}, func(document []byte) error {
		if n++; n%(orders/10) == 0 {
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
		return encoder.Encode(document)
	}))
	require.NoError(w.t, encoder.Close())
	require.Equal(w.t, orders, n)
	return peak
}

// fillLarge stores many orders with documents of about a size.
func (w *world) fillLarge(orders, size int) {
	w.t.Helper()
	g := given{id: "0ID0", tenant: "demo", reference: "R", status: "routed"}
	template := strings.Replace(whole(g, ""), `{"note":""}`, `{"note":"FILL"}`, 1)
	w.exec(w.read, `
INSERT INTO order_view SELECT id, 'demo', 'web', 'R-' || n, 'hotel', 'default', 'routed', 'unfulfilled', 'EUR', n, now() + n * interval '1 s', now(), 1, n,
    convert_to(replace(replace($2, '0ID0', id::text), 'FILL', repeat(md5(n::text), $3 / 32)), 'UTF8')
FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(1, $1) n) x`,
		orders, template, size)
	w.reach(int64(orders))
}

// open asks and leaves it to the test to read the answer.
func (w *world) open(who, path string) *http.Response {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+path, http.NoBody)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+who)
	resp, err := w.server.Client().Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}
