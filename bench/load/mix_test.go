package load_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
)

type made struct {
	Channel      string `json:"channel"`
	ExternalRef  string `json:"external_ref"`
	BusinessType string `json:"business_type"`
	Currency     string `json:"currency"`
	Lines        []struct {
		SKU string `json:"sku"`
	} `json:"lines"`
	Customer *struct {
		Address map[string]string `json:"address"`
	} `json:"customer"`
	Attributes map[string]any `json:"attributes"`
}

func order(t *testing.T, draw *load.Draw, n int64) made {
	t.Helper()
	var o made
	require.NoError(t, json.Unmarshal(draw.Append(nil, n), &o))
	return o
}

// TestMixProportions counts what 20,000 orders have, and holds it against what the mix says within two percent of all.
func TestMixProportions(t *testing.T) {
	t.Parallel()
	const orders = 20_000
	draw := load.NewMix(1, "run", "").Draw()
	counts := map[string]int{}
	lines := 0
	skus := map[string]int{}
	for n := range int64(orders) {
		o := order(t, draw, n)
		counts["channel "+o.Channel]++
		counts["currency "+o.Currency]++
		counts["type "+o.BusinessType]++
		lines += len(o.Lines)
		if len(o.Lines) == 1 {
			counts["one line"]++
		}
		if len(o.Lines) > 6 {
			counts["more than six lines"]++
		}
		require.LessOrEqual(t, len(o.Lines), 12)
		if o.Customer != nil {
			counts["customer"]++
			if o.Customer.Address != nil {
				counts["address"]++
			}
		}
		if o.Attributes != nil {
			counts["attributes"]++
		}
		for _, l := range o.Lines {
			skus[l.SKU]++
		}
	}
	for name, percent := range map[string]float64{
		"channel web": 45, "channel app": 25, "channel pos": 15, "channel amazon": 9, "channel ebay": 6,
		"currency EUR": 50, "currency USD": 20, "currency GBP": 15, "currency CHF": 8, "currency JPY": 7,
		"type bench.retail": 40, "type bench.grocery": 25, "type bench.parts": 15, "type bench.hotel": 8, "type bench.fashion": 12,
		"one line": 42, "more than six lines": 8, "customer": 75, "address": 50.6, "attributes": 30,
	} {
		require.InDelta(t, percent, float64(counts[name])*100/orders, 2, name)
	}
	require.InDelta(t, 2.69, float64(lines)/orders, 0.1, "lines an order")
	require.Greater(t, float64(skus["SKU-10000"])/float64(lines), 0.02, "the article that sells most has more than its even share, one in 5,000")
}

func TestMixIsTheSameForASeed(t *testing.T) {
	t.Parallel()
	first, again, other := load.NewMix(7, "run", "").Draw(), load.NewMix(7, "run", "").Draw(), load.NewMix(8, "run", "").Draw()
	differ := 0
	for n := range int64(100) {
		require.Equal(t, string(first.Append(nil, n)), string(again.Append(nil, n)))
		if string(first.Append(nil, n)) != string(other.Append(nil, n)) {
			differ++
		}
	}
	require.Equal(t, 100, differ, "another seed makes other orders")
	require.Equal(t, string(first.Append(nil, 3)), string(again.Append(nil, 3)), "an order does not depend on those before it")
	require.Equal(t, load.Unserved, order(t, load.NewMix(7, "run", load.Unserved).Draw(), 1).BusinessType)
	require.NotEqual(t, order(t, first, 1).ExternalRef, order(t, first, 2).ExternalRef)
}

func BenchmarkAppend(b *testing.B) {
	draw := load.NewMix(1, "run", "").Draw()
	var buf []byte
	b.ReportAllocs()
	for n := int64(0); b.Loop(); n++ {
		buf = draw.Append(buf[:0], n)
	}
	b.SetBytes(int64(len(buf)))
}
