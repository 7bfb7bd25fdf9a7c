package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/auth"
)

// identity is somebody who tries an operation.
type identity struct {
	name, token, system string
	kind                auth.Kind
	bound               bool // to one tenant, or has no need to name one
	stranger            bool // to the tenant demo
}

// matrix is what the tenant demo has, and those who may and may not see it.
type matrix struct {
	*doors
	http       *http.Client
	identities []identity
	own        map[auth.Kind]identity // the tenant's user, its provider, its auxiliary system
	ids        map[string]string      // of the tenant demo, by what the document calls them
	canaries   []string               // only those who belong to the tenant demo read these
	hers       []string               // what strangers have of their own
	narrowed   map[string]string      // tokens without one scope
	written    map[string]string      // admin writes that were let in, by the request's id
}

// matrix makes one of everything for the tenant demo, and then something for the others.
func (d *doors) matrix() *matrix {
	d.t.Helper()
	m := &matrix{doors: d, http: held(d.t), ids: map[string]string{}, own: map[auth.Kind]identity{}, narrowed: map[string]string{}, written: map[string]string{}}
	for name, token := range d.tokens {
		who := identity{
			name: name, token: token, kind: auth.Kind(name[strings.LastIndex(name, " ")+1:]), stranger: strings.HasPrefix(name, "other "),
			system: d.as.Auxiliary.System,
		}
		who.bound = who.kind == auth.KindUser || who.stranger
		if name == "other auxiliary" {
			who.system = "erp"
		}
		if !who.stranger {
			m.own[who.kind] = who
		}
		m.identities = append(m.identities, who)
	}
	slices.SortFunc(m.identities, func(a, b identity) int { return strings.Compare(a.name, b.name) })
	m.fillCatalog()
	m.fillOrders()
	m.fillSubscriptions()
	m.fillHers()
	d.level()
	m.findDerived()
	return m
}

func (m *matrix) fillCatalog() {
	m.t.Helper()
	ctx, operator := m.t.Context(), m.operator()
	for _, n := range []string{"1", "2"} {
		_, err := operator.PutVendor(ctx, client.Vendor{ID: "door-vendor-" + n, Tenant: "demo", Name: "Canary Vendor"})
		require.NoError(m.t, err)
		_, err = operator.PutProduct(ctx, client.Product{SKU: "DOOR-" + n, Tenant: "demo", Name: "Canary Product", VendorID: "door-vendor-1", ReorderLevel: 3})
		require.NoError(m.t, err)
		_, err = m.user().AdjustStock(ctx, client.StockAdjustment{AdjustmentID: "door-" + n, Lines: []client.AdjustedStock{{SKU: "DOOR-" + n, Delta: 50}}})
		require.NoError(m.t, err)
	}
	m.ids["product"], m.ids["vendor"] = "DOOR-1", "door-vendor-1"
	m.canaries = append(m.canaries, "Canary Vendor", "Canary Product")
}

// fillOrders places an order that a provider has a task of, and one that was completed and came back.
func (m *matrix) fillOrders() {
	m.t.Helper()
	ctx := m.t.Context()
	var placed []client.Order
	for _, ref := range []string{"matrix-open", "matrix-done"} {
		s := sampleOrder(ref)
		s.Customer = &client.Customer{Name: canaryName, Email: canaryMail}
		s.Lines[0].SKU = "DOOR-1"
		o, err := m.user().SubmitOrder(ctx, s)
		require.NoError(m.t, err)
		require.Len(m.t, o.Tasks, 1)
		m.canaries = append(m.canaries, o.ID, o.Tasks[0].ID)
		placed = append(placed, o)
	}
	open, done := placed[0], placed[1]
	_, err := m.provider().PostResult(ctx, done.Tasks[0].ID, client.ResultSubmission{ResultID: "matrix", Outcome: "completed"})
	require.NoError(m.t, err)
	_, err = m.user().ReturnOrder(ctx, done.ID, client.OrderReturn{ReturnID: "matrix", Lines: []client.ReturnedLine{{LineID: "1", Quantity: 3}, {LineID: "2", Quantity: 1}}})
	require.NoError(m.t, err)
	m.ids["order"], m.ids["invoice"], m.ids["task"] = open.ID, done.ID, open.Tasks[0].ID
	m.canaries = append(m.canaries, canaryName, canaryMail)
}

func (m *matrix) fillSubscriptions() {
	m.t.Helper()
	m.ids["subscription"] = m.made("/v1/subscriptions", `{"transport":"feed","name":"Canary Feed"}`)
	m.ids["webhook"] = m.made("/v1/subscriptions", `{"transport":"webhook","name":"Canary Hook","url":"http://127.0.0.1:9/"}`)
	m.canaries = append(m.canaries, m.ids["subscription"], m.ids["webhook"], "Canary Feed", "Canary Hook")
}

// fillHers gives each of the strangers something of its own, after all that is the tenant demo's.
func (m *matrix) fillHers() {
	m.t.Helper()
	ctx := m.t.Context()
	_, err := m.operator().PutProvider(ctx, client.Provider{ID: "other-provider", BusinessTypes: []string{"hotel"}})
	require.NoError(m.t, err)
	hers := m.client(m.parties["other user"])
	s := sampleOrder("behind-doors")
	s.BusinessType, s.Customer = "hotel", nil
	require.Eventually(m.t, func() bool {
		o, err := hers.SubmitOrder(ctx, s)
		require.NoError(m.t, err)
		m.hers = []string{o.ID, "HERS-1"}
		return len(o.Tasks) == 1
	}, 10*time.Second, 20*time.Millisecond, "the other provider does hotels")
	_, err = hers.AdjustStock(ctx, client.StockAdjustment{AdjustmentID: "door-1", Lines: []client.AdjustedStock{{SKU: "HERS-1", Delta: 1}}})
	require.NoError(m.t, err)
}

// findDerived waits for what auxiliary systems make of it.
func (m *matrix) findDerived() {
	m.t.Helper()
	user := m.user()
	require.EventuallyWithT(m.t, func(c *assert.CollectT) {
		_, err := user.GetInvoice(m.t.Context(), m.ids["invoice"], 0)
		require.NoError(c, err)
		_, err = user.GetCreditNote(m.t.Context(), m.ids["invoice"], 0)
		require.NoError(c, err)
		found, err := user.FindCustomers(m.t.Context(), client.CustomerSearch{Email: canaryMail})
		require.NoError(c, err)
		require.Len(c, found, 1)
		m.ids["customer"] = found[0].ID
	}, 20*time.Second, 50*time.Millisecond)
	m.canaries = append(m.canaries, m.ids["customer"])
}

// allowed are those whose kind an operation is for.
func (m *matrix) allowed(o operation) []identity {
	return slices.DeleteFunc(slices.Clone(m.identities), func(who identity) bool { return !slices.Contains(o.Kinds, who.kind) })
}

// owns tells whether what the path names is there for somebody. A subscription is its party's alone; all else of the tenant demo is also
// for the provider that has the task, and for systems and operators who serve every tenant.
func (m *matrix) owns(o operation, who identity) bool {
	if o.Resource == "subscription" || o.Resource == "webhook" {
		return who.name == "user"
	}
	return !who.stranger
}

// without is somebody with every scope but one.
func (m *matrix) without(who identity, scope string) identity {
	m.t.Helper()
	rest := slices.DeleteFunc(auth.DefaultScopes(who.kind), func(s string) bool { return s == scope })
	wanted := strings.Join(rest, "+")
	key := who.name + " with " + wanted
	if m.narrowed[key] == "" {
		m.narrowed[key] = m.narrow(who.name, wanted)
	}
	who.name, who.token = key, m.narrowed[key]
	return who
}

// pathOf fills in a path's parameters: with what belongs to the tenant demo, or with what there is not.
func (m *matrix) pathOf(o operation, who identity, exists bool) string {
	missing := map[string]string{"product": "DOOR-MISSING", "vendor": "door-missing"}
	parts := strings.Split(o.path, "/")
	for i, part := range parts {
		switch {
		case !strings.HasPrefix(part, "{"):
		case o.operators():
			parts[i] = map[string]string{"{event}": "order.placed", "{language}": "en"}[part]
			if parts[i] == "" {
				parts[i] = "x1"
			}
		case part == "{system}":
			parts[i] = who.system
		case part == "{record_id}":
			parts[i] = "x1"
		case exists:
			parts[i] = m.ids[o.Resource]
		case missing[o.Resource] != "":
			parts[i] = missing[o.Resource]
		default:
			parts[i] = nobodysID
		}
	}
	path := strings.Join(parts, "/")
	var query []string
	if o.takes("tenant") && !who.bound {
		query = append(query, "tenant=demo")
	}
	if o.takes("after") {
		query = append(query, "after=0")
	}
	if len(query) > 0 {
		path += "?" + strings.Join(query, "&")
	}
	return path
}

// bodyFor is a body that an operation takes; where a stranger could mean something of the tenant demo by it, it does.
func (m *matrix) bodyFor(o operation, media string) string {
	switch o.ID {
	case "placeOrder", "placeOrders":
		s := sampleOrder("matrix-open")
		s.Customer = nil
		body, err := json.Marshal(s)
		require.NoError(m.t, err)
		return string(body)
	case "issueToken":
		return "grant_type=client_credentials"
	case "amendOrder":
		return `{"shipping":1}`
	case "rejectTask", "holdTask":
		return `{"reason_code":"x"}`
	case "postResult":
		return `{"result_id":"matrix","outcome":"completed"}`
	case "delegateTask":
		return `{"business_type":"hotel"}`
	case "seekSubscription", "ackSubscription":
		return `{"position":1}`
	case "returnOrder":
		return `{"return_id":"matrix","lines":[{"line_id":"1","quantity":1}]}`
	case "patchSubscription":
		return `{"name":"renamed"}`
	case "putRecord":
		return `{"kind":"note","revision":1,"schema_version":1,"payload":{}}`
	case "adjustStock":
		return `{"adjustment_id":"door-1","lines":[{"sku":"DOOR-1","delta":50}]}`
	case "raiseReplenishment":
		return `{"tenant":"demo","run_id":"matrix","position":1}`
	case "searchCustomers":
		return `{"email":"` + canaryMail + `"}`
	}
	require.Contains(m.t, media, "json", o.name())
	return `{}`
}
