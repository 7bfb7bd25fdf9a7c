package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/migrations"
)

// tokens knows callers by the token they bring.
type tokens map[string]auth.Identity

func (k tokens) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	who, ok := k[bearer]
	if !ok {
		return auth.Identity{}, fault.New(fault.Unauthorized, "no such token")
	}
	return who, nil
}

func (tokens) Check(auth.Identity) error { return nil }

// orders are those that the read side knows.
type orders map[uuid.UUID]string

func (o orders) Lookup(_ context.Context, id uuid.UUID, tenant string) (string, int64, error) {
	owner, ok := o[id]
	if !ok || tenant != "" && tenant != owner {
		return "", 0, fault.New(fault.NotFound, "no such order")
	}
	return owner, 42, nil
}

// door is the API with one order of tenant demo.
type door struct {
	t     testing.TB
	pool  *pgxpool.Pool
	http  http.Handler
	order uuid.UUID
}

func newDoor(t testing.TB) *door {
	t.Helper()
	d := &door{t: t, pool: pgtest.Database(t, migrations.Auxiliary, "auxiliary"), order: uuid.Must(uuid.NewV7())}
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	system := func(name, tenant string) auth.Identity {
		return auth.Identity{ClientID: name, Kind: auth.KindAuxiliary, System: name, Tenant: tenant, Scopes: []string{auth.ScopeAuxiliaryWrite}}
	}
	reader := system("erp", "")
	reader.Scopes = []string{auth.ScopeOrdersRead}
	user := auth.Identity{ClientID: "u", Kind: auth.KindUser, Tenant: "demo", Scopes: []string{auth.ScopeAuxiliaryWrite}}
	httpapi.Mount(e, tokens{
		"erp": system("erp", ""), "crm": system("crm", ""), "demo": system("erp", "demo"), "other": system("erp", "other"),
		"notices": system("notices", ""), "reader": reader, "user": user,
	}, Routes(RouteDeps{Pool: d.pool, Orders: orders{d.order: "demo"}, Now: noon}))
	d.http = e
	return d
}

func (d *door) put(token, path, body string) *httptest.ResponseRecorder {
	d.t.Helper()
	req := httptest.NewRequestWithContext(d.t.Context(), http.MethodPut, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	d.http.ServeHTTP(rec, req)
	return rec
}

func (d *door) path(system, record string) string {
	return "/v1/orders/" + d.order.String() + "/auxiliary/" + system + "/" + record
}

func recordBody(revision int64, payload string) string {
	return fmt.Sprintf(`{"kind":"erp.document","revision":%d,"schema_version":2,"payload":%s}`, revision, payload)
}

func TestPutStoresARecord(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	rec := d.put("erp", d.path("erp", "INV-1"), recordBody(1, `{"b": [1.10, 9007199254740993], "a": "\u738b"}`))
	require.Equal(t, http.StatusCreated, rec.Code, rec.Body)
	assert.Equal(t, "42", rec.Header().Get("Order-Position"))
	assert.Equal(t, d.path("erp", "INV-1"), rec.Header().Get("Location"))
	want := `{"order_id":"` + d.order.String() + `","system":"erp","kind":"erp.document","record_id":"INV-1","revision":1,` +
		`"schema_version":2,"payload":{"a":"王","b":[1.10,9007199254740993]},"position":42,"updated_at":"2026-03-01T12:00:00Z"}`
	assert.Equal(t, want, rec.Body.String(), "numbers keep all their digits")

	again := d.put("erp", d.path("erp", "INV-1"), recordBody(1, `{"a":"王","b":[1.10,9007199254740993]}`))
	assert.Equal(t, http.StatusOK, again.Code, "the same content, written otherwise")
	assert.Equal(t, want, again.Body.String())

	higher := d.put("demo", d.path("erp", "INV-1"), `{"kind":"erp.document","revision":5,"payload":{}}`)
	assert.Equal(t, http.StatusOK, higher.Code)
	assert.Contains(t, higher.Body.String(), `"revision":5,"schema_version":1,"payload":{}`)

	for name, body := range map[string]string{
		"lower": recordBody(4, `{}`), "other payload": `{"kind":"erp.document","revision":5,"payload":{"x":1}}`,
		"other kind": `{"kind":"else","revision":5,"payload":{}}`, "other schema": `{"kind":"erp.document","revision":5,"schema_version":2,"payload":{}}`,
	} {
		stale := d.put("erp", d.path("erp", "INV-1"), body)
		assert.Equal(t, http.StatusConflict, stale.Code, name)
		assert.Contains(t, stale.Body.String(), `"type":"/problems/stale_revision"`, name)
		assert.Contains(t, stale.Body.String(), `"revision":5`, name)
	}
	var n int
	require.NoError(t, d.pool.QueryRow(t.Context(), `SELECT count(*) FROM records WHERE tenant = 'demo' AND revision = 5`).Scan(&n))
	assert.Equal(t, 1, n)
}

// If-Match names the revision that a writer has seen, beside the one that it writes.
func TestPutHonoursIfMatch(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	put := func(match string, revision int64, payload string, wanted int) *httptest.ResponseRecorder {
		t.Helper()
		a := ask(t, d.http, http.MethodPut, "erp", d.path("erp", "1"), recordBody(revision, payload), "If-Match", match)
		require.Equal(t, wanted, a.Code, a.Body)
		return a
	}
	assert.Contains(t, put(`"1"`, 1, `{}`, http.StatusPreconditionFailed).Body.String(), "version_mismatch")
	put(`*`, 1, `{}`, http.StatusPreconditionFailed)
	first := d.put("erp", d.path("erp", "1"), recordBody(1, `{}`))
	require.Equal(t, `"1"`, first.Header().Get("ETag"))
	second := put(`"1"`, 7, `{"a":1}`, http.StatusOK)
	require.Equal(t, `"7"`, second.Header().Get("ETag"))
	assert.Contains(t, put(`"1"`, 8, `{"a":2}`, http.StatusPreconditionFailed).Body.String(), `"revision":7`)
	put(`"1"`, 7, `{"a":2}`, http.StatusPreconditionFailed)
	assert.Equal(t, second.Body.String(), put(`"1"`, 7, `{"a":1}`, http.StatusOK).Body.String(), "the same write once more")
	put(`"7"`, 6, `{}`, http.StatusConflict)
	put(`*`, 8, `{}`, http.StatusOK)
	put(`"0"`, 9, `{}`, http.StatusPreconditionFailed)
	put(`8`, 9, `{}`, http.StatusBadRequest)
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	good, nobody := recordBody(1, `{}`), uuid.Must(uuid.NewV7()).String()
	cases := map[string]struct {
		token, path, body string
		status            int
		holds             string
	}{
		"no token":              {"none", d.path("erp", "1"), good, 401, "unauthorized"},
		"no scope":              {"reader", d.path("erp", "1"), good, 403, "auxiliary:write"},
		"no system":             {"user", d.path("erp", "1"), good, 403, "kind user"},
		"another's system":      {"crm", d.path("erp", "1"), good, 403, "does not write for this system"},
		"a shipped system":      {"notices", d.path("notices", "1"), good, 403, "does not write for this system"},
		"no order":              {"erp", "/v1/orders/" + nobody + "/auxiliary/erp/1", good, 404, "no such order"},
		"another tenant":        {"other", d.path("erp", "1"), good, 404, "no such order"},
		"no uuid":               {"erp", "/v1/orders/7/auxiliary/erp/1", good, 422, "is not a UUID"},
		"bad record id":         {"erp", d.path("erp", "a.b"), good, 422, "record_id"},
		"bad json":              {"erp", d.path("erp", "1"), `{"kind":`, 400, "malformed"},
		"unknown field":         {"erp", d.path("erp", "1"), `{"kind":"k","revision":1,"payload":{},"tenant":"x"}`, 400, "/tenant"},
		"duplicate key":         {"erp", d.path("erp", "1"), `{"kind":"k","kind":"k","revision":1,"payload":{}}`, 400, "duplicate_key"},
		"duplicate in payload":  {"erp", d.path("erp", "1"), recordBody(1, `{"a":1,"a":2}`), 400, "duplicate_key"},
		"trailing data":         {"erp", d.path("erp", "1"), good + "{}", 400, "after the JSON"},
		"nothing given":         {"erp", d.path("erp", "1"), `{}`, 422, "/revision"},
		"revision 0":            {"erp", d.path("erp", "1"), recordBody(0, `{}`), 422, "/revision"},
		"revision not integer":  {"erp", d.path("erp", "1"), `{"kind":"k","revision":1.5,"payload":{}}`, 422, "/revision"},
		"schema 0":              {"erp", d.path("erp", "1"), `{"kind":"k","revision":1,"schema_version":0,"payload":{}}`, 422, "/schema_version"},
		"kind":                  {"erp", d.path("erp", "1"), `{"kind":"K k","revision":1,"payload":{}}`, 422, "/kind"},
		"payload no object":     {"erp", d.path("erp", "1"), recordBody(1, `[]`), 422, "/payload"},
		"payload null":          {"erp", d.path("erp", "1"), recordBody(1, `null`), 422, "/payload"},
		"payload with NUL":      {"erp", d.path("erp", "1"), recordBody(1, `{"a":"\u0000"}`), 422, "/payload/a"},
		"payload over 64 KiB":   {"erp", d.path("erp", "1"), recordBody(1, `{"a":"`+strings.Repeat("x", 64<<10)+`"}`), 422, "/payload"},
		"body far over":         {"erp", d.path("erp", "1"), recordBody(1, `{"a":"`+strings.Repeat("x", 300<<10)+`"}`), 413, "too_large"},
		"payload nested deeply": {"erp", d.path("erp", "1"), recordBody(1, `{"a":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`), 400, "malformed"},
	}
	for name, c := range cases {
		rec := d.put(c.token, c.path, c.body)
		assert.Equal(t, c.status, rec.Code, "%s: %s", name, rec.Body)
		assert.Contains(t, rec.Body.String(), c.holds, name)
	}
	absent := d.put("erp", "/v1/orders/"+nobody+"/auxiliary/erp/1", good)
	other := d.put("other", d.path("erp", "1"), good)
	assert.Equal(t, absent.Body.String(), other.Body.String(), "another tenant's order looks like none")
	var n int
	require.NoError(t, d.pool.QueryRow(t.Context(), `SELECT count(*) FROM records`).Scan(&n))
	assert.Zero(t, n)

	largest := recordBody(1, `{"a":"`+strings.Repeat("x", 64<<10-8)+`"}`)
	assert.Equal(t, http.StatusCreated, d.put("erp", d.path("erp", "1"), largest).Code, "64 KiB are taken")
}

// Of writers that all read the same revision and write the next one, one gets through, and no write is lost.
func TestConcurrentPutsLoseNoUpdate(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	const writers, rounds = 8, 10
	for round := range int64(rounds) {
		answers := make([]*httptest.ResponseRecorder, writers)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				answers[w] = d.put("erp", d.path("erp", "counter"), recordBody(round+1, fmt.Sprintf(`{"writer":%d}`, w)))
			})
		}
		all.Wait()
		won := -1
		for w, rec := range answers {
			switch rec.Code {
			case http.StatusCreated, http.StatusOK:
				require.Equal(t, -1, won, "two were told that their content is revision %d", round+1)
				require.Equal(t, round == 0, rec.Code == http.StatusCreated)
				won = w
			default:
				require.Equal(t, http.StatusConflict, rec.Code, rec.Body)
				require.Contains(t, rec.Body.String(), fmt.Sprintf(`"revision":%d`, round+1))
			}
		}
		require.NotEqual(t, -1, won)
		again := d.put("erp", d.path("erp", "counter"), recordBody(round+1, fmt.Sprintf(`{"writer":%d}`, won)))
		require.Equal(t, http.StatusOK, again.Code, "what is stored is the winner's")
	}
}

// The rule against a model of one register for each record.
func TestRevisionRule(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	type content struct {
		Revision int64 `json:"revision"`
		Payload  struct {
			N int `json:"n"`
		} `json:"payload"`
	}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		model := map[string]content{}
		for range rapid.IntRange(1, 25).Draw(rt, "puts") {
			id := fmt.Sprintf("%d-%s", runs, rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "id"))
			var want content
			want.Revision = rapid.Int64Range(1, 6).Draw(rt, "revision")
			want.Payload.N = rapid.IntRange(0, 2).Draw(rt, "content")
			stored, exists := model[id]
			status := http.StatusConflict
			switch {
			case !exists:
				status, model[id] = http.StatusCreated, want
			case want.Revision > stored.Revision:
				status, model[id] = http.StatusOK, want
			case want == stored:
				status = http.StatusOK
			}
			rec := d.put("erp", d.path("erp", id), recordBody(want.Revision, fmt.Sprintf(`{"n":%d}`, want.Payload.N)))
			require.Equal(rt, status, rec.Code, rec.Body)
			var answer content
			require.NoError(rt, json.Unmarshal(rec.Body.Bytes(), &answer))
			require.Equal(rt, model[id].Revision, answer.Revision, "also a refusal tells the stored revision")
			if status != http.StatusConflict {
				require.Equal(rt, model[id], answer)
			}
		}
	})
}

func TestPutWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	admin := pgtest.Database(t, migrations.Write, "write")
	allow := databaseDoor(t, admin, d.pool)
	allow(false)
	rec := d.put("erp", d.path("erp", "1"), recordBody(1, `{}`))
	assert.Equal(t, http.StatusServiceUnavailable, rec.Code, rec.Body)
	assert.NotEmpty(t, rec.Header().Get("Retry-After"))
	assert.Contains(t, rec.Body.String(), "the auxiliary database is away")
	allow(true)
	require.Eventually(t, func() bool {
		return d.put("erp", d.path("erp", "1"), recordBody(1, `{}`)).Code == http.StatusCreated
	}, testWithin, 10*time.Millisecond)
}
