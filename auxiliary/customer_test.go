package auxiliary

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// people groups orders by who is the same person: every pair of names that ever stood on one order belongs together. It is
// computed from all events at once, without any order among them.
type people struct{ parent map[string]string }

func (p *people) find(name string) string {
	for p.parent[name] != "" && p.parent[name] != name {
		name = p.parent[name]
	}
	return name
}

func (p *people) join(names []string) {
	for _, n := range names[min(1, len(names)):] {
		if a, b := p.find(names[0]), p.find(n); a != b {
			p.parent[a] = b
		}
	}
}

// names are those of tradeCustomer in one form.
func names(tenant string, c *events.Customer) []string {
	var all []string
	if c != nil && c.Email != "" {
		all = append(all, tenant+" "+strings.ToLower(strings.TrimSpace(c.Email)))
	}
	if c != nil && c.Phone != "" {
		all = append(all, tenant+" "+strings.ReplaceAll(c.Phone, " ", ""))
	}
	return all
}

type wantedOrder struct {
	tenant, name, currency, channel, state string
	total, points, earned                  int64
	taken                                  bool
	skus                                   map[string]int64
}

// wantedOrders computes what the profile and the points are made of.
func wantedOrders(t testing.TB, all []events.Event) (map[string]*wantedOrder, *people) {
	t.Helper()
	orders, who := map[string]*wantedOrder{}, &people{map[string]string{}}
	invoices := wantedInvoices(t, all)
	name := func(e *events.Event, c *events.Customer) string {
		known := names(e.Tenant, c)
		who.join(known)
		if len(known) == 0 {
			return ""
		}
		return known[0]
	}
	for i := range all {
		e := &all[i]
		o := orders[e.OrderID]
		switch data := e.Data.(type) {
		case *events.Placed:
			o = &wantedOrder{tenant: e.Tenant, name: name(e, data.Customer), currency: data.Currency, channel: data.Channel, state: stateOpen, skus: map[string]int64{}}
			for _, l := range data.Lines {
				o.skus[l.SKU] += l.Quantity
			}
			orders[e.OrderID] = o
		case *events.Amended:
			o.name = name(e, data.Customer)
		case *events.Closed:
			o.state, o.total = stateCompleted, invoices[e.OrderID].total
			o.points = wholeUnits(o.total, o.currency)
			o.earned = o.points
		case *events.OrderReturn:
			for _, l := range data.Lines {
				o.total -= l.Total
				o.skus[l.SKU] -= l.Quantity
				if o.skus[l.SKU] == 0 {
					delete(o.skus, l.SKU)
				}
			}
			o.points = wholeUnits(o.total, o.currency)
		}
		if e.Status == events.OrderStatusCancelled {
			o.state, o.taken = stateCancelled, true
		}
		if e.FulfillmentStatus == events.Returned {
			o.state, o.taken = stateReturned, true
		}
	}
	return orders, who
}

func wholeUnits(total int64, currency string) int64 {
	for range map[string]int{"USD": 2, "KWD": 3}[currency] {
		total /= 10
	}
	return total
}

// Profiles and points over random histories are those of an independent computation, through stops and rebuilds, and customers
// are joined whichever of their names comes first.
func TestProfilesAndPointsAreAFoldOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := trade(5, 150)
	h.append(all...)
	pace := quick()
	pace.Batch = 9
	systems := []System{NewLoyalty(), NewProfiles()}
	r := h.runner(pace, systems...)
	stop := start(t, r)
	h.reached(r, ProfileName, h.position/2)
	stop()
	r = h.runner(quick(), systems...)
	start(t, r)
	for _, s := range systems {
		h.reached(r, s.Name(), h.position)
	}
	check := func() map[string]string {
		t.Helper()
		return h.checkProfiles(all)
	}
	ids := check()
	profiles, points := h.payloads(ProfileName), h.payloads(LoyaltyName)
	for _, s := range systems {
		require.NoError(t, Rebuild(t.Context(), h.aux, s))
	}
	h.eventually("they are at the end again", []any{h.position}, `SELECT bool_and(position = $1) FROM checkpoints`)
	assert.Equal(t, ids, check(), "customers keep their ids")
	assert.Equal(t, profiles, h.payloads(ProfileName))
	assert.Equal(t, points, h.payloads(LoyaltyName))
	for _, s := range systems {
		report, err := VerifyFold(t.Context(), h.aux, h.log, s)
		require.NoError(t, err)
		require.True(t, report.Clean(), report.Details)
	}
}

// checkProfiles reads every customer through the API and compares. It gives the ids by name.
func (h *house) checkProfiles(all []events.Event) map[string]string {
	h.t.Helper()
	orders, who := wantedOrders(h.t, all)
	wanted := map[string][]*wantedOrder{}
	ids := map[string]string{}
	for _, o := range orders {
		if o.name != "" {
			wanted[who.find(o.name)] = append(wanted[who.find(o.name)], o)
		}
	}
	api := h.api()
	for root, theirs := range wanted {
		if theirs[0].tenant == "third" {
			continue // nobody has a token for it
		}
		name := strings.SplitN(root, " ", 2)
		field := "phone"
		if strings.Contains(name[1], "@") {
			field = "email"
		}
		a := ask(h.t, api, http.MethodPost, name[0], "/v1/customers/search", fmt.Sprintf(`{%q:%q}`, field, name[1]), "Order-Position", fmt.Sprint(h.position))
		require.Equal(h.t, http.StatusOK, a.Code, a.Body)
		var found struct{ Items []Customer }
		require.NoError(h.t, json.Unmarshal(a.Body.Bytes(), &found))
		require.Len(h.t, found.Items, 1, root)
		compareCustomer(h.t, root, &found.Items[0], theirs)
		ids[root] = found.Items[0].ID
	}
	require.Greater(h.t, len(ids), 10)
	return ids
}

func compareCustomer(t testing.TB, root string, c *Customer, theirs []*wantedOrder) {
	t.Helper()
	states, totals, channels, skus := map[string]int64{"all": int64(len(theirs))}, map[string]int64{}, map[string]int64{}, map[string]int64{}
	var points, earned int64
	for _, o := range theirs {
		states[o.state]++
		earned += o.earned
		if o.taken {
			continue
		}
		points += o.points
		totals[o.currency] += o.total
		channels[o.channel]++
		for sku, n := range o.skus {
			skus[sku] += n
		}
	}
	require.Equal(t, states, c.Orders, root)
	require.Equal(t, points, c.Loyalty.Points, root)
	require.Equal(t, earned, c.Loyalty.Earned, root)
	for _, total := range c.Totals {
		require.Equal(t, totals[total.Currency], total.Total, "%s %s", root, total.Currency)
	}
	require.Len(t, c.Totals, len(totals))
	for _, channel := range c.Channels {
		require.Equal(t, channels[channel.Channel], channel.Orders)
	}
	require.Len(t, c.Channels, len(channels))
	require.Len(t, c.Favourites, min(len(skus), favourites))
	for i, f := range c.Favourites {
		require.Equal(t, skus[f.SKU], f.Quantity)
		require.True(t, i == 0 || f.Quantity <= c.Favourites[i-1].Quantity)
	}
}

func TestTwoCustomersBecomeOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	byPhone := placed(&events.Customer{Phone: "030 901820", Address: &events.Address{Country: "DE"}})
	byMail := placed(&events.Customer{Email: "Ming@Bücher.example"})
	stranger := placed(&events.Customer{Email: "else@example.com"})
	both := placed(&events.Customer{Email: "ming@xn--bcher-kva.example", Phone: "+4930901820"})
	elsewhere := placed(&events.Customer{Phone: "+4930901820"})
	elsewhere.Tenant = "other"
	h.append(byPhone, byMail, stranger)
	r := h.runner(quick(), NewLoyalty(), NewProfiles())
	start(t, r)
	h.reached(r, ProfileName, 3)
	api := h.api()
	find := func(token, body string) []Customer {
		t.Helper()
		a := ask(t, api, http.MethodPost, token, "/v1/customers/search", body, "Order-Position", fmt.Sprint(h.position))
		require.Equal(t, http.StatusOK, a.Code, a.Body)
		var found struct{ Items []Customer }
		require.NoError(t, json.Unmarshal(a.Body.Bytes(), &found))
		return found.Items
	}
	apart := find("demo", `{"email":"MING@bücher.example","phone":"+49 30 901820"}`)
	require.Len(t, apart, 2, "known apart")
	h.append(both, elsewhere)
	one := find("demo", `{"email":"ming@bücher.example","phone":"030 / 901820","country":"de"}`)
	require.Len(t, one, 1)
	assert.Equal(t, int64(3), one[0].Orders["all"])
	assert.Equal(t, byPhone.OrderID, one[0].FirstOrder.OrderID)
	assert.Equal(t, both.OrderID, one[0].LastOrder.OrderID)
	assert.Equal(t, Segment{Name: "regular", AsOf: "2026-03-01", Recency: 5, Frequency: 3, Value: 2}.Name, one[0].Segment.Name)
	require.Len(t, one[0].Merged, 1)
	var second string
	for _, c := range apart {
		if c.ID != one[0].ID {
			second = c.ID
		}
	}
	assert.Equal(t, []string{second}, one[0].Merged, "the later leads to the earlier")
	a := ask(t, api, http.MethodGet, "demo", "/v1/customers/"+second, "")
	require.Equal(t, http.StatusOK, a.Code, a.Body)
	assert.Contains(t, a.Body.String(), `"customer_id":"`+one[0].ID+`"`)

	foreign := ask(t, api, http.MethodGet, "other", "/v1/customers/"+second, "")
	missing := ask(t, api, http.MethodGet, "other", "/v1/customers/"+uuid.NewString(), "")
	assert.Equal(t, http.StatusNotFound, foreign.Code)
	assert.Equal(t, missing.Body.String(), foreign.Body.String())
	require.Len(t, find("other", `{"phone":"+4930901820"}`), 1, "another tenant's customer is another")
	assert.Empty(t, find("demo", `{"email":"nobody@example.com"}`))
	for _, bad := range []string{`{}`, `{"email":"no"}`, `{"phone":"12"}`, `{"phone":"030 901820"}`, `{"email":"a@b.c","country":"DEU"}`} {
		assert.Equal(t, http.StatusUnprocessableEntity, ask(t, api, http.MethodPost, "demo", "/v1/customers/search", bad).Code, bad)
	}
	assert.Zero(t, h.count(`SELECT count(*) FROM customer_keys WHERE octet_length(key) <> 32`), "keys are hashes")
	text := fmt.Sprint(h.payloads(ProfileName))
	assert.NotContains(t, strings.ToLower(text), "ming@")
}

func TestSegments(t *testing.T) {
	t.Parallel()
	customer := func(days, orders int, total int64) *Customer {
		return &Customer{
			Totals:    []CustomerTotal{{Currency: "JPY", Orders: int64(orders), Total: total}},
			LastOrder: &CustomerOrder{PlacedAt: noon().AddDate(0, 0, -days)},
		}
	}
	for want, c := range map[string]*Customer{
		"champion": customer(3, 12, 20_000), "loyal": customer(100, 6, 3_000), "at_risk": customer(200, 3, 3_000),
		"lost": customer(400, 1, 1_000), "new": customer(0, 1, 1_000), "regular": customer(60, 2, 2_000), "none": {},
	} {
		got := segmentOf(c, 1_000, noon().Add(11*time.Hour))
		assert.Equal(t, want, got.Name)
		assert.Equal(t, "2026-03-01", got.AsOf)
	}
	assert.Equal(t, []int{5, 4, 3, 2, 1}, slices.Collect(func(yield func(int) bool) {
		for _, days := range []float64{30, 31, 91, 181, 366} {
			yield(score(-days, -30, -90, -180, -365))
		}
	}))
}
