package command

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

// An order waits on a node that gets no commands and whose housekeeper alone is there; the provider is registered on another one.
func TestNodeWithoutCommandsOffersWhatAnotherNodesRegistrationMatches(t *testing.T) {
	t.Parallel()
	b := setup(t) // neither a watcher nor a housekeeper
	idle := b.nodeAt(time.Now)
	var took []time.Duration
	for _, kind := range []string{"hotel", "wms", "florist"} {
		body := strings.ReplaceAll(order(kind), "retail.erp", kind)
		answer, err := idle.Submit(t.Context(), submission(t, "demo", body), nil)
		require.NoError(t, err)
		require.Equal(t, events.OrderUnrouted, decoded(t, answer.Body).Status)
		b.register("does-"+kind, kind)
		began := time.Now()
		b.eventually(kind, func(o *events.Order) bool { return o.Status == events.OrderRouted })
		took = append(took, time.Since(began))
	}
	requireSoon(t, took)
	b.verified()
}

// A route that changes on another node counts for the next order of a node, and what waits is looked at again.
func TestRouteOfAnotherNodeCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := b.nodeAt(time.Now)
	b.register("acme", "retail.erp")
	b.register("zeta", "retail.erp")
	require.Len(t, next(t, other, "one").Routing.Candidates, 2)
	route := &events.Route{BusinessType: "retail.erp", Policy: events.PolicyAll, Regions: []string{}}
	answer, err := b.committer.Submit(t.Context(), &Register{
		Kind: kindRoute, ID: route.BusinessType, Type: events.RouteChanged, BusinessType: route.BusinessType, Document: route,
	}, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return other.others.registryAt.Load() == answer.Position }, 10*time.Second, 5*time.Millisecond)
	placed, err := other.Submit(t.Context(), submission(t, "demo", order("both")), nil)
	require.NoError(t, err)
	require.Len(t, decoded(t, placed.Body).Tasks, 2)
	b.verified()
}

// Products and vendors are no reason to go through the orders that wait.
func TestOnlyProvidersAndRoutesWakeTheHousekeeper(t *testing.T) {
	t.Parallel()
	b := setup(t)
	product := &events.Product{SKU: "A-1", Tenant: "demo"}
	_, err := b.committer.Submit(t.Context(), &Register{
		Kind: kindProduct, ID: catalogID("demo", "A-1"), Type: events.ProductChanged, Tenant: "demo", Document: product,
	}, nil)
	require.NoError(t, err)
	b.place("after") // the round of the product is over
	require.Empty(t, b.committer.changed)
	b.register("acme", "retail.erp")
	b.place("after that")
	require.Len(t, b.committer.changed, 1)
}

// What could not be offered because the database was away is offered later, though nothing is registered any more.
func TestOffersThatFailStayDue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.place("waits")
	b.register("acme", "retail.erp")
	h := NewHousekeeper(b.committer)
	_, err := b.pool.Exec(t.Context(), `ALTER TABLE orders RENAME TO orders_away`)
	require.NoError(t, err)
	h.offerDue(t.Context())
	require.True(t, h.due)
	_, err = b.pool.Exec(t.Context(), `ALTER TABLE orders_away RENAME TO orders`)
	require.NoError(t, err)
	h.offerDue(t.Context())
	require.False(t, h.due)
	_, now := b.place("waits")
	require.Equal(t, events.OrderRouted, now.Status)
}

// eventually waits until an order is as it should be, looking at what is stored.
func (b *bench) eventually(ref string, as func(o *events.Order) bool) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		var state []byte
		err := b.pool.QueryRow(b.t.Context(), `SELECT state FROM orders WHERE external_ref = $1`, ref).Scan(&state)
		if err != nil {
			return false
		}
		o, err := events.DecodeOrder(state)
		return err == nil && as(o)
	}, 10*time.Second, 5*time.Millisecond)
}
