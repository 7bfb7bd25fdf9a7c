package query

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// level is a row of the stock.
type level struct {
	sku, name, vendor                          string
	onHand, reserved, onOrder, reorder, target int64
	position                                   int64
	unlisted, adjusted, discontinued, other    bool
}

func (w *world) level(l level) {
	w.t.Helper()
	tenant := "demo"
	if l.other {
		tenant = "other"
	}
	w.exec(w.auxiliary, `
INSERT INTO stock (tenant, sku, name, vendor_id, on_hand, received, reserved, on_order, reorder_level, target_level, position, listed, adjusted, discontinued)
VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (tenant, sku) DO UPDATE SET on_hand = excluded.on_hand, received = excluded.received, position = excluded.position`,
		tenant, l.sku, l.name, l.vendor, l.onHand, l.reserved, l.onOrder, l.reorder, l.target, l.position, !l.unlisted, l.adjusted, l.discontinued)
	w.exec(w.auxiliary, `INSERT INTO checkpoints VALUES ('stock', $1, decode(repeat('00', 32), 'hex'), '')
ON CONFLICT (system) DO UPDATE SET position = greatest(checkpoints.position, excluded.position)`, l.position)
}

func (w *world) stocked() {
	w.level(level{sku: "a/1", name: "Cup", vendor: "v1", onHand: 9, reserved: 4, onOrder: 3, reorder: 50, target: 100, position: 3})
	w.level(level{sku: "b", name: "=1+1", vendor: "v1", onHand: -2, reserved: 1, reorder: 5, target: 10, position: 4})
	w.level(level{sku: "c", name: "وعاء <b>", vendor: "v0", onHand: 5, onOrder: 1, reorder: 6, target: 3, position: 4})
	w.level(level{sku: "d", name: "Full", vendor: "v1", onHand: 6, onOrder: 1, reorder: 6, target: 12, position: 2})
	w.level(level{sku: "e", name: "Old", vendor: "v1", reorder: 6, target: 12, position: 2, discontinued: true})
	w.level(level{sku: "f", unlisted: true, adjusted: true, position: 5})
	w.level(level{sku: "room", unlisted: true, reserved: 7, position: 6})
	w.level(level{sku: "a/1", name: "Hers", other: true, onHand: 1, reorder: 50, target: 100, position: 7})
	w.exec(w.auxiliary, `INSERT INTO stock_vendors VALUES ('', 'v1', 'Everybody''s'), ('demo', 'v1', 'Vendor, "One"'), ('other', 'v0', 'Hers')`)
	w.end.Store(7)
}

func TestStockLevels(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.stocked()
	a := w.get("demo", "/v1/stock/a%2F1").is(http.StatusOK)
	require.JSONEq(t, `{"sku":"a/1","name":"Cup","vendor_id":"v1","on_hand":9,"reserved":4,"available":5,"on_order":3,
		"reorder_level":50,"target_level":100,"position":3}`, string(a.body))
	require.Equal(t, "7", a.header.Get("Order-Position"))
	require.Equal(t, `"3"`, a.header.Get("ETag"))
	w.get("demo", "/v1/stock/a%2F1", "If-None-Match", `"3"`).is(http.StatusNotModified)
	w.get("demo", "/v1/stock/room").is(http.StatusNotFound)
	require.Equal(t, string(w.get("demo", "/v1/stock/room").body), string(w.get("demo", "/v1/stock/x").body))
	w.get("acme", "/v1/stock/b").is(http.StatusForbidden)
	w.get("crm-demo", "/v1/stock/b").is(http.StatusOK)
	w.get("crm-demo", "/v1/stock/b?tenant=other").is(http.StatusForbidden)
	w.get("crm", "/v1/stock").is(http.StatusBadRequest)
	require.Contains(t, string(w.get("crm", "/v1/stock/a%2F1?tenant=other").is(http.StatusOK).body), "Hers")

	listed := func(path string) (skus []string, next string) {
		page := w.get("demo", path).is(http.StatusOK).json()
		for _, item := range page["items"].([]any) {
			skus = append(skus, item.(map[string]any)["sku"].(string))
		}
		next, _ = page["next"].(string)
		return skus, next
	}
	first, next := listed("/v1/stock?limit=4")
	require.Equal(t, []string{"a/1", "b", "c", "d"}, first)
	second, end := listed("/v1/stock?limit=4&cursor=" + next)
	require.Equal(t, []string{"e", "f"}, second)
	require.Empty(t, end)
	below, _ := listed("/v1/stock?below_reorder=true")
	require.Equal(t, []string{"a/1", "b", "c"}, below)
	of, _ := listed("/v1/stock?vendor_id=v0")
	require.Equal(t, []string{"c"}, of)
	w.get("demo", "/v1/stock?vendor_id=v0&cursor="+next).is(http.StatusBadRequest)

	// What is not there yet is waited for; nobody is told that a product does not exist before the stock is level with the log.
	w.get("demo", "/v1/stock?position=8&wait=50ms").is(http.StatusServiceUnavailable)
	w.end.Store(8)
	time.AfterFunc(50*time.Millisecond, func() { w.level(level{sku: "new", position: 8}) })
	w.get("demo", "/v1/stock/new").is(http.StatusOK)
	w.scopedAuxiliary.Close()
	for _, path := range []string{"/v1/stock", "/v1/stock/b", "/v1/replenishment", "/v1/stock/watch", "/v1/stock/b/watch"} {
		away := w.get("demo", path).is(http.StatusServiceUnavailable)
		require.Contains(t, string(away.body), "the auxiliary database is away")
		require.NotEmpty(t, away.header.Get("Retry-After"))
	}
}

func TestReplenishmentForm(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.stocked()
	form := w.get("demo", "/v1/replenishment").is(http.StatusOK)
	require.JSONEq(t, `{"position":7,"vendors":[
		{"vendor_id":"v0","name":"","lines":[
			{"sku":"c","name":"وعاء <b>","available":5,"on_order":1,"reorder_level":6,"target_level":3,"quantity":0}]},
		{"vendor_id":"v1","name":"Vendor, \"One\"","lines":[
			{"sku":"a/1","name":"Cup","available":5,"on_order":3,"reorder_level":50,"target_level":100,"quantity":92},
			{"sku":"b","name":"=1+1","available":-3,"on_order":0,"reorder_level":5,"target_level":10,"quantity":13}]}]}`, string(form.body))
	require.JSONEq(t, `{"position":7,"vendors":[]}`, string(w.get("crm", "/v1/replenishment?tenant=nobody").is(http.StatusOK).body))

	for _, accept := range []string{"text/csv", "application/json;q=0.5, text/csv", "text/html;q=0.1, text/csv;q=0.2, */*;q=0.9"} {
		sheet := w.get("demo", "/v1/replenishment?vendor_id=v1", "Accept", accept).is(http.StatusOK)
		require.Equal(t, "text/csv; charset=utf-8", sheet.header.Get("Content-Type"))
		require.Equal(t, "vendor_id,vendor,sku,name,available,on_order,reorder_level,target_level,quantity\r\n"+
			"v1,\"Vendor, \"\"One\"\"\",a/1,Cup,5,3,50,100,92\r\n"+
			"v1,\"Vendor, \"\"One\"\"\",b,'=1+1,-3,0,5,10,13\r\n", string(sheet.body))
		_, err := csv.NewReader(strings.NewReader(string(sheet.body))).ReadAll()
		require.NoError(t, err)
	}
	page := w.get("demo", "/v1/replenishment", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8").is(http.StatusOK)
	require.Equal(t, "text/html; charset=utf-8", page.header.Get("Content-Type"))
	require.Contains(t, string(page.body), "وعاء &lt;b&gt;")
	require.NotContains(t, string(page.body), "<b>")
	require.Contains(t, page.header.Get("Vary"), "Accept")
	require.Equal(t, "application/json", w.get("demo", "/v1/replenishment", "Accept", "image/png").header.Get("Content-Type"))
}

// told is one event of a watch.
type told struct {
	id        string
	sku       string
	available int64
}

// watch reads so many levels of a watch, which then ends.
func (w *world) watch(path, lastEventID string, n int, then func(told)) []told {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer demo")
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	res, err := w.server.Client().Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	require.Equal(w.t, http.StatusOK, res.StatusCode)
	var all []told
	var now told
	for lines := bufio.NewScanner(res.Body); len(all) < n; {
		require.True(w.t, lines.Scan(), "the watch ended after %v", all)
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			now.id = value
		case "event":
			require.Equal(w.t, "stock", value)
		case "data":
			var item stockItem
			require.NoError(w.t, json.Unmarshal([]byte(value), &item))
			now.sku, now.available = item.SKU, item.Available
			all = append(all, now)
			then(now)
			now = told{}
		}
	}
	return all
}

func TestStockWatch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.stocked()
	changes := 0
	all := w.watch("/v1/stock/watch", "", 8, func(now told) {
		if changes++; changes == 6 || changes == 7 {
			w.level(level{sku: "d", onHand: int64(changes), position: int64(2 + changes)})
		}
	})
	require.Equal(t, []told{
		{"", "d", 6}, {"2", "e", 0}, {"3", "a/1", 5}, {"", "b", -3}, {"4", "c", 5}, {"5", "f", 0}, {"8", "d", 6}, {"9", "d", 7},
	}, all, "first how things stand, then what changes; an id only behind all that changed at it")
	nothing := func(told) {}
	require.Equal(t, []told{{"5", "f", 0}, {"9", "d", 7}}, w.watch("/v1/stock/watch", "4", 2, nothing))
	require.Equal(t, []told{{"9", "d", 7}}, w.watch("/v1/stock/watch?after=5", "", 1, nothing))
	require.Equal(t, []told{{"3", "a/1", 5}, {"11", "a/1", 4}}, w.watch("/v1/stock/a%2F1/watch", "", 2, func(now told) {
		if now.id == "3" {
			w.level(level{sku: "b", position: 10})
			w.level(level{sku: "a/1", onHand: 8, reserved: 4, position: 11})
		}
	}))
	w.get("demo", "/v1/stock/room/watch").is(http.StatusNotFound)
	w.get("demo", "/v1/stock/watch?after=x").is(http.StatusBadRequest)

	// Many levels at one position come whole, over several reads.
	for i := range stockBatch + 10 {
		w.level(level{sku: fmt.Sprintf("m%04d", i), position: 12})
	}
	many := w.watch("/v1/stock/watch", "11", stockBatch+10, nothing)
	require.Equal(t, "12", many[len(many)-1].id)
	for _, one := range many[:len(many)-1] {
		require.Empty(t, one.id)
	}
}
