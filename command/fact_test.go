package command

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnAdjustmentIsAppliedOnce(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	const path, body = "/v1/stock/adjustments", `{"adjustment_id":"count 1","lines":[{"sku":"A","delta":-2,"on_order_delta":5,"reason":"broken"},{"sku":"房","counted":0}]}`
	res, answer := s.send(http.MethodPost, path, user, body)
	require.Equal(t, 201, res.status, "%s", answer)
	position := res.header.Get("Order-Position")
	require.JSONEq(t, `{"adjustment_id":"count 1","position":`+position+`}`, string(answer))
	var stored, subject string
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT convert_from(event, 'UTF8'), subject FROM order_events WHERE position = $1`, position).Scan(&stored, &subject))
	require.Equal(t, "orders.demo.-.-.stock.adjusted", subject)
	var event struct{ Data json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(stored), &event))
	require.JSONEq(t, body, string(event.Data))

	// The same members in another order are the same content; sent by many at once, they are one event.
	same := `{"lines":[{"reason":"broken","sku":"A","on_order_delta":5,"delta":-2},{"sku":"房","counted":0}],"adjustment_id":"count 1"}`
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			res, again := s.send(http.MethodPost, path, user, same)
			if res.status != 200 || res.header.Get("Idempotency-Replayed") != "true" || string(again) != string(answer) {
				t.Errorf("%d %s", res.status, again)
			}
		})
	}
	all.Wait()
	other := `{"adjustment_id":"count 1","lines":[{"sku":"A","delta":-3}]}`
	res, answer = s.send(http.MethodPost, path, user, other)
	require.Equal(t, 409, res.status)
	require.Contains(t, string(answer), `"type":"/problems/conflict"`)
	require.Contains(t, string(answer), `"position":`+position)
	res, _ = s.send(http.MethodPost, path, "user:other", other)
	require.Equal(t, 201, res.status, "an id is its tenant's")

	res, first := s.send(http.MethodPost, path, user, `{"adjustment_id":"k","lines":[{"sku":"A","delta":1}]}`, "Idempotency-Key", "key-1")
	require.Equal(t, 201, res.status)
	res, again := s.send(http.MethodPost, path, user, `{"adjustment_id":"k","lines":[{"sku":"A","delta":1}]}`, "Idempotency-Key", "key-1")
	require.Equal(t, 201, res.status, "the first answer")
	require.Equal(t, string(first), string(again))
	res, _ = s.send(http.MethodPost, path, user, other, "Idempotency-Key", "key-1")
	require.Equal(t, 422, res.status)
	var n int
	require.NoError(t, s.pool.QueryRow(t.Context(), `SELECT count(*) FROM order_events WHERE subject LIKE '%stock.adjusted'`).Scan(&n))
	require.Equal(t, 3, n)
	s.verified()
}

func TestAdjustmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := setupSite(t)
	for body, want := range map[string]struct {
		status int
		holds  string
	}{
		`{`:                                {400, "malformed"},
		`{}`:                               {422, "/adjustment_id"},
		`{"adjustment_id":"a","lines":[]}`: {422, "/lines"},
		`{"adjustment_id":"a","lines":[{"delta":1}]}`:                                          {422, "/lines/0/sku"},
		`{"adjustment_id":"a","lines":[{"sku":"A"}]}`:                                          {422, "/lines/0/delta"},
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":1,"counted":1}]}`:                    {422, "/lines/0/counted"},
		`{"adjustment_id":"a","lines":[{"sku":"A","counted":-1}]}`:                             {422, "/lines/0/counted"},
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":1,"reason":"4111 1111 1111 1111"}]}`: {422, "/lines/0/reason"},
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":1.5}]}`:                              {422, "/lines/0/delta"},
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":1},{"sku":"A","delta":1}]}`:          {422, "/lines/1/sku"},
		`{"adjustment_id":"a","lines":[{"sku":"A","delta":1,"on_hand":1}]}`:                    {400, "/lines/0/on_hand"},
		`{"adjustment_id":"a","tenant":"other","lines":[{"sku":"A","delta":1}]}`:               {400, "/tenant"},
		`{"adjustment_id":"a","adjustment_id":"b","lines":[{"sku":"A","delta":1}]}`:            {400, "duplicate_key"},
		`{"adjustment_id":"a","lines":[{"sku":"A","on_order_delta":99999999999999999}]}`:       {422, "/lines/0/on_order_delta"},
	} {
		res, answer := s.send(http.MethodPost, "/v1/stock/adjustments", user, body)
		require.Equal(t, want.status, res.status, "%s: %s", body, answer)
		require.Contains(t, string(answer), want.holds, body)
	}
	res, _ := s.send(http.MethodPost, "/v1/stock/adjustments", "provider:acme", `{}`)
	require.Equal(t, 403, res.status)
	res, _ = s.send(http.MethodPost, "/v1/replenishment/runs", user, `{}`)
	require.Equal(t, 403, res.status)

	const run = `{"tenant":"demo","run_id":"20260301T000000Z","position":7,"vendors":1,"lines":2}`
	res, answer := s.send(http.MethodPost, "/v1/replenishment/runs", "auxiliary:erp", run)
	require.Equal(t, 201, res.status, "%s", answer)
	res, again := s.send(http.MethodPost, "/v1/replenishment/runs", "auxiliary:erp", `{"tenant":"demo","run_id":"20260301T000000Z","position":9}`)
	require.Equal(t, 200, res.status, "a run is raised once, whatever the second look saw")
	require.Equal(t, string(answer), string(again))
}
