package query

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/searchtext"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

const patience = 30 * time.Second

// tokens are the callers of the tests, by their token.
type tokens map[string]auth.Identity

func (t tokens) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	who, ok := t[bearer]
	if !ok {
		return who, fault.New(fault.Unauthorized, "no such token")
	}
	return who, nil
}

func (tokens) Check(auth.Identity) error { return nil }

func callers() tokens {
	read, tasks := auth.ScopeOrdersRead, auth.ScopeTasksRead
	return tokens{
		"demo":     {ClientID: "u1", Kind: auth.KindUser, Tenant: "demo", Scopes: []string{read}},
		"other":    {ClientID: "u2", Kind: auth.KindUser, Tenant: "other", Scopes: []string{read}},
		"acme":     {ClientID: "p1", Kind: auth.KindProvider, Provider: "acme", Scopes: []string{read, tasks}},
		"beta":     {ClientID: "p2", Kind: auth.KindProvider, Provider: "beta", Scopes: []string{read, tasks}},
		"crm":      {ClientID: "a1", Kind: auth.KindAuxiliary, System: "crm", Scopes: []string{read}},
		"crm-demo": {ClientID: "a2", Kind: auth.KindAuxiliary, System: "crm", Tenant: "demo", Scopes: []string{read}},
		"operator": {ClientID: "o1", Kind: auth.KindOperator, Scopes: []string{read}},
		"nobody":   {ClientID: "x", Kind: auth.KindUser, Scopes: []string{read}},
	}
}

// world is a read database, filled by hand, and the routes over it.
type world struct {
	t         *testing.T
	read      *pgxpool.Pool
	auxiliary *pgxpool.Pool
	// As the routes have them: by the role of queries, bound by policies.
	scoped, scopedAuxiliary *pgxpool.Pool

	tips     map[string]*stream.Tip
	end      atomic.Int64 // of the stream; negative: it cannot be told
	server   *httptest.Server
	position int64
	base     time.Time
}

func setup(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, read: pgtest.Database(t, migrations.Read, "read"), auxiliary: pgtest.Database(t, migrations.Auxiliary, "auxiliary"),
		tips: map[string]*stream.Tip{}, base: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
	}
	w.scoped, w.scopedAuxiliary = pgtest.As(t, "query", w.read), pgtest.As(t, "query", w.auxiliary)
	for _, view := range []string{viewOrders, viewSearch, viewTasks, viewTimeline, viewFacets, viewCatalog} {
		w.tips[view] = new(stream.Tip)
		w.exec(w.read, `INSERT INTO checkpoints (view, position, digest) VALUES ($1, 0, decode(repeat('00', 32), 'hex')) ON CONFLICT DO NOTHING`, view)
	}
	w.server = w.serve(w.config())
	return w
}

// as is the context of a request of a tenant's.
func (w *world) as(tenant string) context.Context {
	return postgres.WithScope(w.t.Context(), postgres.OfTenant(tenant, ""))
}

func (w *world) config() Config {
	return Config{
		Read: w.scoped, Auxiliary: w.scopedAuxiliary, Cursor: httpapi.NewCursor([]byte("0123456789abcdef0123456789abcdef")),
		Positions: Tips(func(view string) *stream.Tip { return w.tips[view] }),
		End: func(context.Context) (int64, error) {
			if end := w.end.Load(); end >= 0 {
				return end, nil
			}
			return 0, fmt.Errorf("the broker is away")
		},
	}
}

func (w *world) serve(cfg Config) *httptest.Server {
	w.t.Helper()
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(w.t, err)
	httpapi.Mount(e, callers(), Routes(cfg))
	server := httptest.NewServer(e)
	w.t.Cleanup(server.Close)
	return server
}

func (w *world) exec(pool *pgxpool.Pool, sql string, args ...any) {
	w.t.Helper()
	_, err := pool.Exec(w.t.Context(), sql, args...)
	require.NoError(w.t, err)
}

// reach moves all views, as a projection does after a commit.
func (w *world) reach(position int64) {
	w.t.Helper()
	w.position = max(w.position, position)
	w.exec(w.read, `UPDATE checkpoints SET position = $1`, position)
	w.end.Store(max(position, w.end.Load()))
	for _, tip := range w.tips {
		tip.Set(position)
	}
}

// given is an order to be stored.
type given struct {
	id, tenant, channel, reference, business, region, status, currency string
	total                                                              int64
	placed, updated                                                    time.Time
	version                                                            int64
	names, skus, customer                                              []string
	tasks                                                              []givenTask
}

type givenTask struct{ id, provider, status string }

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return id.String()
}

// store puts an order into all views at the next position.
func (w *world) store(g given) given {
	w.t.Helper()
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&g.id, newID(w.t))
	fill(&g.tenant, "demo")
	fill(&g.channel, "web")
	fill(&g.business, "hotel")
	fill(&g.region, "default")
	fill(&g.status, "routed")
	fill(&g.currency, "EUR")
	g.version = max(g.version, 1)
	at := w.position + 1
	fill(&g.reference, fmt.Sprintf("R-%05d", at))
	if g.placed.IsZero() {
		g.placed = w.base.Add(time.Duration(at) * time.Second)
	}
	if g.updated.IsZero() {
		g.updated = g.placed
	}
	w.exec(w.read, `INSERT INTO order_view VALUES ($1, $2, $3, $4, $5, $6, $7, 'unfulfilled', $8, $9, $10, $11, $12, $13, $14)`,
		g.id, g.tenant, g.channel, g.reference, g.business, g.region, g.status, g.currency, g.total, g.placed, g.updated, g.version, at,
		g.document())
	search := searchtext.Fold(strings.Join(append([]string{g.reference}, g.names...), " "))
	w.exec(w.read, `INSERT INTO order_search VALUES ($1, $2, $3, $4, $5)`, g.id, g.tenant, at, search, searchtext.Grams(g.tenant, search))
	for _, facet := range g.facets() {
		w.exec(w.read, `INSERT INTO order_facets VALUES ($1, $2, $3)`, facet, g.placed, g.id)
	}
	w.exec(w.read, `INSERT INTO timeline VALUES ($1, $2, NULL, $3, $4)`, at, g.tenant, g.id, g.event("order.placed", nil))
	for i := range g.tasks {
		at++
		w.exec(w.read, `INSERT INTO task_inbox VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1, $8, $9)`, g.tasks[i].id, g.tasks[i].provider,
			g.tenant, g.id, g.business, g.tasks[i].status, g.placed, at, g.task(i))
		w.exec(w.read, `INSERT INTO timeline VALUES ($1, $2, $3, $4, $5)`, at, g.tenant, g.tasks[i].provider, g.id, g.event("task.offered", &g.tasks[i]))
	}
	w.reach(at)
	return g
}

func (g given) facets() []int64 {
	var facets []int64
	add := func(kind string, values ...string) {
		for _, value := range values {
			facets = append(facets, searchtext.Facet(g.tenant, kind, value))
		}
	}
	add(searchtext.KindChannel, g.channel)
	add(searchtext.KindBusinessType, g.business)
	add(searchtext.KindRegion, g.region)
	add(searchtext.KindSKU, g.skus...)
	for _, task := range g.tasks {
		add(searchtext.KindProvider, task.provider)
	}
	for _, value := range g.customer {
		add(searchtext.KindCustomer, searchtext.Customer(value))
	}
	slices.Sort(facets)
	return slices.Compact(facets)
}

func (g given) routing() string {
	return `{"policy":"all","candidates":[{"provider":"acme","load":0,"chosen":true},{"provider":"beta","load":0.5,"chosen":true}],` +
		`"why":"acme and beta both match"}`
}

func (g given) task(i int) string {
	return fmt.Sprintf(`{"id":%q,"order_id":%q,"provider":%q,"status":%q,"version":1,"routing":%s}`,
		g.tasks[i].id, g.id, g.tasks[i].provider, g.tasks[i].status, g.routing())
}

func (g given) document() string {
	lines, tasks, sync, results := []string{}, []string{}, []string{}, []string{}
	for i, t := range g.tasks {
		tasks = append(tasks, g.task(i))
		sync = append(sync, fmt.Sprintf(`{"party":%q,"kind":"provider","status":"pending","position":1}`, t.provider))
		results = append(results, fmt.Sprintf(`{"result_id":"r%d","provider":%q}`, i, t.provider))
	}
	for _, sku := range g.skus {
		lines = append(lines, fmt.Sprintf(`{"line_id":"1","sku":%q,"vendor_id":"v-line","quantities":{"ordered":1,"open":1}}`, sku))
	}
	return fmt.Sprintf(`{"id":%q,"tenant":%q,"external_ref":%q,"version":%d,"status":%q,"total":%d,"lines":[`+strings.Join(lines, ",")+`],"big":9007199254740993,`+
		`"sync_status":[%s],"tasks":[%s],"results":[%s]}`, g.id, g.tenant, g.reference, g.version, g.status, g.total,
		strings.Join(sync, ","), strings.Join(tasks, ","), strings.Join(results, ","))
}

func (g given) event(kind string, task *givenTask) string {
	provider, data := "", `{"total":1}`
	if task != nil {
		provider, data = fmt.Sprintf(`"provider":%q,"task_id":%q,`, task.provider, task.id), `{"attempt":1,"routing":`+g.routing()+`}`
	}
	return fmt.Sprintf(`{"cell":1,"type":%q,"version":1,"time":%q,"tenant":%q,"business_type":%q,%s"order_id":%q,"order_version":1,"data":%s}`,
		kind, g.placed.Format(time.RFC3339Nano), g.tenant, g.business, provider, g.id, data)
}

// answered is an answer.
type answered struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte

	trailer http.Header
}

// get asks as one of the callers; headers are name, value pairs.
func (w *world) get(who, path string, headers ...string) answered {
	w.t.Helper()
	return w.getFrom(w.server, who, path, headers...)
}

func (w *world) getFrom(server *httptest.Server, who, path string, headers ...string) answered {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, server.URL+path, http.NoBody)
	require.NoError(w.t, err)
	if who != "" {
		req.Header.Set(echo.HeaderAuthorization, "Bearer "+who)
	}
	for pair := range slices.Chunk(headers, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	res, err := server.Client().Do(req)
	require.NoError(w.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return answered{t: w.t, status: res.StatusCode, header: res.Header, body: body, trailer: res.Trailer}
}

func (a answered) is(status int) answered {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	return a
}

func (a answered) problem(status int, code fault.Code) answered {
	a.t.Helper()
	a.is(status)
	require.Equal(a.t, "/problems/"+string(code), a.json()["type"])
	return a
}

func (a answered) at(position int64) answered {
	a.t.Helper()
	require.Equal(a.t, fmt.Sprint(position), a.header.Get(httpapi.HeaderPosition))
	return a
}

func (a answered) json() map[string]any {
	a.t.Helper()
	var out map[string]any
	require.NoError(a.t, json.Unmarshal(a.body, &out), "%s", a.body)
	return out
}

// items gives a member of each item of a list, as text, and the cursor.
func (a answered) items(member string) ([]string, string) {
	a.t.Helper()
	a.is(http.StatusOK)
	body := a.json()
	out := []string{}
	for _, item := range body["items"].([]any) {
		out = append(out, fmt.Sprint(item.(map[string]any)[member]))
	}
	next, _ := body["next"].(string)
	return out, next
}
