package auxiliary

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// following is an event of an order after others.
func following(order events.Event, typ events.Type, version int64, data any) events.Event {
	e := events.New(typ, order.Time.Add(time.Duration(version)*time.Minute), data)
	e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = order.Tenant, order.BusinessType, order.OrderID, version
	return e
}

func fulfilled(order events.Event, version int64, lines ...events.ResultLine) events.Event {
	e := following(order, events.TaskResultPosted, version, &events.ResultPosted{
		ResultID: fmt.Sprint("r", version), Outcome: events.OutcomePartial, Lines: lines, TaskStatus: events.TaskStatusAccepted,
	})
	e.TaskID, e.Provider = uuid.Must(uuid.NewV7()).String(), "p"
	return e
}

// wantedInvoice is computed from the order document that the events fold into.
type wantedInvoice struct {
	number  string
	credits []string
	shares  []int64 // of each credit note, as the event says; -1: all that is left
	total   int64
	gone    bool // all of it
}

func wantedInvoices(t testing.TB, all []events.Event) map[string]wantedInvoice {
	t.Helper()
	done := map[string]map[string]int64{} // order, line, units
	lines := map[string][]events.PlacedLine{}
	shipping := map[string]int64{}
	invoices, credits := map[string]int{}, map[string]int{}
	want := map[string]wantedInvoice{}
	for i := range all {
		e := &all[i]
		switch data := e.Data.(type) {
		case *events.Placed:
			done[e.OrderID], lines[e.OrderID], shipping[e.OrderID] = map[string]int64{}, data.Lines, data.Shipping
		case *events.Amended:
			shipping[e.OrderID] = data.Shipping
		case *events.ResultPosted:
			for _, l := range data.Lines {
				if !data.Late {
					done[e.OrderID][l.LineID] += l.Quantity
				}
			}
		}
		w := want[e.OrderID]
		switch {
		case e.Type == events.OrderCompleted:
			invoices[e.Tenant]++
			w.number, w.total = fmt.Sprintf("INV-%06d", invoices[e.Tenant]), shipping[e.OrderID]
			for _, l := range lines[e.OrderID] {
				part := float64(done[e.OrderID][l.LineID]) / float64(l.Quantity)
				round := func(n int64) int64 { return int64(float64(n)*part + 0.5 + 1e-9) }
				w.total += done[e.OrderID][l.LineID]*l.UnitPrice - round(l.Discount) + round(l.Tax)
			}
			want[e.OrderID] = w
		case w.number != "" && !w.gone && (e.Status == events.OrderStatusCancelled || e.FulfillmentStatus == events.Returned || e.Type == events.OrderReturned):
			credits[e.Tenant]++
			w.credits = append(w.credits, fmt.Sprintf("CN-%06d", credits[e.Tenant]))
			share := int64(-1)
			if w.gone = e.Type != events.OrderReturned || e.FulfillmentStatus == events.Returned; !w.gone {
				share = 0
				for _, l := range e.Data.(*events.OrderReturn).Lines {
					share += l.Total
				}
			}
			w.shares = append(w.shares, share)
			want[e.OrderID] = w
		}
	}
	return want
}

const allInvoices = `
SELECT i.order_id::text, i.number, coalesce(i.credit, 0), r.kind, convert_from(r.payload, 'UTF8')
FROM invoices i JOIN records r ON r.order_id = i.order_id AND r.system = 'invoice' ORDER BY i.order_id, r.position`

func (h *house) invoices() (invoices map[string]*Invoice, credits map[string][]*Invoice) {
	h.t.Helper()
	rows, err := h.aux.Query(h.t.Context(), allInvoices)
	require.NoError(h.t, err)
	defer rows.Close()
	invoices, credits = map[string]*Invoice{}, map[string][]*Invoice{}
	last := map[string]string{}
	for rows.Next() {
		var id, kind, document string
		var number, taken int64
		require.NoError(h.t, rows.Scan(&id, &number, &taken, &kind, &document))
		v, err := decodeInvoice([]byte(document))
		require.NoError(h.t, err)
		require.Equal(h.t, v.Total, v.Net+v.Tax+v.Shipping)
		if kind == invoiceRecord {
			invoices[id], last[id] = v, numbered(seriesCredit, taken)
			require.Equal(h.t, numbered(seriesInvoice, number), v.Number)
			continue
		}
		credits[id] = append(credits[id], v)
	}
	require.NoError(h.t, rows.Err())
	for id, all := range credits {
		require.Equal(h.t, last[id], all[len(all)-1].Number)
	}
	return invoices, credits
}

// checkCredits compares an order's credit notes with the events that asked for them. All of them are the invoice once all is back.
func checkCredits(t testing.TB, w wantedInvoice, invoice *Invoice, notes []*Invoice) {
	t.Helper()
	require.Len(t, notes, len(w.credits))
	var sum int64
	units := map[string]int64{}
	for i, note := range notes {
		require.Equal(t, w.credits[i], note.Number)
		require.Equal(t, w.number, note.Invoice)
		sum += note.Total
		for _, l := range note.Lines {
			units[l.LineID] += l.Quantity
		}
		if w.shares[i] >= 0 && note.Shipping == 0 {
			// Each line may differ by a minor unit: of one that was fulfilled in part the invoice has rounded as well.
			require.InDelta(t, w.shares[i], note.Total, float64(len(note.Lines))+0.1, "order %s: %+v", invoice.OrderID, note)
		}
	}
	require.Equal(t, w.gone, len(notes) > 0 && sum == invoice.Total)
	for _, l := range invoice.Lines {
		require.True(t, units[l.LineID] <= l.Quantity && (!w.gone || units[l.LineID] == l.Quantity))
	}
}

// Over random histories, with batches of any size, a runner that is stopped in the middle and a rebuild, the invoices are those
// of an independent computation: without gaps, and the same each time.
func TestInvoicesAreNumberedWithoutGaps(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := trade(3, 120)
	h.append(all[:len(all)/2]...)
	pace := quick()
	pace.Batch = 7
	r := h.runner(pace, NewInvoices())
	stop := start(t, r)
	h.reached(r, InvoiceName, h.position/3)
	stop()
	h.append(all[len(all)/2:]...)
	r = h.runner(quick(), NewInvoices())
	start(t, r)
	h.reached(r, InvoiceName, h.position)

	want := wantedInvoices(t, all)
	check := func() {
		t.Helper()
		invoices, credits := h.invoices()
		require.Len(t, invoices, len(want))
		for id, w := range want {
			require.Equal(t, w.number, invoices[id].Number)
			require.Equal(t, w.total, invoices[id].Total, "order %s", id)
			checkCredits(t, w, invoices[id], credits[id])
		}
	}
	check()
	require.Zero(t, h.count(`SELECT count(*) FROM order_bills`), "nothing is kept of orders at their end")
	before := h.payloads(InvoiceName)
	require.NoError(t, Rebuild(t.Context(), h.aux, NewInvoices()))
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	check()
	require.Equal(t, before, h.payloads(InvoiceName))
}

// payloads are a system's records, byte for byte.
func (h *house) payloads(system string) map[string]string {
	h.t.Helper()
	rows, err := h.aux.Query(h.t.Context(),
		`SELECT order_id::text || record_id, convert_from(payload, 'UTF8') || position FROM records WHERE system = $1`, system)
	require.NoError(h.t, err)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var id, payload string
		require.NoError(h.t, rows.Scan(&id, &payload))
		all[id] = payload
	}
	require.NoError(h.t, rows.Err())
	return all
}

func (h *house) api() http.Handler {
	h.t.Helper()
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(h.t, err)
	user := func(tenant string) auth.Identity {
		return auth.Identity{ClientID: tenant, Kind: auth.KindUser, Tenant: tenant, Scopes: []string{auth.ScopeOrdersRead}}
	}
	provider := auth.Identity{ClientID: "p", Kind: auth.KindProvider, Provider: "p", Scopes: []string{auth.ScopeOrdersRead}}
	httpapi.Mount(e, tokens{"demo": user("demo"), "other": user("other"), "provider": provider},
		Routes(RouteDeps{Pool: h.aux, Orders: orders{}, Now: noon}))
	return e
}

func ask(t testing.TB, api http.Handler, method, token, path, body string, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewBufferString(body))
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, req)
	return rec
}

func TestInvoiceIsReadInThreeForms(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	order := placed(&events.Customer{Name: "محمد"})
	p, _ := order.Data.(*events.Placed)
	p.Lines[0].Name, p.Currency = `<script>alert("1")</script> 杯`, "JPY"
	h.append(
		events.New(events.TenantChanged, noon(), &events.Tenant{ID: "demo", Name: "Teahouse & Co"}), order,
		fulfilled(order, 2, events.ResultLine{LineID: "1", Quantity: 2, Outcome: events.LineFulfilled}),
		following(order, events.OrderCompleted, 3, &events.Closed{}))
	r := h.runner(quick(), NewInvoices())
	start(t, r)
	api, path := h.api(), "/v1/orders/"+order.OrderID+"/invoice"
	a := ask(t, api, http.MethodGet, "demo", path, "", "Order-Position", "4")
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	assert.JSONEq(t, `{"number":"INV-000001","kind":"invoice","date":"2026-03-01T12:03:00Z","seller":{"tenant":"demo","name":"Teahouse & Co"},
		"order_id":"`+order.OrderID+`","channel":"web","external_ref":"`+p.ExternalRef+`","currency":"JPY","minor_digits":0,"customer":{"name":"محمد"},
		"lines":[{"line_id":"1","sku":"cup","name":"<script>alert(\"1\")</script> 杯","quantity":2,"unit_price":1000,"discount":0,"net":2000,"tax":0,"total":2000}],
		"shipping":599,"net":2000,"tax":0,"total":2599,"links":{"order":"/v1/orders/`+order.OrderID+`","self":"`+path+`"}}`, a.Body.String())
	assert.Equal(t, "4", a.Header().Get("Order-Position"))

	page := ask(t, api, http.MethodGet, "demo", path, "", "Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	require.Equal(t, "text/html; charset=UTF-8", page.Header().Get("Content-Type"))
	assert.NotContains(t, page.Body.String(), "<script")
	for _, text := range []string{"&lt;script&gt;", "杯", "محمد", "Teahouse &amp; Co", "INV-000001", ">2599<"} {
		assert.Contains(t, page.Body.String(), text)
	}
	pdf := ask(t, api, http.MethodGet, "demo", path, "", "Accept", "application/pdf")
	require.Equal(t, "application/pdf", pdf.Header().Get("Content-Type"))
	require.True(t, bytes.HasPrefix(pdf.Body.Bytes(), []byte("%PDF-")))
	again := ask(t, api, http.MethodGet, "demo", path, "", "Accept", "application/pdf")
	assert.Equal(t, pdf.Body.Bytes(), again.Body.Bytes(), "made again it is the same")
	assert.NotEqual(t, page.Header().Get("ETag"), pdf.Header().Get("ETag"))
	known := ask(t, api, http.MethodGet, "demo", path, "", "Accept", "application/pdf", "If-None-Match", pdf.Header().Get("ETag"))
	assert.Equal(t, http.StatusNotModified, known.Code)

	missing := ask(t, api, http.MethodGet, "demo", "/v1/orders/"+uuid.Must(uuid.NewV7()).String()+"/invoice", "")
	foreign := ask(t, api, http.MethodGet, "other", path, "")
	assert.Equal(t, http.StatusNotFound, foreign.Code)
	assert.Equal(t, missing.Body.String(), foreign.Body.String(), "another tenant's looks like none")
	assert.Equal(t, http.StatusForbidden, ask(t, api, http.MethodGet, "provider", path, "").Code)
	assert.Equal(t, http.StatusNotFound, ask(t, api, http.MethodGet, "demo", "/v1/orders/"+order.OrderID+"/credit-note", "").Code)
	assert.Equal(t, http.StatusServiceUnavailable, ask(t, api, http.MethodGet, "demo", path, "", "Order-Position", "99").Code)
}
