package httpapi_test

import (
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// FuzzReader holds the reader against the library's own strict decoding: what the reader takes, that takes too; and
// nothing makes it panic, hang or answer with anything but the errors it promises.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`{"ref":"a"}`, `{"ref":"\ud83d\ude00","total":-1,"lines":[{"sku":"x","quantity":1}]}`, `{"anything":[1e400,"\u0000",{}]}`,
		`{"attributes":{"a":{"b":[[]]}}}`, `{"ref":"a","ref":"b"}`, "{\"r\xff\":1}", `[[[[`, `{"placed_at":"2026-01-31T12:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		got, err := readSample(body)
		require.Equal(t, before, string(body), "the body was changed")
		if err == nil {
			require.True(t, jsontext.Value(body).IsValid(), "took what is not valid JSON")
			for _, raw := range []jsontext.Value{got.Attributes, got.Anything} {
				require.True(t, raw == nil || raw.IsValid())
				compact := raw.Clone()
				if compact != nil {
					require.NoError(t, compact.Compact(jsontext.PreserveRawStrings(true)))
				}
				require.Equal(t, string(compact), string(raw))
			}
			require.NotContains(t, got.Ref, "\x00")
			return
		}
		var bad *fault.Error
		require.ErrorAs(t, err, &bad)
		require.Contains(t, []fault.Code{fault.Malformed, fault.UnknownField, fault.DuplicateKey, fault.Invalid}, bad.Code)
		for _, field := range bad.Fields {
			if utf8.Valid(body) {
				require.True(t, jsontext.Pointer(field.Pointer).IsValid(), "%q", field.Pointer)
			}
		}
		status, problem := httpapi.ProblemOf(err)
		require.Less(t, status, 500)
		require.True(t, jsontext.Value(problem).IsValid(), "%s", problem)
	})
}

const typicalOrder = `{"channel":"web","external_ref":"W-2026-000123","business_type":"retail.erp","region":"eu","currency":"EUR",
"lines":[{"line_id":"1","sku":"TEA-0042","name":"Sencha 茶 100 g","quantity":2,"unit_price":1250,"discount":100,"tax":456},
{"line_id":"2","sku":"CUP-7","name":"Cup, white","quantity":1,"unit_price":890,"discount":0,"tax":169}],"shipping":490,
"customer":{"name":"Zoë Example","email":"zoe@example.org","phone":"+49 30 1234567","address":"Street 1, 10115 Berlin"},
"attributes":{"gift":true,"note":"ring twice"},"total":4305}`

type benchOrder struct {
	Texts      [16]string
	Numbers    [16]int64
	Attributes jsontext.Value
}

func readBenchOrder(body []byte, o *benchOrder) error {
	d := httpapi.NewReader(body)
	texts, numbers := 0, 0
	text := func() {
		d.String(&o.Texts[texts], 1, 256)
		texts++
	}
	number := func() {
		d.Int(&o.Numbers[numbers], 0, 1<<53)
		numbers++
	}
	d.Object(func(name string) {
		switch name {
		case "channel", "external_ref", "business_type", "region", "currency":
			text()
		case "lines":
			d.Array(1_000, func(int) {
				d.Object(func(name string) {
					switch name {
					case "line_id", "sku", "name":
						text()
					case "quantity", "unit_price", "discount", "tax":
						number()
					}
				})
			})
		case "shipping", "total":
			number()
		case "customer":
			d.Object(func(string) { text() })
		case "attributes":
			d.RawObject(&o.Attributes, 16<<10)
		}
	})
	return d.Finish()
}

func BenchmarkReaderTypicalOrder(b *testing.B) {
	body := []byte(typicalOrder)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var o benchOrder
		if err := readBenchOrder(body, &o); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReaderTypicalOrder(t *testing.T) {
	t.Parallel()
	var o benchOrder
	require.NoError(t, readBenchOrder([]byte(typicalOrder), &o))
	require.Equal(t, "Sencha 茶 100 g", o.Texts[7])
	require.EqualValues(t, 4305, o.Numbers[9])
	require.Len(t, o.Attributes, len(`{"gift":true,"note":"ring twice"}`))
}
