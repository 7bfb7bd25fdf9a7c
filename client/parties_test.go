package client_test

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// recorded answers every call with one document and keeps what was asked.
type recorded struct {
	mu     sync.Mutex
	calls  []string
	status int
	body   string
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, req.Method+" "+req.URL.RequestURI()+" "+string(body))
	w.Header().Set("Order-Position", "12")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = io.WriteString(w, r.body)
}

func TestProvidersCalls(t *testing.T) {
	t.Parallel()
	api := &recorded{status: http.StatusCreated, body: `{"id":"t-1","status":"accepted","supported_actions":["result"],"lines":[{"line_id":"1","quantity":5,"fulfilled":2,"rejected":1}]}`}
	c, _ := setup(t, api.ServeHTTP)
	ctx := t.Context()

	task, err := c.AcceptTask(ctx, "t-1")
	require.NoError(t, err)
	require.Equal(t, int64(12), task.Meta.Position)
	require.Equal(t, int64(2), task.Lines[0].Open())
	_, err = c.RejectTask(ctx, "t-1", client.Rejection{ReasonCode: "no_capacity", Blocking: true, Message: "full"})
	require.NoError(t, err)
	_, err = c.PostResult(ctx, "t-1", client.ResultSubmission{ResultID: "r-1", Outcome: client.OutcomeCompleted})
	require.NoError(t, err)
	api.status = http.StatusOK
	again, err := c.PostResult(ctx, "t-1", client.ResultSubmission{
		ResultID: "r-1", Outcome: client.OutcomePartial, OccurredAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Lines:    []client.ResultLine{{LineID: "1", Quantity: 2, Outcome: client.LineFulfilled}},
		Tracking: []client.Tracking{{Carrier: "dhl", Number: "00340"}}, Payload: client.Object{"a": 1},
	})
	require.NoError(t, err)
	require.True(t, again.Meta.Replayed)
	require.Equal(t, []string{
		`POST /v1/tasks/t-1/accept {}`,
		`POST /v1/tasks/t-1/reject {"reason_code":"no_capacity","blocking":true,"message":"full"}`,
		`POST /v1/tasks/t-1/result {"result_id":"r-1","outcome":"completed"}`,
		`POST /v1/tasks/t-1/result {"result_id":"r-1","outcome":"partial","lines":[{"line_id":"1","quantity":2,"outcome":"fulfilled"}],` +
			`"tracking":[{"carrier":"dhl","number":"00340"}],"payload":{"a":1},"occurred_at":"2026-01-02T03:04:05Z"}`,
	}, api.calls)
}

func TestLoadIsReportedAsItIsMeant(t *testing.T) {
	t.Parallel()
	api := &recorded{status: http.StatusOK, body: `{"provider":"acme","load":0.42,"capacity":100,"expires_at":"2026-01-31T12:00:00Z"}`}
	c, _ := setup(t, api.ServeHTTP)
	capacity := int64(100)
	report, err := c.ReportLoad(t.Context(), client.LoadReport{Load: 0.42, Capacity: &capacity, TTL: time.Minute})
	require.NoError(t, err)
	require.Equal(t, "acme", report.Provider)
	require.Equal(t, int64(100), *report.Capacity)
	require.Equal(t, time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), report.ExpiresAt)
	_, err = c.ReportLoad(t.Context(), client.LoadReport{})
	require.NoError(t, err)
	require.Equal(t, []string{
		`PUT /v1/providers/me/load {"load":0.42,"capacity":100,"ttl":60}`,
		`PUT /v1/providers/me/load {"load":0}`,
	}, api.calls)
}

func TestTaskStateTellsWhatIsAllowed(t *testing.T) {
	t.Parallel()
	api := &recorded{status: http.StatusConflict, body: `{"type":"/problems/task_state","status":409,"supported_actions":["result"]}`}
	c, _ := setup(t, api.ServeHTTP)
	_, err := c.AcceptTask(t.Context(), "t-1")
	require.True(t, client.HasCode(err, client.CodeTaskState))
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, []string{"result"}, p.SupportedActions)
}

func TestAuxiliaryRecordLeavesOutWhatItsAddressSays(t *testing.T) {
	t.Parallel()
	api := &recorded{status: http.StatusOK, body: `{"order_id":"o-1","system":"crm","record_id":"r","revision":2,"payload":{"x":1}}`}
	c, _ := setup(t, api.ServeHTTP)
	got, err := c.PutAuxiliaryRecord(t.Context(), client.AuxiliaryRecord{
		OrderID: "o-1", System: "crm", RecordID: "r", Kind: "contact", Revision: 2, SchemaVersion: 1, Payload: json.RawMessage(`{"x":1}`),
	})
	require.NoError(t, err)
	require.Equal(t, int64(2), got.Revision)
	require.Equal(t, []string{`PUT /v1/orders/o-1/auxiliary/crm/r {"kind":"contact","revision":2,"schema_version":1,"payload":{"x":1}}`}, api.calls)
}

func TestOperatorsCalls(t *testing.T) {
	t.Parallel()
	api := &recorded{status: http.StatusOK, body: `{"client_id":"c","client_secret":"s","provider":"p","max_load":7}`}
	c, _ := setup(t, api.ServeHTTP)
	ctx := t.Context()

	_, err := c.PutTenant(ctx, client.Tenant{ID: "demo", Name: "Demo"})
	require.NoError(t, err)
	p, err := c.PutProvider(ctx, client.Provider{ID: "p", BusinessTypes: []string{"hotel"}, Regions: []string{"eu"}, MaxLoad: 5})
	require.NoError(t, err)
	require.Equal(t, int64(7), p.MaxLoad, "what the store answers counts")
	_, err = c.PutRoute(ctx, client.Route{BusinessType: "retail.erp", Policy: client.PolicyAll, AcceptWithin: 60, CancelWithin: 30})
	require.NoError(t, err)
	_, err = c.PutProduct(ctx, client.Product{SKU: "a/b", Tenant: "demo", ReorderLevel: 3})
	require.NoError(t, err)
	_, err = c.PutVendor(ctx, client.Vendor{ID: "v", Tenant: "demo"})
	require.NoError(t, err)
	credentials, err := c.CreateClient(ctx, client.ClientSpec{Kind: client.KindUser, Tenant: "demo"})
	require.NoError(t, err)
	require.Equal(t, "s", credentials.ClientSecret)
	require.Equal(t, []string{
		`PUT /v1/admin/tenants/demo {"name":"Demo"}`,
		`PUT /v1/admin/providers/p {"business_types":["hotel"],"max_load":5,"regions":["eu"]}`,
		`PUT /v1/admin/routes/retail.erp {"accept_within":60,"cancel_within":30,"complete_within":0,"max_attempts":0,"policy":"all","regions":[]}`,
		`PUT /v1/admin/catalog/products/a%2Fb {"discontinued":false,"reorder_level":3,"tenant":"demo"}`,
		`PUT /v1/admin/catalog/vendors/v {"tenant":"demo"}`,
		`POST /v1/admin/clients {"kind":"user","tenant":"demo"}`,
	}, api.calls)

	api.body = `{"log":12,"stream":{"name":"ORDERS","position":11,"lag":1},"views":[{"name":"order","position":12,"lag":0}],"auxiliary":[]}`
	lag, err := c.Lag(ctx)
	require.NoError(t, err)
	require.Equal(t, client.StageLag{Name: "ORDERS", Position: 11, Lag: 1}, *lag.Stream)
}
