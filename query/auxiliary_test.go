package query

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (w *world) record(g given, system, id, payload string, position int64) {
	w.t.Helper()
	w.exec(w.auxiliary, `INSERT INTO records VALUES ($1, $2, $3, $4, 'note', 2, 1, $5, $6, $7)`,
		g.id, system, id, g.tenant, payload, position, w.base)
}

func (w *world) system(name string, position int64, stopped string) {
	w.t.Helper()
	w.exec(w.auxiliary, `INSERT INTO checkpoints VALUES ($1, $2, decode(repeat('00', 32), 'hex'), $3)`, name, position, stopped)
}

func TestIncludeAuxiliary(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.store(given{})
	g := w.store(given{})
	w.record(g, "notices", "placed", `{"to":"名前","n":1.50}`, 2)
	w.record(g, "erp", "1", `[]`, 2)
	w.record(g, "crm", "1", `{}`, 1)
	w.system("invoices", 1, "")
	w.system("loyalty", 1, "cannot take event 2")
	w.system("notices", 2, "")
	w.record(w.store(given{}), "notices", "placed", `{}`, 3)
	cfg := w.config()
	cfg.Now = func() time.Time { return w.base.Add(90 * time.Second) }
	cfg.Outside = func(_ context.Context, tenant string) []string {
		require.Equal(t, g.tenant, tenant)
		return []string{"crm", "pim", "notices"}
	}
	server := w.serve(cfg)
	a := w.getFrom(server, "demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK)
	order := a.json()
	require.NotContains(t, order, "degraded")
	require.Contains(t, string(a.body), `"payload":{"to":"名前","n":1.50}`)
	records := order["auxiliary"].([]any)
	require.Len(t, records, 3)
	require.Equal(t, map[string]any{
		"order_id": g.id, "system": "erp", "kind": "note", "record_id": "1", "revision": 2.0, "schema_version": 1.0, "payload": []any{},
		"position": 2.0, "updated_at": w.base.Format(time.RFC3339), "age_ms": 90000.0,
	}, records[1])
	statuses := map[string]any{}
	for _, entry := range order["sync_status"].([]any) {
		e := entry.(map[string]any)
		require.Equal(t, "auxiliary", e["kind"])
		statuses[e["party"].(string)] = e["status"]
	}
	require.Equal(t, map[string]any{"crm": "syncing", "erp": "synced", "pim": "pending", "invoices": "pending", "loyalty": "failed", "notices": "synced"}, statuses)
	cfg.Now = func() time.Time { return w.base.Add(time.Hour) }
	later := w.getFrom(w.serve(cfg), "demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK)
	require.Equal(t, a.header.Get("ETag"), later.header.Get("ETag"), "an order that only grows older is the same")
	require.Contains(t, string(later.body), `"age_ms":3600000`)
	require.Equal(t, g.document(), string(w.get("demo", "/v1/orders/"+g.id).body), "the plain answer stays the stored document")
}

func TestAuxiliaryDatabaseAway(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	w.record(g, "notices", "placed", `{}`, 1)
	with := w.get("demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK)
	w.scopedAuxiliary.Close()
	for range 3 {
		a := w.get("demo", "/v1/orders/"+g.id+"?include=auxiliary,timeline").is(http.StatusOK).at(1)
		require.Equal(t, []any{"auxiliary"}, a.json()["degraded"])
		require.Empty(t, a.json()["auxiliary"])
		require.Len(t, a.json()["timeline"], 1)
		require.NotEqual(t, with.header.Get("ETag"), a.header.Get("ETag"))
	}
}

// A database that takes connections and never answers costs an order a short time, and the next orders nothing.
func TestAuxiliaryDatabaseHangs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	tx, err := w.auxiliary.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `LOCK TABLE records, checkpoints IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	began := time.Now()
	a := w.get("demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK)
	require.Equal(t, []any{"auxiliary"}, a.json()["degraded"])
	require.Less(t, time.Since(began), 5*time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	deadline := time.After(patience)
	for w.get("demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK).json()["degraded"] != nil {
		select {
		case <-deadline:
			t.Fatal("the auxiliary database is never asked again")
		default:
		}
	}
}

func TestNoAuxiliaryDatabase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	g := w.store(given{})
	cfg := w.config()
	cfg.Auxiliary = nil
	a := w.getFrom(w.serve(cfg), "demo", "/v1/orders/"+g.id+"?include=auxiliary").is(http.StatusOK)
	require.Equal(t, []any{"auxiliary"}, a.json()["degraded"])
}
