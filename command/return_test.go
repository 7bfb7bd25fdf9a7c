package command

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// said is an answer with its body.
type said struct {
	answered
	body string
}

// Goods come back of what was fulfilled, once a return id, never more than is out; the write side's row and verify know of them.
func TestGoodsComeBack(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	do := func(token, method, path, body string, headers ...string) said {
		res, answer := s.send(method, path, token, body, headers...)
		return said{res, string(answer)}
	}
	do("operator:", http.MethodPut, "/v1/admin/providers/acme", `{"business_types":["retail.erp"]}`)
	placed := do("user:demo", http.MethodPost, "/v1/orders", `{"channel":"web","external_ref":"r1","business_type":"retail.erp",
		"currency":"EUR","lines":[{"sku":"A","quantity":3,"unit_price":100,"tax":1},{"sku":"B","quantity":1,"unit_price":50}]}`)
	o := decoded(t, []byte(placed.body))
	path := "/v1/orders/" + o.ID + "/returns"
	back := func(body string) said { return do("user:demo", http.MethodPost, path, body) }

	early := back(`{"return_id":"a","lines":[{"line_id":"1","quantity":1}]}`)
	require.Equal(t, http.StatusUnprocessableEntity, early.status, "nothing is out yet")
	require.Contains(t, early.body, `"/lines/0/quantity"`)
	done := do("provider:acme", http.MethodPost, "/v1/tasks/"+o.Tasks[0].ID+"/result", `{"result_id":"1","outcome":"completed"}`)
	require.Equal(t, http.StatusCreated, done.status, done.body)

	const some = `{"return_id":"a","reason":"small","occurred_at":"2026-01-31T10:00:00Z","lines":[{"line_id":"1","quantity":2}]}`
	first := back(some)
	require.Equal(t, http.StatusCreated, first.status, first.body)
	o = decoded(t, []byte(first.body))
	require.EqualValues(t, 2, o.Lines[0].Quantities.Returned)
	require.Equal(t, events.Fulfilled, o.FulfillmentStatus, "some of it is still out")
	require.Equal(t, []events.ReturnedLine{{LineID: "1", SKU: "A", Quantity: 2, Restock: true, Total: 200}}, o.Returns[0].Lines)
	again := back(some)
	require.Equal(t, http.StatusOK, again.status)
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, first.header.Get("ETag"), again.header.Get("ETag"))

	for body, want := range map[string]int{
		`{"return_id":"a","lines":[{"line_id":"1","quantity":1}]}`:                              http.StatusConflict,
		`{"return_id":"b","lines":[{"line_id":"1","quantity":2}]}`:                              http.StatusUnprocessableEntity,
		`{"return_id":"b","lines":[{"line_id":"9","quantity":1}]}`:                              http.StatusUnprocessableEntity,
		`{"return_id":"b","lines":[{"line_id":"2","quantity":1},{"line_id":"2","quantity":1}]}`: http.StatusUnprocessableEntity,
		`{"return_id":"b","lines":[{"line_id":"2","quantity":0}]}`:                              http.StatusUnprocessableEntity,
		`{"return_id":"b","lines":[]}`:                                                          http.StatusUnprocessableEntity,
		`{"lines":[{"line_id":"2","quantity":1}]}`:                                              http.StatusUnprocessableEntity,
		`{"return_id":"b","lines":[{"line_id":"2","quantity":1}],"sku":"B"}`:                    http.StatusBadRequest,
	} {
		require.Equal(t, want, back(body).status, body)
	}
	other := do("user:other", http.MethodPost, path, some)
	require.Equal(t, http.StatusNotFound, other.status)
	require.Equal(t, http.StatusForbidden, do("provider:acme", http.MethodPost, path, some).status)
	stale := do("user:demo", http.MethodPost, path, `{"return_id":"b","lines":[{"line_id":"2","quantity":1}]}`, "If-Match", `"1"`)
	require.Equal(t, http.StatusPreconditionFailed, stale.status)

	rest := back(`{"return_id":"b","lines":[{"line_id":"2","quantity":1,"restock":false},{"line_id":"1","quantity":1}]}`)
	require.Equal(t, http.StatusCreated, rest.status, rest.body)
	o = decoded(t, []byte(rest.body))
	require.Equal(t, events.Returned, o.FulfillmentStatus)
	require.Equal(t, events.OrderStatusCompleted, o.Status)
	require.EqualValues(t, 101, o.Returns[1].Lines[1].Total, "with what the others' shares left over")
	s.verified()
	_, err := s.pool.Exec(t.Context(), `UPDATE orders SET kept_quantities = '{-1,0}'`)
	require.ErrorContains(t, err, "kept_quantities")
	_, err = s.pool.Exec(t.Context(), `UPDATE orders SET kept_quantities = NULL`)
	require.NoError(t, err)
	v, err := Verify(t.Context(), s.pool, func(int64) {})
	require.NoError(t, err)
	require.Contains(t, v.Difference, "is not that of its state")
}

// An order is delivered when each of its parcels is, as its providers' results tell, and returned when all has come back.
func TestParcelsArrive(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	s.send(http.MethodPut, "/v1/admin/providers/acme", "operator:", `{"business_types":["retail.erp"]}`)
	_, body := s.send(http.MethodPost, "/v1/orders", user, `{"channel":"web","external_ref":"r1","business_type":"retail.erp",
		"currency":"EUR","lines":[{"sku":"A","quantity":2,"unit_price":100}]}`)
	o := decoded(t, body)
	post := func(result string) int {
		res, answer := s.send(http.MethodPost, "/v1/tasks/"+o.Tasks[0].ID+"/result", "provider:acme", result)
		t.Log(string(answer))
		return res.status
	}
	now := func() *events.Order {
		fresh, err := s.pool.Query(t.Context(), `SELECT state FROM orders`)
		require.NoError(t, err)
		state, err := pgx.CollectExactlyOneRow(fresh, pgx.RowTo[[]byte])
		require.NoError(t, err)
		return decoded(t, state)
	}
	require.Equal(t, 422, post(`{"result_id":"0","outcome":"completed","tracking":[{"number":"1","status":"lost"}]}`))
	require.Equal(t, 422, post(`{"result_id":"0","outcome":"completed","tracking":[{"number":"1","delivered_at":"2026-01-31T10:00:00Z"}]}`))
	require.Equal(t, 201, post(`{"result_id":"1","outcome":"partial","lines":[{"line_id":"1","quantity":1}],
		"tracking":[{"carrier":"bike","number":"1","status":"in_transit"}]}`))
	require.Equal(t, events.Partial, now().FulfillmentStatus)
	require.Equal(t, 201, post(`{"result_id":"2","outcome":"completed","tracking":[{"carrier":"bike","number":"2","status":"delivered"},
		{"carrier":"bike","number":"1","status":"delivered","delivered_at":"2026-01-31T10:00:00Z"}]}`))
	require.Equal(t, events.Delivered, now().FulfillmentStatus)
	require.Equal(t, time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC), now().Results[1].Tracking[1].DeliveredAt)
	path := "/v1/orders/" + o.ID + "/returns"
	s.send(http.MethodPost, path, user, `{"return_id":"a","lines":[{"line_id":"1","quantity":1}]}`)
	require.Equal(t, events.Delivered, now().FulfillmentStatus, "of some the counters tell")
	s.send(http.MethodPost, path, user, `{"return_id":"b","lines":[{"line_id":"1","quantity":1}]}`)
	require.Equal(t, events.Returned, now().FulfillmentStatus)
	s.verified()
}
