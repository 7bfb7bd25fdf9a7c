package sample_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/Rhymond/go-money"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/sample"
)

func TestSameSeedSameOrders(t *testing.T) {
	t.Parallel()
	var few, many []string
	for o := range sample.Orders(7, 50) {
		b, err := o.JSON()
		require.NoError(t, err)
		few = append(few, string(b))
	}
	for o := range sample.Orders(7, 200) {
		b, err := o.JSON()
		require.NoError(t, err)
		many = append(many, string(b))
	}
	require.Equal(t, few, many[:50])
	for o := range sample.Orders(8, 1) {
		b, err := o.JSON()
		require.NoError(t, err)
		require.NotEqual(t, few[0], string(b))
	}
	count := 0
	for range sample.Orders(1, 1000) {
		if count++; count == 3 {
			break
		}
	}
	require.Equal(t, 3, count)
}

func TestReferencesAreUniqueWithinTheirChannel(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	styles := map[string]bool{}
	for _, seed := range []uint64{1, 2, 42} {
		for o := range sample.Orders(seed, 2000) {
			key := o.Channel + "|" + o.ExternalRef
			require.False(t, seen[key], key)
			seen[key] = true
			styles[strings.Map(shape, o.ExternalRef)] = true
		}
	}
	require.GreaterOrEqual(t, len(styles), 6)
}

// shape keeps what tells styles of references apart.
func shape(r rune) rune {
	switch {
	case unicode.IsDigit(r):
		return -1
	case unicode.IsLetter(r):
		return 'a'
	}
	return r
}

// What the API asks of an order, checked here once more and by other code than the store's.
func TestOrdersAreValid(t *testing.T) {
	t.Parallel()
	name, phone := regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`), regexp.MustCompile(`^(\+[0-9][0-9 -]{6,20})?$`)
	for o := range sample.Orders(3, 3000) {
		require.Regexp(t, name, o.Channel)
		require.Regexp(t, name, o.BusinessType)
		if o.Region != "" {
			require.Regexp(t, name, o.Region)
		}
		require.NotNil(t, money.GetCurrency(o.Currency), o.Currency)
		require.True(t, len(o.ExternalRef) > 0 && len(o.ExternalRef) <= 64)
		require.True(t, len(o.Lines) >= 1 && len(o.Lines) <= 40)
		sum := o.Shipping
		ids := map[string]bool{}
		for i, l := range o.Lines {
			require.True(t, l.Quantity >= 1 && l.Quantity <= 500, "%+v", l)
			require.Positive(t, l.UnitPrice)
			require.True(t, l.Discount >= 0 && l.Discount <= l.Quantity*l.UnitPrice, "%+v", l)
			require.GreaterOrEqual(t, l.Tax, int64(0))
			require.NotEmpty(t, l.SKU)
			sum += l.Quantity*l.UnitPrice - l.Discount + l.Tax
			id := l.LineID
			if id == "" {
				id = fmt.Sprint(i + 1)
			}
			require.False(t, ids[id], "line id %s twice in %s", id, o.ExternalRef)
			ids[id] = true
		}
		require.Less(t, sum, int64(math.MaxInt32)*1000)
		if o.Total != nil {
			require.Equal(t, sum, *o.Total)
		}
		if c := o.Customer; c != nil {
			require.NotEmpty(t, c.Name)
			if c.Email != "" {
				parsed, err := mail.ParseAddress(c.Email)
				require.NoError(t, err)
				require.Equal(t, c.Email, parsed.Address)
			}
			require.Regexp(t, phone, c.Phone)
		}
	}
}

// No text, and no order as a whole, holds what could be taken for a card number: by the store's rule, and by one that knows
// no card schemes.
func TestNoCardNumbers(t *testing.T) {
	t.Parallel()
	run := regexp.MustCompile(`[0-9](?:[ -]?[0-9]){12,}`)
	for o := range sample.Orders(5, 3000) {
		b, err := o.JSON()
		require.NoError(t, err)
		require.True(t, utf8.Valid(b))
		require.False(t, httpapi.HasCardNumber(string(b)), "%s", b)
		for _, digits := range run.FindAllString(string(b), -1) {
			digits = strings.NewReplacer(" ", "", "-", "").Replace(digits)
			for from := range digits {
				for to := from + 13; to <= min(from+19, len(digits)); to++ {
					require.False(t, checkDigit(digits[from:to]), "%s in %s", digits[from:to], b)
				}
			}
		}
	}
}

func checkDigit(digits string) bool {
	sum, double := 0, false
	for _, d := range slices.Backward([]byte(digits)) {
		n := int(d - '0')
		if double {
			n = n*2/10 + n*2%10
		}
		sum, double = sum+n, !double
	}
	return sum%10 == 0
}

func TestOrdersAreVaried(t *testing.T) {
	t.Parallel()
	channels, kinds, currencies, regions, lines := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}, map[int]int{}
	scripts, decimals, quantities := map[string]int{}, map[int]int{}, map[int64]int{}
	var anonymous, emoji, discounted, free, gifts, withTotal, totalLines int
	const n = 2000
	for o := range sample.Orders(1, n) {
		channels[o.Channel]++
		kinds[o.BusinessType]++
		currencies[o.Currency]++
		regions[o.Region]++
		lines[len(o.Lines)]++
		totalLines += len(o.Lines)
		decimals[money.GetCurrency(o.Currency).Fraction]++
		b, err := o.JSON()
		require.NoError(t, err)
		for script, table := range map[string]*unicode.RangeTable{
			"Han": unicode.Han, "Hiragana": unicode.Hiragana, "Katakana": unicode.Katakana, "Hangul": unicode.Hangul, "Arabic": unicode.Arabic,
			"Devanagari": unicode.Devanagari, "Tamil": unicode.Tamil, "Cyrillic": unicode.Cyrillic, "Greek": unicode.Greek, "Hebrew": unicode.Hebrew, "Thai": unicode.Thai,
		} {
			if strings.ContainsFunc(string(b), func(r rune) bool { return unicode.Is(table, r) }) {
				scripts[script]++
			}
		}
		if strings.ContainsFunc(string(b), func(r rune) bool { return r >= 0x1F300 && r <= 0x1FAFF }) {
			emoji++
		}
		if o.Customer == nil {
			anonymous++
		}
		if o.Total != nil {
			withTotal++
		}
		if o.Attributes["gift"] != nil {
			gifts++
		}
		if o.Shipping == 0 {
			free++
		}
		for _, l := range o.Lines {
			quantities[l.Quantity]++
			if l.Discount > 0 {
				discounted++
			}
		}
	}
	require.GreaterOrEqual(t, len(channels), 30)
	require.Greater(t, min(channels["web"], channels["app"], channels["pos"]), n/20)
	require.Len(t, kinds, len(sample.BusinessTypes()))
	for kind, count := range kinds {
		require.Greater(t, count, n/25, kind)
	}
	require.GreaterOrEqual(t, len(currencies), 15)
	for _, fraction := range []int{0, 2, 3} {
		require.Greater(t, decimals[fraction], n/50, "currencies of %d decimals", fraction)
	}
	require.GreaterOrEqual(t, len(regions), 14)
	for count := 1; count <= 40; count++ {
		require.Positive(t, lines[count], "no order has %d lines", count)
	}
	require.Greater(t, lines[1]+lines[2]+lines[3], n/2, "most orders are small")
	require.Len(t, scripts, 11)
	for script, count := range scripts {
		require.Greater(t, count, 10, script)
	}
	require.Greater(t, emoji, n/20)
	require.Positive(t, quantities[1])
	require.Positive(t, quantities[500])
	require.Greater(t, len(quantities), 80)
	require.Greater(t, discounted, totalLines/10)
	require.Greater(t, anonymous, n/20)
	require.Greater(t, gifts, 20)
	require.True(t, free > n/10 && free < n*9/10)
	require.True(t, withTotal > n/3 && withTotal < n*9/10)
}

func TestHotelNightsAndStayAgree(t *testing.T) {
	t.Parallel()
	found := 0
	for o := range sample.Orders(9, 2000) {
		if o.BusinessType != "hotel" {
			continue
		}
		found++
		in, _ := o.Attributes["check_in"].(string)
		out, _ := o.Attributes["check_out"].(string)
		require.Less(t, in, out, "dates of ISO 8601 sort as text")
	}
	require.Greater(t, found, 50)
}

func TestEveryOrderHasAProviderAndEveryLineAProduct(t *testing.T) {
	t.Parallel()
	products := map[string]bool{}
	vendors := map[string]bool{}
	for _, v := range sample.Vendors() {
		vendors[v.ID] = true
	}
	for _, p := range sample.Products() {
		require.False(t, products[p.SKU], p.SKU)
		products[p.SKU] = true
		require.True(t, vendors[p.VendorID], p.VendorID)
		require.NotEmpty(t, p.Name)
	}
	require.Greater(t, len(products), 80)
	ids := map[string]bool{}
	for _, p := range sample.Providers() {
		require.Regexp(t, `^[A-Za-z0-9_-]{1,64}$`, p.ID)
		require.False(t, ids[p.ID], p.ID)
		ids[p.ID] = true
	}
	routes := map[string]bool{}
	for _, r := range sample.Routes() {
		routes[r.BusinessType] = true
	}
	regions, providers := sample.Regions(), sample.Providers()
	for o := range sample.Orders(11, 3000) {
		region := o.Region
		if region == "" {
			region = "default"
		}
		require.Contains(t, regions, region)
		require.True(t, routes[o.BusinessType], o.BusinessType)
		require.True(t, slices.ContainsFunc(providers, func(p sample.Provider) bool {
			return slices.Contains(p.BusinessTypes, o.BusinessType) && (len(p.Regions) == 0 || slices.Contains(p.Regions, region))
		}), "%s in %s", o.BusinessType, region)
		for _, l := range o.Lines {
			require.True(t, products[l.SKU], l.SKU)
		}
	}
	b, err := json.Marshal(sample.Providers()[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"Northwind ERP","business_types":["retail.erp"],"regions":[],"max_load":0}`, string(b))
}

func BenchmarkOrders(b *testing.B) {
	for range sample.Orders(1, b.N) {
	}
}
