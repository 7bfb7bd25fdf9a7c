package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// stockByHand keeps a product's stock from the command line: adjusted, followed, bought.
func stockByHand(t *testing.T, s *store) {
	t.Helper()
	run := func(args ...string) string { return ok(t, append([]string{"--data", s.data}, args...)...) }
	run("vendors", "put", "v1", "--name", "Vendor & Sons")
	run("products", "put", "pen/1", "--tenant", "demo", "--vendor", "v1", "--name", "Pen", "--reorder-level", "50")
	adjust := []string{"stock", "adjust", "pen/1", "--id", "count-1", "--counted", "7", "--reason", "counted"}
	var first, again client.StockAdjusted
	require.NoError(t, json.Unmarshal([]byte(run(adjust...)), &first))
	require.NoError(t, json.Unmarshal([]byte(run(adjust...)), &again))
	require.Equal(t, first, again, "applied once")
	order := `{"channel":"web","external_ref":"pens","business_type":"nobody","currency":"EUR","lines":[{"sku":"pen/1","quantity":3,"unit_price":9}]}`
	require.NoError(t, orderctl(t.Context(), strings.NewReader(order), "--data", s.data, "submit", "-").err)

	var level client.StockItem
	for level.Reserved != 3 { // the watch ends behind the level that it begins with, or with the change
		require.NoError(t, json.Unmarshal([]byte(run("stock", "watch", "pen/1", "--count", "1", "--json")), &level))
	}
	require.Equal(t, [4]int64{7, 3, 4, 0}, [4]int64{level.OnHand, level.Reserved, level.Available, level.OnOrder})
	require.Contains(t, run("stock", "list", "pen/1"), "Pen")
	require.Contains(t, run("stock", "list", "--below-reorder", "--json"), `"sku":"pen/1"`)
	require.Contains(t, run("replenishment", "--format", "csv"), "v1,Vendor & Sons,pen/1,Pen,4,0,50,100,96\r\n")
	require.Contains(t, run("replenishment", "--format", "html"), "Vendor &amp; Sons")
	var form client.Replenishment
	require.NoError(t, json.Unmarshal([]byte(run("replenishment")), &form))
	require.EqualValues(t, 96, form.Vendors[0].Lines[0].Quantity)
	run("stock", "adjust", "pen/1", "--on-order", "96")
	for len(form.Vendors) > 0 { // what is on order is not bought again
		require.NoError(t, json.Unmarshal([]byte(run("replenishment")), &form))
	}
}
