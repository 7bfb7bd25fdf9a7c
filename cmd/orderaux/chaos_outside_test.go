package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// outside is a system of others, which stores records through the API while orderaux is killed.
type outside struct {
	p    *place
	http http.Handler
	want map[string]string // by order
}

// Lookup knows every order: they are all the tenant's.
func (*outside) Lookup(context.Context, uuid.UUID, string) (tenant string, position int64, err error) {
	return "demo", 1, nil
}

func newOutside(p *place) *outside {
	o := &outside{p: p, want: map[string]string{}}
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(p.t, err)
	httpapi.Mount(e, names{}, auxiliary.Routes(auxiliary.RouteDeps{Pool: p.aux, Orders: o, Now: time.Now}))
	o.http = e
	return o
}

// store says something of each tenth order, twice.
func (o *outside) store(orders []string) {
	o.p.t.Helper()
	for i := 0; i < len(orders); i += 10 {
		for revision := 1; revision <= 2; revision++ {
			o.want[orders[i]] = fmt.Sprintf(`{"n":%d}`, i+revision)
			body := fmt.Sprintf(`{"kind":"erp.document","revision":%d,"payload":%s}`, revision, o.want[orders[i]])
			req := httptest.NewRequestWithContext(o.p.t.Context(), http.MethodPut, "/v1/orders/"+orders[i]+"/auxiliary/erp/1", strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer auxiliary:erp")
			req.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			o.http.ServeHTTP(rec, req)
			require.Less(o.p.t, rec.Code, 300, rec.Body)
		}
	}
}

func (o *outside) check() {
	o.p.t.Helper()
	rows, err := o.p.aux.Query(o.p.t.Context(), `SELECT order_id::text, convert_from(payload, 'UTF8') FROM records WHERE system = 'erp' AND revision = 2`)
	require.NoError(o.p.t, err)
	got := map[string]string{}
	var id, payload string
	_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error { got[id] = payload; return nil })
	require.NoError(o.p.t, err)
	require.Equal(o.p.t, o.want, got)
}
