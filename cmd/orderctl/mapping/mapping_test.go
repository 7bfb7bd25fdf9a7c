package mapping_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/mappings"
	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// small is a mapping of the columns no, currency, sku, qty and price.
const small = `
format: csv
group_by: no
order:
  external_ref: {column: no}
  channel: {value: web}
  business_type: {value: wms}
  currency: {column: currency}
line:
  sku: {column: sku}
  quantity: {column: qty}
  unit_price: {column: price}
`

func parse(t *testing.T, text string) *mapping.Mapping {
	t.Helper()
	m, err := mapping.Parse([]byte(text))
	require.NoError(t, err)
	return m
}

// build makes one order of all rows of a file.
func build(t *testing.T, m *mapping.Mapping, file string) (client.OrderSubmission, error) {
	t.Helper()
	e, err := rows.NamedEncoding("utf-8")
	require.NoError(t, err)
	var group []rows.Row
	for row, err := range rows.Read(strings.NewReader(file), e, m.Table()) {
		require.NoError(t, err)
		group = append(group, row)
	}
	return m.Build(group)
}

func TestMappingFaultsAreToldWithTheirLines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		old, new string
		says     []string
	}{
		"an unknown key":          {"sku: {column: sku}", "skew: {column: sku}", []string{`line 10: unknown field "skew"`}},
		"an unknown option":       {"sku: {column: sku}", "sku: {colum: sku}", []string{`line 10: unknown field "colum"`}},
		"a key twice":             {"channel: {value: web}", "channel: {value: web}\n  channel: {value: app}", []string{"line 7: mapping key \"channel\" already defined"}},
		"another kind of value":   {"channel: {value: web}", "channel: web", []string{"line 6: string was used where mapping is expected"}},
		"no YAML":                 {"format: csv", "format: [csv", []string{"line "}},
		"a missing field":         {"  channel: {value: web}\n", "", []string{"line 5: order.channel: is needed"}},
		"no column and no value":  {"{value: web}", "{transform: trim}", []string{"line 6: order.channel: either column or value is needed"}},
		"an unknown transform":    {"{value: web}", "{value: web, transform: [trim, slugg]}", []string{`line 6: order.channel.transform: "slugg" is none of trim, lower, upper, slug`}},
		"a bad layout":            {"{value: web}", "{column: no, date: MM/YYYY}", []string{"order.channel.date", "not a date layout"}},
		"a zone nobody lives in":  {"{value: web}", "{column: no, date: YYYY-MM-DD, zone: Mars/Base}", []string{"order.channel.zone"}},
		"a zone without a date":   {"{value: web}", "{column: no, zone: UTC}", []string{"is for a date"}},
		"a type outside":          {"{value: web}", "{column: no, type: integer}", []string{"is for attributes"}},
		"an unknown format":       {"format: csv", "format: xlsx", []string{`line 2: format: "xlsx" is none of csv, ndjson`}},
		"an unknown encoding":     {"format: csv", "format: csv\nencoding: klingon", []string{"line 3: encoding: encoding is not known"}},
		"a delimiter too long":    {"format: csv", "format: csv\ncsv: {delimiter: '||', quote: ab}", []string{"csv.delimiter", "csv.quote"}},
		"a unit":                  {"{column: price}", "{column: price, unit: cents, rounding: up, decimal_mark: x, grouping_mark: '1'}", []string{"price.unit", "price.rounding", "price.decimal_mark", "price.grouping_mark"}},
		"no price":                {"  unit_price: {column: price}\n", "", []string{"line 10: line: unit_price or total is needed"}},
		"two prices":              {"unit_price:", "total: {column: t}\n  discount: {column: d}\n  unit_price:", []string{"excludes unit_price"}},
		"a total and a discount":  {"unit_price:", "discount: {column: d}\n  total:", []string{"follows from total"}},
		"each, of CSV":            {"  sku:", "  each: /items\n  sku:", []string{"line.each: is for the format ndjson"}},
		"CSV options, of NDJSON":  {"format: csv", "format: ndjson\ncsv: {delimiter: ;}", []string{"line 3: csv: is for the format csv"}},
		"what to do with damages": {"format: csv", "format: csv\ndamaged_text: drop", []string{"damaged_text"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, small, tc.old)
			_, err := mapping.Parse([]byte(strings.Replace(small, tc.old, tc.new, 1)))
			require.Error(t, err)
			for _, says := range tc.says {
				require.ErrorContains(t, err, says)
			}
		})
	}
	for name, file := range map[string][]byte{
		"too long":  []byte("description: " + strings.Repeat("x", mapping.MaxFile)),
		"not UTF-8": {0xff, 0xfe},
		"empty":     nil,
	} {
		_, err := mapping.Parse(file)
		require.Error(t, err, name)
	}
}

func TestMappingsThatShipAreGood(t *testing.T) {
	t.Parallel()
	require.Contains(t, mappings.Names(), "superstore")
	for _, name := range mappings.Names() {
		text, ok := mappings.Open(name)
		require.True(t, ok)
		_, err := mapping.Parse(text)
		require.NoError(t, err, name)
	}
	_, ok := mappings.Open("../superstore")
	require.False(t, ok)
}

func TestEveryFieldCanBeMapped(t *testing.T) {
	t.Parallel()
	m := parse(t, `
format: csv
csv: {delimiter: ";"}
tenant: demo
group_by: [shop, no]
order:
  external_ref: {column: no, transform: [trim, upper]}
  channel: {column: shop, map: {A: web, "*": pos}}
  business_type: {column: kind, transform: slug}
  region: {column: region, default: eu}
  currency: {column: cur, transform: upper}
  shipping: {column: ship, decimal_mark: ",", default: "4,90"}
  total: {column: total, decimal_mark: ",", grouping_mark: "."}
  customer:
    name: {column: who}
    email: {column: mail, transform: lower}
    phone: {value: "+4930123456"}
    address: {line1: {column: street}, city: {value: Köln}}
  attributes:
    at: {column: at, date: ["D.M.YYYY HH:mm", D.M.YYYY], zone: Europe/Berlin}
    nights: {column: nights, type: integer}
    gift: {column: gift, type: boolean}
    weight: {column: weight, type: number}
    nothing: {column: nothing}
line:
  line_id: {column: pos}
  sku: {column: sku}
  name: {column: what}
  quantity: {column: qty}
  unit_price: {column: price, unit: minor}
  discount: {column: off, decimal_mark: ",", rounding: half_up}
  tax: {column: tax, decimal_mark: ","}
`)
	got, err := build(t, m, `shop;no;kind;region;cur;ship;total;who;mail;street;at;nights;gift;weight;nothing;pos;sku;what;qty;price;off;tax
A; r-1 ;Hôtel  Réservé!;;eur;;1.234,56;Åsa;A@B.SE;Gatan 1;24.12.2026 18:30;3;TRUE;1.5e1;;p1;S;x;2.0;500;1,005;0,10
A; r-1 ;;;;;;;;;;;;;;;T;;1;7;;
`)
	require.NoError(t, err)
	total := int64(123456)
	require.Equal(t, client.OrderSubmission{
		ExternalRef: "R-1", Channel: "web", BusinessType: "hotel-reserve", Region: "eu", Currency: "EUR", Shipping: 490, Total: &total,
		Customer: &client.Customer{Name: "Åsa", Email: "a@b.se", Phone: "+4930123456", Address: &client.Address{Line1: "Gatan 1", City: "Köln"}},
		Attributes: client.Object{
			"at": "2026-12-24T17:30:00Z", "nights": int64(3), "gift": true, "weight": got.Attributes["weight"],
		},
		Lines: []client.LineSubmission{
			{LineID: "p1", SKU: "S", Name: "x", Quantity: 2, UnitPrice: 500, Discount: 101, Tax: 10},
			{SKU: "T", Quantity: 1, UnitPrice: 7},
		},
	}, got)
	require.Equal(t, "1.5e1", fmt.Sprint(got.Attributes["weight"]))
}

func TestOrdersThatCannotBeMadeSayWhy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		row  string
		says []string
	}{
		"empty fields":           {",USD,,1,1", []string{"row 2: external_ref is empty", "row 2: line.sku is empty"}},
		"no currency":            {"1,,A,1,1", []string{"currency is empty"}},
		"a currency of nowhere":  {"1,XYZ,A,1,1", []string{`currency "XYZ" is not a currency`}},
		"a currency in small":    {"1,usd,A,1,1", []string{`"usd" is not a currency`}},
		"no quantity":            {"1,USD,A,,1", []string{"line.quantity is empty"}},
		"a quantity of zero":     {"1,USD,A,0,1", []string{`line.quantity "0" is not a whole number from 1`}},
		"half a piece":           {"1,USD,A,1.5,1", []string{"line.quantity"}},
		"less than nothing":      {"1,USD,A,-1,1", []string{"line.quantity"}},
		"words":                  {"1,USD,A,two,1", []string{"line.quantity"}},
		"a price below zero":     {"1,USD,A,1,-0.01", []string{`line.unit_price "-0.01" is below zero`}},
		"a price of words":       {"1,USD,A,1,$5", []string{`line.unit_price "$5" is not an amount`}},
		"no price":               {"1,USD,A,1,", []string{"line.unit_price is empty"}},
		"too many decimals":      {"1,USD,A,1,0.005", []string{"more decimals than the currency"}},
		"decimals of the yen":    {"1,JPY,A,1,100.5", []string{"more decimals than the currency"}},
		"a price too large":      {"1,USD,A,1,92233720368547758.08", []string{"is too large"}},
		"a price out of sight":   {"1,USD,A,1,1e999999999", []string{"is not an amount"}},
		"a price of no end":      {"1,USD,A,1," + strings.Repeat("9", 5000), []string{"is not an amount"}},
		"a line too large":       {"1,USD,A,1000000,92233720368547758.07", []string{"line is too large"}},
		"a character undecoded":  {"1,USD,A\uFFFD,1,1", []string{"line.sku has characters that could not be decoded"}},
		"a row that ends early":  {"1,USD,A", []string{"row 2: 3 fields, not 5"}},
		"a row of stray quotes":  {"1,USD,\"A\"x,1,1", []string{"row 2: "}},
		"everything, but in one": {",XYZ,,x,y", []string{"external_ref", "currency", "line.sku", "line.quantity", "line.unit_price"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := build(t, parse(t, small), "no,currency,sku,qty,price\n"+tc.row+"\n")
			require.Error(t, err)
			var fault *mapping.Fault
			require.ErrorAs(t, err, &fault)
			require.Equal(t, int64(2), fault.Row)
			for _, says := range tc.says {
				require.ErrorContains(t, err, says)
			}
			require.Less(t, len(err.Error()), 1000, "a message stays readable")
		})
	}
}

func TestOneBadRowSpoilsItsOrderAndKeepsItsReference(t *testing.T) {
	t.Parallel()
	got, err := build(t, parse(t, small), "no,currency,sku,qty,price\n7,USD,A,1,1\n7,USD,B\n7,USD,C,1,1\n")
	require.ErrorContains(t, err, "row 3")
	require.Equal(t, "7", got.ExternalRef)
	_, err = build(t, parse(t, small), "no,currency,sku,qty,price\n"+strings.Repeat("7,USD,,0,x\n", 20))
	require.ErrorContains(t, err, "and 50 more")
}

func TestDamagedTextCanBeKept(t *testing.T) {
	t.Parallel()
	got, err := build(t, parse(t, "damaged_text: keep"+small), "no,currency,sku,qty,price\n1,USD,A\uFFFD,1,1\n")
	require.NoError(t, err)
	require.Equal(t, "A\uFFFD", got.Lines[0].SKU)
}

func TestAmountsFollowTheCurrencyAndTheRounding(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		currency, price, rounding string
		want                      int64
	}{
		{"USD", "12.5", "exact", 1250},
		{"USD", "1e2", "exact", 10000},
		{"JPY", "980", "exact", 980},
		{"KWD", "1.234", "exact", 1234},
		{"KWD", "1.2345", "half_even", 1234},
		{"KWD", "1.2355", "half_even", 1236},
		{"USD", "0.125", "half_even", 12},
		{"USD", "0.135", "half_even", 14},
		{"USD", "0.125", "half_up", 13},
		{"USD", "0.129", "down", 12},
		{"JPY", "0.5", "half_even", 0},
		{"JPY", "1.5", "half_even", 2},
		{"USD", "92233720368547758.07", "exact", math.MaxInt64},
		{"USD", " 1.10 ", "exact", 110},
		{"USD", "-0.001", "down", 0},
	} {
		m := parse(t, strings.Replace(small, "{column: price}", "{column: price, rounding: "+tc.rounding+"}", 1))
		got, err := build(t, m, "no,currency,sku,qty,price\n1,"+tc.currency+",A,1,"+tc.price+"\n")
		require.NoError(t, err, tc)
		require.Equal(t, tc.want, got.Lines[0].UnitPrice, tc)
	}
}

// Whatever the total and the quantity, the line's total is exact, the unit price the smallest that reaches it, and the
// discount smaller than one cent a piece.
func TestLineTotalsAreExact(t *testing.T) {
	t.Parallel()
	m := parse(t, strings.Replace(small, "unit_price: {column: price}", "total: {column: price, unit: minor}", 1))
	rapid.Check(t, func(r *rapid.T) {
		total := rapid.Int64Range(0, math.MaxInt64/2).Draw(r, "total")
		quantity := rapid.Int64Range(1, 1_000_000).Draw(r, "quantity")
		got, err := build(t, m, fmt.Sprintf("no,currency,sku,qty,price\n1,USD,A,%d,%d\n", quantity, total))
		if err != nil {
			r.Fatal(err)
		}
		line := got.Lines[0]
		sum, err := mapping.LineTotal(line)
		if err != nil || sum != total {
			r.Fatalf("%+v sums up to %d, not %d: %v", line, sum, total, err)
		}
		if line.Discount < 0 || line.Discount >= quantity {
			r.Fatalf("discount %d of %d pieces", line.Discount, quantity)
		}
	})
}

func TestTotalWithTax(t *testing.T) {
	t.Parallel()
	m := parse(t, strings.Replace(small, "unit_price: {column: price}", "total: {column: price}\n  tax: {value: \"0.50\"}", 1))
	got, err := build(t, m, "no,currency,sku,qty,price\n1,USD,A,3,10.00\n")
	require.NoError(t, err)
	require.Equal(t, client.LineSubmission{SKU: "A", Quantity: 3, UnitPrice: 317, Discount: 1, Tax: 50}, got.Lines[0])
	_, err = build(t, m, "no,currency,sku,qty,price\n1,USD,A,3,0.49\n")
	require.ErrorContains(t, err, "less than its tax")
}

func TestKeysTellOrdersApart(t *testing.T) {
	t.Parallel()
	m := parse(t, strings.Replace(small, "group_by: no", "group_by: [no, sku]", 1))
	e, err := rows.NamedEncoding("utf-8")
	require.NoError(t, err)
	keys := map[string]int{}
	untold := 0
	for row, err := range rows.Read(strings.NewReader("no,sku,currency,qty,price\n1,A,,,\n1 ,A,,,\n1A,,,,\n,1A,,,\n , ,,,\n1,\n"), e, m.Table()) {
		require.NoError(t, err)
		key, ok := m.Key(row)
		if !ok {
			untold++
			continue
		}
		keys[key]++
	}
	require.Equal(t, 1, untold)
	require.Equal(t, map[string]int{"1\x00A": 2, "1A\x00": 1, "\x001A": 1, "1\x00": 1}, keys)
}

func TestNDJSONWithItsLinesInside(t *testing.T) {
	t.Parallel()
	m := parse(t, `
format: ndjson
order:
  external_ref: {column: id}
  channel: {value: app}
  business_type: {column: /meta/kind}
  currency: {value: JPY}
line:
  each: /items
  sku: {column: sku}
  quantity: {column: /n}
  unit_price: {column: price}
`)
	got, err := build(t, m, `{"id":5,"meta":{"kind":"wms"},"items":[{"sku":"A","n":2,"price":300},{"sku":"B","n":1,"price":120}]}`)
	require.NoError(t, err)
	require.Equal(t, client.OrderSubmission{
		ExternalRef: "5", Channel: "app", BusinessType: "wms", Currency: "JPY",
		Lines: []client.LineSubmission{{SKU: "A", Quantity: 2, UnitPrice: 300}, {SKU: "B", Quantity: 1, UnitPrice: 120}},
	}, got)
	for _, bad := range []string{`{"id":5,"meta":{"kind":"wms"},"items":[]}`, `{"id":5,"meta":{"kind":"wms"},"items":[1]}`, `{"id":5`} {
		_, err := build(t, m, bad)
		require.Error(t, err, bad)
	}
}

func TestColumnsWithoutAHeaderAreNumbers(t *testing.T) {
	t.Parallel()
	m := parse(t, strings.NewReplacer("format: csv", "format: csv\ncsv: {header: false}", "column: no", "column: 1", "group_by: no", "group_by: 1",
		"column: currency", "column: 2", "column: sku", "column: 3", "column: qty", "column: 4", "column: price", "column: 5").Replace(small))
	got, err := build(t, m, "1,USD,A,2,3.50\n")
	require.NoError(t, err)
	require.Equal(t, []client.LineSubmission{{SKU: "A", Quantity: 2, UnitPrice: 350}}, got.Lines)
}

func FuzzParse(f *testing.F) {
	superstore, _ := mappings.Open("superstore")
	f.Add(superstore, []byte("Order ID,Sales\n1,2\n"))
	f.Add([]byte(small), []byte("no,currency,sku,qty,price\n1,USD,A,1,1\n"))
	f.Add([]byte("a: &a [*a]"), []byte{})
	f.Add([]byte("order: &o\n  attributes: {x: &x {column: a, date: [YYYY-MM-DD]}, y: *x}\n<<: *o"), []byte{})
	f.Add([]byte("format: csv\n\tencoding: ?\n? - "), []byte{})
	f.Fuzz(func(t *testing.T, file, data []byte) {
		m, err := mapping.Parse(file)
		if err != nil {
			return
		}
		e, err := rows.NamedEncoding("utf-8")
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range rows.Read(strings.NewReader(string(data)), e, m.Table()) {
			if err != nil {
				return
			}
			m.Key(row)
			order, err := m.Build([]rows.Row{row})
			if err == nil && (order.ExternalRef == "" || len(order.Lines) == 0) {
				t.Fatalf("an order without reference or lines: %+v", order)
			}
		}
	})
}
