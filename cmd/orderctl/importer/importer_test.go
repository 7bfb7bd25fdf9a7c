package importer_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/importer"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
)

const small = `
format: csv
group_by: no
order:
  external_ref: {column: no}
  channel: {value: web}
  business_type: {value: wms}
  currency: {column: currency}
line:
  sku: {column: sku}
  quantity: {column: qty}
  unit_price: {column: price}
`

// hub answers batches over HTTP by the contract's rules on references, and can be told to fail. What a store does with orders
// beyond that is tested against the real one.
type hub struct {
	*httptest.Server

	mu      sync.Mutex
	stored  map[string]string // content by external_ref
	batches int
	// trouble is asked before each line is answered: what to do instead of storing, 0 for nothing.
	trouble func(batch, line int, ref string) int
}

// cutHere, as a trouble, cuts the connection after the order was stored and before it was answered.
const cutHere = -1

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{stored: map[string]string{}, trouble: func(int, int, string) int { return 0 }}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/orders/batch", h.batch)
	h.Server = httptest.NewServer(mux)
	t.Cleanup(h.Close)
	return h
}

func (h *hub) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: h.URL, HTTPClient: h.Server.Client()})
	require.NoError(t, err)
	return c
}

func (h *hub) batch(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.batches++
	number := h.batches
	h.mu.Unlock()
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var order client.OrderSubmission
		if json.Unmarshal(lines.Bytes(), &order) != nil {
			panic(http.ErrAbortHandler) // the rest of a line whose sender has gone
		}
		status := h.trouble(number, n, order.ExternalRef)
		if status == 0 || status == cutHere {
			stored := h.put(order.ExternalRef, lines.Text())
			if status == cutHere {
				panic(http.ErrAbortHandler)
			}
			status = stored
		}
		answer := map[string]any{"line": n, "status": status, "external_ref": order.ExternalRef}
		if status >= 400 {
			answer["problem"] = map[string]any{"type": "/problems/invalid", "title": "Some fields are not valid", "status": status}
		}
		_ = json.NewEncoder(w).Encode(answer)
		_ = control.Flush()
	}
}

func (h *hub) put(ref, content string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.stored[ref]
	switch {
	case !known:
		h.stored[ref] = content
		return http.StatusCreated
	case before == content:
		return http.StatusOK
	}
	return http.StatusConflict
}

func (h *hub) size() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.stored)
}

func (h *hub) order(t *testing.T, ref string) client.OrderSubmission {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var order client.OrderSubmission
	require.NoError(t, json.Unmarshal([]byte(h.stored[ref]), &order), ref)
	return order
}

// setup makes an import of a file; its pauses take no time.
func setup(t *testing.T, file string, store importer.Submitter) importer.Config {
	t.Helper()
	m, err := mapping.Parse([]byte(small))
	require.NoError(t, err)
	dir := t.TempDir()
	path := filepath.Join(dir, "orders.csv")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	return importer.Config{
		Path: path, Mapping: m, Store: store, RejectFile: filepath.Join(dir, "rejects.ndjson"),
		Wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

const header = "no,currency,sku,qty,price\n"

func rejectsOf(t *testing.T, path string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var all []map[string]any
	for line := range strings.Lines(string(b)) {
		var one map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &one))
		all = append(all, one)
	}
	return all
}

func TestRowsOfAnOrderNeedNotStandTogether(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := setup(t, header+"1,USD,A,1,1.00\n2,EUR,B,2,2.00\n1,USD,C,3,3.00\n3,USD,D,1,1.00\n2,EUR,E,1,0.50\n1,USD,F,1,1.00\n", h.client(t))
	got, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(3), got.New)
	require.Equal(t, int64(3), got.Orders)
	require.Equal(t, int64(6), got.Lines)
	require.Equal(t, int64(6), got.Rows)
	require.Equal(t, map[string]*big.Int{"USD": big.NewInt(1200), "EUR": big.NewInt(450)}, got.LineTotals)
	require.Len(t, h.order(t, "1").Lines, 3)
	require.Equal(t, "F", h.order(t, "1").Lines[2].SKU)
	require.Len(t, h.order(t, "2").Lines, 2)
	require.Empty(t, got.RejectFile)
	require.NoFileExists(t, c.RejectFile)

	again, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Zero(t, again.New)
	require.Equal(t, int64(3), again.Replayed)
	require.Equal(t, got.LineTotals, again.LineTotals)
}

func TestBadOrdersAreRejectedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.trouble = func(_, _ int, ref string) int {
		if ref == "refused" {
			return http.StatusUnprocessableEntity
		}
		return 0
	}
	h.put("taken", "something else")
	c := setup(t, header+"ok,USD,A,1,1\nbad,USD,B,1,1\nbad,USD,B,0,1\nrefused,USD,A,1,1\nshort,USD\n,USD,A,1,1\ntaken,USD,A,1,1\nshort,USD,A,1,1\nok,USD,C,1,1\n", h.client(t))
	got, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(1), got.New)
	require.Equal(t, int64(5), got.Rejected)
	require.Equal(t, int64(6), got.Orders)
	require.Equal(t, int64(2), got.Lines)
	require.Equal(t, c.RejectFile, got.RejectFile)
	rejected := map[string]map[string]any{}
	for _, one := range rejectsOf(t, c.RejectFile) {
		ref, _ := one["external_ref"].(string)
		rejected[ref] = one
	}
	require.Len(t, rejected, 5)
	require.Contains(t, rejected["bad"]["reason"], `row 4: line.quantity "0"`)
	require.Len(t, rejected["bad"]["rows"], 2)
	require.Contains(t, rejected["short"]["reason"], "row 6: 2 fields, not 5")
	require.Len(t, rejected["short"]["rows"], 2, "the good row of a bad order is not sent without the other")
	require.Contains(t, rejected[""]["reason"], "row 7: the row does not say which order it belongs to")
	require.EqualValues(t, http.StatusUnprocessableEntity, rejected["refused"]["problem"].(map[string]any)["status"])
	require.EqualValues(t, http.StatusConflict, rejected["taken"]["problem"].(map[string]any)["status"])
	require.Equal(t, map[string]any{"row": 5.0, "line": 5.0, "fields": map[string]any{"no": "refused", "currency": "USD", "sku": "A", "qty": "1", "price": "1"}},
		rejected["refused"]["rows"].([]any)[0])
	info, err := os.Stat(c.RejectFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func many(n int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "%d,USD,A,1,1.00\n%d,USD,B,1,0.50\n", i, i)
	}
	return b.String()
}

func TestCutsAndLackOfRoomAreGotOver(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var mu sync.Mutex
	full := map[string]int{}
	h.trouble = func(batch, line int, ref string) int {
		mu.Lock()
		defer mu.Unlock()
		if batch%3 == 1 && line == 7 {
			return cutHere
		}
		if full[ref]++; line%5 == 0 && full[ref] < 3 {
			return http.StatusServiceUnavailable
		}
		return 0
	}
	c := setup(t, many(500), h.client(t))
	c.BatchSize, c.Parallel = 40, 3
	got, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(500), got.New+got.Replayed)
	require.Positive(t, got.Replayed, "what was cut off after it was stored comes back as a replay")
	require.Zero(t, got.Rejected)
	require.Equal(t, 500, h.size())
	require.Equal(t, map[string]*big.Int{"USD": big.NewInt(75_000)}, got.LineTotals)
}

func TestInterruptedAndRunAgain(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	h.trouble = func(batch, line int, _ string) int {
		if batch == 4 && line == 3 {
			cancel()
		}
		return 0
	}
	c := setup(t, many(300), h.client(t))
	c.BatchSize, c.Parallel = 20, 2
	first, err := importer.Run(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, first.Orders, int64(300))
	require.GreaterOrEqual(t, int64(h.size()), first.New)

	second, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(300), second.New+second.Replayed)
	require.GreaterOrEqual(t, second.Replayed, first.New)
	require.Equal(t, 300, h.size())
}

func TestAStoreThatTakesNothingEndsTheImport(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.trouble = func(int, int, string) int { return http.StatusServiceUnavailable }
	c := setup(t, many(10), h.client(t))
	var mu sync.Mutex
	now := time.Now()
	c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	c.Wait = func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
		return nil
	}
	got, err := importer.Run(t.Context(), c)
	require.ErrorContains(t, err, "the store took nothing for 5m0s")
	require.ErrorContains(t, err, "invalid (503)")
	require.Zero(t, got.Orders)
}

func TestAStoreThatRefusesTheBatchEndsTheImport(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"type":"/problems/forbidden","status":403}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	store, err := client.New(client.Config{BaseURL: server.URL})
	require.NoError(t, err)
	_, err = importer.Run(t.Context(), setup(t, many(3), store))
	require.True(t, client.HasCode(err, "forbidden"), "%v", err)
}

func TestWhatIsWrongWithTheFileIsFoundBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, says string }{
		"a quote never closed": {many(2000) + "x,\"USD,A,1,1\ny,USD,A,1,1\n", "never closed"},
		"a missing column":     {"no,sku,qty,price\n1,A,1,1\n", `no column "currency"`},
		"not text":             {header + strings.Repeat("\x00", 1000), "encoding is not known"},
		"empty":                {"", "no header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			c := setup(t, tc.file, h.client(t))
			_, err := importer.Run(t.Context(), c)
			require.ErrorContains(t, err, tc.says)
			require.Zero(t, h.batches)
			require.NoFileExists(t, c.RejectFile)
		})
	}
	c := setup(t, "", nil)
	c.Path += ".gone"
	_, err := importer.Run(t.Context(), c)
	require.ErrorIs(t, err, os.ErrNotExist)
	c.Path = t.TempDir()
	_, err = importer.Run(t.Context(), c)
	require.ErrorContains(t, err, "is a folder")
}

func TestRowsTooFarApartAreNotGuessedAt(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(header)
	for range 2 {
		for i := range 100 {
			fmt.Fprintf(&b, "%d,USD,A,1,1\n", i)
		}
	}
	c := setup(t, b.String(), nil)
	c.MaxOpenRows = 50
	_, err := importer.Run(t.Context(), c)
	require.ErrorContains(t, err, "--max-open-rows")
	c.MaxOpenRows = 100
	got, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(100), got.Orders)
	require.True(t, got.DryRun)
}

func TestStandardInputIsReadTwiceToo(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := setup(t, "", h.client(t))
	c.Path, c.Stdin = "-", strings.NewReader(header+"1,USD,A,1,1\n2,USD,A,1,1\n1,USD,B,1,1\n")
	got, err := importer.Run(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, int64(2), got.New)
	require.Len(t, h.order(t, "1").Lines, 2)
}
