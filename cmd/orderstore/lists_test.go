package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/query"
)

// TestOrdersAreFoundByWhatTheyHaveNow submits, amends and reads through the API: an order is found by what it has, and no longer by what it
// had, its customer included; the catalog's products and vendors come with it.
func TestOrdersAreFoundByWhatTheyHaveNow(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	operator, user := s.operator(), s.user()
	_, err := operator.PutVendor(t.Context(), client.Vendor{ID: "v-1", Name: "文具"})
	require.NoError(t, err)
	_, err = operator.PutProduct(t.Context(), client.Product{SKU: "A-1", Tenant: "demo", Name: "Füller", VendorID: "v-1", ReorderLevel: 3})
	require.NoError(t, err)
	order, err := user.SubmitOrder(t.Context(), sampleOrder("one"))
	require.NoError(t, err)
	found := func(filter client.OrderFilter, position int64) bool {
		filter.Position = position
		var ids []string
		for got, err := range user.ListOrders(t.Context(), filter) {
			require.NoError(t, err)
			ids = append(ids, got.ID)
		}
		require.LessOrEqual(t, len(ids), 1)
		return len(ids) == 1 && ids[0] == order.ID
	}
	low, high := order.Total, order.Total+1
	for _, filter := range []client.OrderFilter{
		{SKU: "B-2"},
		{Provider: s.as.Provider.Provider},
		{Customer: "MING@example.com"},
		{Customer: "阿明 😀"},
		{Region: "default"},
		{Text: "pen", SKU: "A-1"},
		{Channels: []string{"web", "app"}, Currency: "EUR", TotalMin: &low, TotalMax: &low},
	} {
		require.True(t, found(filter, order.Meta.Position), "%+v", filter)
	}
	require.False(t, found(client.OrderFilter{Currency: "EUR", TotalMin: &high}, order.Meta.Position))
	about, err := user.EstimateOrders(t.Context(), client.OrderFilter{SKU: "A-1"})
	require.NoError(t, err)
	require.EqualValues(t, 1, about)

	phone := client.Object{"email": nil, "phone": "+49 30 1234"}
	lines := []client.LineSubmission{{LineID: "1", SKU: "A-1", Name: "Pen", Quantity: 3, UnitPrice: 250}}
	amended, err := user.AmendOrder(t.Context(), order.ID, client.AnyVersion, client.Amendment{Customer: &phone, Lines: lines})
	require.NoError(t, err)
	require.False(t, found(client.OrderFilter{SKU: "B-2"}, amended.Meta.Position))
	require.False(t, found(client.OrderFilter{Customer: "ming@example.com"}, amended.Meta.Position))
	require.True(t, found(client.OrderFilter{Customer: "0049 (30) 12-34", SKU: "A-1"}, amended.Meta.Position))

	with, err := user.GetOrder(t.Context(), order.ID, client.GetOptions{Include: []string{client.IncludeCatalog}, Fields: []string{"id", "catalog"}, Position: amended.Meta.Position})
	require.NoError(t, err)
	require.Equal(t, "Füller", with.Catalog.Products["A-1"].Name)
	require.Equal(t, "文具", with.Catalog.Vendors["v-1"].Name)
	require.Empty(t, with.Lines)
	for product, err := range user.ListProducts(t.Context(), client.CatalogFilter{VendorID: "v-1"}) {
		require.NoError(t, err)
		require.EqualValues(t, 6, product.TargetLevel)
	}
	vendor, err := user.GetVendor(t.Context(), "v-1", client.CatalogFilter{})
	require.NoError(t, err)
	require.Equal(t, "文具", vendor.Name)
	out, status := runCommand(t, "orderctl", "list", "--data", s.data, "--sku", "A-1", "--customer", "+49301234", "--total-min", "1", "--currency", "EUR")
	require.Equal(t, 0, status, out)
	require.Contains(t, out, order.ID)
	out, status = runCommand(t, "orderctl", "products", "list", "--data", s.data, "--vendor", "v-1")
	require.Equal(t, 0, status, out)
	require.Contains(t, out, "Füller")
	s.level()
	s.verified()
}

// TestFieldsAreThoseOfTheOrder compares the names that ?fields= takes with the members that the order document has.
func TestFieldsAreThoseOfTheOrder(t *testing.T) {
	t.Parallel()
	sealedMembers := []string{"customer.key", "customer.sealed", "customer.found", "customer.joined"} // as stored, never in an answer
	var walk func(of reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct || of.PkgPath() == "time" {
			return
		}
		for _, field := range reflect.VisibleFields(of) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			require.Equal(t, !slices.Contains(sealedMembers, prefix+name), query.KnownField(prefix+name), prefix+name)
			walk(field.Type, prefix+name+".")
		}
	}
	walk(reflect.TypeFor[events.Order](), "")
	require.False(t, query.KnownField("customer.password"))
}
