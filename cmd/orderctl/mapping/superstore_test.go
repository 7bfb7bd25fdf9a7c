package mapping_test

import (
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/mappings"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// The real file is no part of the project. Where it lies beside it, the mapping is held against what is known of it.
func TestSuperstore(t *testing.T) {
	t.Parallel()
	file, err := os.Open(filepath.FromSlash("../../../../shared/data/superstore.csv"))
	if err != nil {
		t.Log("superstore.csv is not here: ", err)
		return
	}
	defer func() { _ = file.Close() }()
	text, ok := mappings.Open("superstore")
	require.True(t, ok)
	m, err := mapping.Parse(text)
	require.NoError(t, err)
	enc, err := rows.NamedEncoding(m.Encoding)
	require.NoError(t, err)

	groups := map[string][]rows.Row{}
	var keys []string
	for row, err := range rows.Read(file, enc, m.Table()) {
		require.NoError(t, err)
		key, ok := m.Key(row)
		require.True(t, ok)
		if groups[key] == nil {
			keys = append(keys, key)
		}
		groups[key] = append(groups[key], row)
	}
	lines, cents := 0, new(big.Int)
	byRef := map[string]client.OrderSubmission{}
	for _, key := range keys {
		order, err := m.Build(groups[key])
		require.NoError(t, err)
		byRef[order.ExternalRef] = order
		for _, line := range order.Lines {
			total, err := mapping.LineTotal(line)
			require.NoError(t, err)
			cents.Add(cents, big.NewInt(total))
			lines++
		}
	}
	require.Len(t, byRef, 5009)
	require.Equal(t, 9994, lines)
	require.Equal(t, "229720065", cents.String())
	require.Equal(t, client.OrderSubmission{
		ExternalRef: "US-2015-108966", Channel: "consumer", BusinessType: "furniture", Region: "south", Currency: "USD",
		Customer: &client.Customer{Name: "Sean O'Donnell", Address: &client.Address{
			City: "Fort Lauderdale", Region: "Florida", PostalCode: "33311", Country: "United States",
		}},
		Attributes: client.Object{"order_date": "2015-10-11", "ship_date": "2015-10-18", "ship_mode": "Standard Class", "customer_id": "SO-20335"},
		Lines: []client.LineSubmission{
			// 957.5775 of 5 is 95,758 cents: 19,152 each, 2 too much in all.
			{SKU: "FUR-TA-10000577", Name: "Bretford CR4500 Series Slim Rectangular Table", Quantity: 5, UnitPrice: 19152, Discount: 2},
			{SKU: "OFF-ST-10000760", Name: "Eldon Fold 'N Roll Cart System", Quantity: 2, UnitPrice: 1119, Discount: 1},
		},
	}, byRef["US-2015-108966"])
}
