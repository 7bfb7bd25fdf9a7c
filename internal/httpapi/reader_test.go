package httpapi_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// sample is an order in small: every kind of value that a Reader reads.
type sample struct {
	Ref        string
	Channel    string
	Tenant     string
	Total      int64
	Gift       bool
	PlacedAt   time.Time
	Lines      []sampleLine
	Attributes jsontext.Value
	Anything   jsontext.Value
}

type sampleLine struct {
	SKU      string
	Quantity int64
}

const sampleMaxRaw = 200

func readSample(body []byte) (sample, error) {
	var s sample
	d := httpapi.NewReader(body)
	d.Object(func(name string) {
		switch name {
		case "ref":
			d.String(&s.Ref, 1, 10)
		case "channel":
			d.Name(&s.Channel)
		case "tenant":
			d.ID(&s.Tenant)
		case "total":
			d.Int(&s.Total, -1_000, 1_000)
		case "gift":
			d.Bool(&s.Gift)
		case "placed_at":
			d.Time(&s.PlacedAt)
		case "lines":
			d.Array(3, func(int) { s.Lines = append(s.Lines, readSampleLine(d)) })
		case "attributes":
			d.RawObject(&s.Attributes, sampleMaxRaw)
		case "anything":
			d.Raw(&s.Anything, sampleMaxRaw)
		case "status":
			d.ReadOnly()
		default:
			d.Unknown()
		}
	})
	d.Require("ref", s.Ref != "")
	return s, d.Finish()
}

func readSampleLine(d *httpapi.Reader) sampleLine {
	var line sampleLine
	hasQuantity := false
	d.Object(func(name string) {
		switch name {
		case "sku":
			d.String(&line.SKU, 1, 128)
		case "quantity":
			hasQuantity = true
			d.Int(&line.Quantity, 1, 1_000_000)
		default:
			d.Unknown()
		}
	})
	d.Require("quantity", hasQuantity)
	return line
}

func TestReaderReads(t *testing.T) {
	t.Parallel()
	body := ` {"ref": "R\u00e9\ud83d\ude00/1", "channel":"pos.eu-1", "tenant":"demo_1", "total":-999, "gift":true,
		"placed_at":"2026-01-31T13:00:00.25+01:00", "lines":[{"sku":"茶 ☕","quantity":1000000},{"quantity":1}],
		"attributes":{ "a" : [1, 2.50, {"b":null}, [], {}], "A":"\u00e9" , "":-1e3}, "anything": [ true ] } `
	got, err := readSample([]byte(body))
	require.NoError(t, err)
	want := sample{
		Ref: "Ré😀/1", Channel: "pos.eu-1", Tenant: "demo_1", Total: -999, Gift: true,
		PlacedAt:   time.Date(2026, 1, 31, 12, 0, 0, 250_000_000, time.UTC),
		Lines:      []sampleLine{{SKU: "茶 ☕", Quantity: 1_000_000}, {Quantity: 1}},
		Attributes: jsontext.Value(`{"a":[1,2.50,{"b":null},[],{}],"A":"\u00e9","":-1e3}`),
		Anything:   jsontext.Value(`[true]`),
	}
	require.Empty(t, cmp.Diff(want, got))
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	cases := []struct {
		name, body string
		code       fault.Code
		pointers   string // of the bad fields, separated by spaces; "-" when none is named
	}{
		// What cannot be read.
		{"empty", ``, fault.Malformed, "-"},
		{"spaces", " \n", fault.Malformed, "-"},
		{"cut off", `{"ref":"a"`, fault.Malformed, "-"},
		{"cut off in a string", `{"ref":"a`, fault.Malformed, "-"},
		{"no colon", `{"ref" "a"}`, fault.Malformed, "/ref"},
		{"trailing comma", `{"ref":"a",}`, fault.Malformed, ""},
		{"single quotes", `{'ref':"a"}`, fault.Malformed, ""},
		{"a comment", `{"ref":"a"/**/}`, fault.Malformed, ""},
		{"NaN", `{"ref":"a","total":NaN}`, fault.Malformed, "/total"},
		{"leading zero", `{"ref":"a","total":01}`, fault.Malformed, ""},
		{"plus sign", `{"ref":"a","total":+1}`, fault.Malformed, "/total"},
		{"bare control character", "{\"ref\":\"a\nb\"}", fault.Malformed, "/ref"},
		{"bare NUL", "{\"ref\":\"a\x00b\"}", fault.Malformed, "/ref"},
		{"bad escape", `{"ref":"\x41"}`, fault.Malformed, "/ref"},
		{"name is a number", `{1:"a"}`, fault.Malformed, ""},
		{"trailing data", `{"ref":"a"} {}`, fault.Malformed, "-"},
		{"trailing rubbish", `{"ref":"a"}x`, fault.Malformed, ""},
		{"byte order mark", "\ufeff{}", fault.Malformed, ""},
		{"bad inside a skipped value", `{"ref":[1,2,}`, fault.Malformed, "/ref"},
		{"bad inside raw", `{"ref":"a","attributes":{"x":[1,,2]}}`, fault.Malformed, "/attributes/x/1"},
		{"array over its limit", `{"ref":"a","lines":[{"quantity":1},{"quantity":1},{"quantity":1},{"quantity":1}]}`, fault.Malformed, "/lines"},
		{"nested raw", `{"ref":"a","attributes":{"x":` + deep + `}}`, fault.Malformed, "/attributes/x" + strings.Repeat("/0", 30)},
		{"nested where a string belongs", `{"ref":` + deep + `}`, fault.Malformed, "/ref" + strings.Repeat("/0", 31)},
		{"nested in an unknown field", `{"other":` + deep + `}`, fault.Malformed, "/other" + strings.Repeat("/0", 31)},

		// Keys.
		{"duplicate key", `{"ref":"a","ref":"b"}`, fault.DuplicateKey, "/ref"},
		{"duplicate key by escape", `{"ref":"a","\u0072ef":"b"}`, fault.DuplicateKey, "/ref"},
		{"duplicate key in a line", `{"ref":"a","lines":[{"quantity":1},{"sku":"a","sku":"b"}]}`, fault.DuplicateKey, "/lines/1/sku"},
		{"duplicate key in raw", `{"ref":"a","attributes":{"x":{"y":1,"y":2}}}`, fault.DuplicateKey, "/attributes/x/y"},
		{"duplicate unknown key", `{"x":1,"x":2}`, fault.DuplicateKey, "/x"},
		{"case variant", `{"ref":"a","Ref":"b"}`, fault.UnknownField, "/Ref"},
		{"unknown fields, all of them", `{"x":1,"lines":[{"quantity":1,"y":{"z":[]}}],"a/b~c":null}`, fault.UnknownField, "/x /lines/0/y /a~1b~0c"},
		{"empty name", `{"":1}`, fault.UnknownField, "/"},
		{"unknown goes before invalid", `{"ref":1,"x":1}`, fault.UnknownField, "/x"},

		// Values.
		{"wrong kinds, all of them", `{"ref":1,"channel":null,"total":"1","gift":0,"lines":{},"attributes":[],"placed_at":true}`, fault.Invalid, "/ref /channel /total /gift /lines /attributes /placed_at /ref"},
		{"not an object", `[]`, fault.Invalid, " /ref"},
		{"null", `null`, fault.Invalid, " /ref"},
		{"missing", `{}`, fault.Invalid, "/ref"},
		{"missing in a line", `{"ref":"a","lines":[{"quantity":1},{}]}`, fault.Invalid, "/lines/1/quantity"},
		{"line is a string", `{"ref":"a","lines":["x",{"quantity":1}]}`, fault.Invalid, "/lines/0 /lines/0/quantity"},
		{"empty string", `{"ref":""}`, fault.Invalid, "/ref /ref"},
		{"11 characters", `{"ref":"12345678901"}`, fault.Invalid, "/ref /ref"},
		{"read-only", `{"ref":"a","status":{"x":[1]}}`, fault.Invalid, "/status"},
		{"control character", `{"ref":"a\u0007"}`, fault.Invalid, "/ref /ref"},
		{"DEL", `{"ref":"a\u007f"}`, fault.Invalid, "/ref /ref"},
		{"C1 control", `{"ref":"a\u0085"}`, fault.Invalid, "/ref /ref"},
		{"NUL", `{"ref":"a\u0000"}`, fault.Invalid, "/ref /ref"},
		{"NUL in raw", `{"ref":"a","attributes":{"x":["\u0000"],"y":"\u0000"}}`, fault.Invalid, "/attributes/x/0 /attributes/y"},
		{"NUL in a name in raw", `{"ref":"a","attributes":{"x\u0000":1}}`, fault.Invalid, "/attributes/x\x00"},
		{"NUL in a name", `{"ref":"a","\u0000":[1]}`, fault.Invalid, "/\x00"},
		{"invalid UTF-8", "{\"ref\":\"a\xff\"}", fault.Invalid, "/ref /ref"},
		{"overlong UTF-8", "{\"ref\":\"\xc0\xaf\"}", fault.Invalid, "/ref /ref"},
		{"invalid UTF-8 in raw", "{\"ref\":\"a\",\"anything\":\"\xff\"}", fault.Invalid, "/anything"},
		{"unpaired high surrogate", `{"ref":"\ud83d"}`, fault.Invalid, "/ref /ref"},
		{"unpaired low surrogate", `{"ref":"\ude00"}`, fault.Invalid, "/ref /ref"},
		{"surrogates the wrong way round in raw", `{"ref":"a","anything":["\ude00\ud83d"]}`, fault.Invalid, "/anything/0"},
		{"fraction", `{"ref":"a","total":1.5}`, fault.Invalid, "/total"},
		{"whole fraction", `{"ref":"a","total":1.0}`, fault.Invalid, "/total"},
		{"exponent", `{"ref":"a","total":1e3}`, fault.Invalid, "/total"},
		{"2^63", `{"ref":"a","total":9223372036854775808}`, fault.Invalid, "/total"},
		{"-2^63-1", `{"ref":"a","total":-9223372036854775809}`, fault.Invalid, "/total"},
		{"2^64", `{"ref":"a","total":18446744073709551616}`, fault.Invalid, "/total"},
		{"a hundred digits", `{"ref":"a","total":` + strings.Repeat("9", 100) + `}`, fault.Invalid, "/total"},
		{"-0.0", `{"ref":"a","total":-0.0}`, fault.Invalid, "/total"},
		{"-0", `{"ref":"a","total":-0}`, fault.Invalid, "/total"},
		{"under the minimum", `{"ref":"a","lines":[{"quantity":0},{"quantity":-1}]}`, fault.Invalid, "/lines/0/quantity /lines/1/quantity"},
		{"over the maximum", `{"ref":"a","total":1001}`, fault.Invalid, "/total"},
		{"a time without offset", `{"ref":"a","placed_at":"2026-01-31T12:00:00"}`, fault.Invalid, "/placed_at"},
		{"a day that is none", `{"ref":"a","placed_at":"2026-02-30T12:00:00Z"}`, fault.Invalid, "/placed_at"},
		{"year 0", `{"ref":"a","placed_at":"0000-01-01T00:00:00Z"}`, fault.Invalid, "/placed_at"},
		{"year 10000 in UTC", `{"ref":"a","placed_at":"9999-12-31T23:59:59-01:00"}`, fault.Invalid, "/placed_at"},
		{"a subject's wildcard as id", `{"ref":"a","tenant":">"}`, fault.Invalid, "/tenant"},
		{"upper case in a name", `{"ref":"a","channel":"Web"}`, fault.Invalid, "/channel"},
		{"raw over its limit", `{"ref":"a","anything":"` + strings.Repeat("x", sampleMaxRaw) + `"}`, fault.Invalid, "/anything"},
		{"a number that a database would write out", `{"ref":"a","anything":[1e99999,-1e400]}`, fault.Invalid, "/anything/0 /anything/1"},
		{"a number of many digits", `{"ref":"a","anything":` + strings.Repeat("1", 65) + `}`, fault.Invalid, "/anything"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := readSample([]byte(c.body))
			var bad *fault.Error
			require.ErrorAs(t, err, &bad)
			require.Equal(t, c.code, bad.Code, "%v", err)
			want := strings.Split(c.pointers, " ")
			if c.pointers == "-" {
				want = nil
			}
			var got []string
			for _, f := range bad.Fields {
				require.NotEmpty(t, f.Detail)
				got = append(got, f.Pointer)
			}
			require.Equal(t, want, got)
		})
	}
}

func TestReaderLimitsAtTheirEdge(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for name, body := range map[string]string{
		"depth 32":              `{"ref":"a","anything":` + nested(31) + `}`,
		"three lines":           `{"ref":"a","lines":[{"quantity":1},{"quantity":1},{"quantity":1}]}`,
		"no lines":              `{"ref":"a","lines":[]}`,
		"10 characters":         `{"ref":"茶茶茶茶茶茶茶茶茶😀"}`,
		"allowed controls":      `{"ref":"a\t\r\n"}`,
		"largest":               `{"ref":"a","total":1000}`,
		"zero":                  `{"ref":"a","total":0}`,
		"raw of exactly 200":    `{"ref":"a","anything":"` + strings.Repeat("x", sampleMaxRaw-2) + `"}`,
		"spaces do not count":   `{"ref":"a","anything":` + strings.Repeat(" ", 1_000) + `1}`,
		"null in raw":           `{"ref":"a","anything":null}`,
		"controls in raw":       `{"ref":"a","anything":"\u0001"}`,
		"replacement character": `{"ref":"\ufffd"}`,
	} {
		_, err := readSample([]byte(body))
		require.NoError(t, err, name)
	}
}

func TestReaderEndOfInt64(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		"9223372036854775807": 9223372036854775807, "-9223372036854775808": -9223372036854775808, "0": 0, "-1": -1,
	} {
		var n int64
		d := httpapi.NewReader([]byte(body))
		d.Int(&n, -1<<63, 1<<63-1)
		require.NoError(t, d.Finish(), body)
		require.Equal(t, want, n)
	}
}

func TestReaderFloat(t *testing.T) {
	t.Parallel()
	read := func(body string) (n float64, err error) {
		n = -1
		d := httpapi.NewReader([]byte(body))
		d.Object(func(string) { d.Float(&n, 0, 10) })
		return n, d.Finish()
	}
	for body, want := range map[string]float64{`{"n":0}`: 0, `{"n":-0}`: 0, `{"n":0.42}`: 0.42, `{"n":1e1}`: 10, `{"n":25E-1}`: 2.5} {
		got, err := read(body)
		require.NoError(t, err, body)
		require.InDelta(t, want, got, 0, body)
		require.False(t, math.Signbit(got), body)
	}
	for body, code := range map[string]fault.Code{
		`{"n":10.01}`: fault.Invalid, `{"n":-1e-9}`: fault.Invalid, `{"n":1e400}`: fault.Invalid, `{"n":"1"}`: fault.Invalid, `{"n":null}`: fault.Invalid,
		`{"n":[1]}`: fault.Invalid, `{"n":.5}`: fault.Malformed, `{"n":Infinity}`: fault.Malformed, `{"n":0x1}`: fault.Malformed, `{"n":1`: fault.Malformed,
	} {
		_, err := read(body)
		require.Equal(t, code, fault.CodeOf(err), "%s: %v", body, err)
	}
}

func TestReaderNull(t *testing.T) {
	t.Parallel()
	d := httpapi.NewReader([]byte(`[null,"a"]`))
	var nulls []bool
	var s string
	d.Array(2, func(int) {
		null := d.Null()
		if nulls = append(nulls, null); !null {
			d.String(&s, 0, 1)
		}
	})
	require.True(t, d.OK())
	require.NoError(t, d.Finish())
	require.Equal(t, []bool{true, false}, nulls)
	require.Equal(t, "a", s)
}

// A member or element that the program forgets to read does not put the rest out of step.
func TestReaderUnreadValues(t *testing.T) {
	t.Parallel()
	d := httpapi.NewReader([]byte(`{"a":[1,{"x":2}],"b":3}`))
	var b int64
	d.Object(func(name string) {
		switch name {
		case "a":
			d.Array(5, func(int) {})
		case "b":
			d.Int(&b, 0, 5)
		}
	})
	require.NoError(t, d.Finish())
	require.EqualValues(t, 3, b)

	d = httpapi.NewReader([]byte(`{"a":1}`))
	d.Object(func(string) {})
	require.Equal(t, fault.UnknownField, fault.CodeOf(d.Finish()))
}

func TestReaderNamesAtMostAThousandFields(t *testing.T) {
	t.Parallel()
	d := httpapi.NewReader([]byte("[" + strings.Repeat(`"x",`, 1_499) + `"x"]`))
	var n int64
	d.Array(2_000, func(int) { d.Int(&n, 0, 1) })
	var bad *fault.Error
	require.ErrorAs(t, d.Finish(), &bad)
	require.Len(t, bad.Fields, 1_000)
	require.Equal(t, 500, bad.Extra["more_errors"])
}

// Hostile bodies of a megabyte are refused by what they begin with, within 10 ms. The machine may be busy with other tests,
// so one try of many has to be that fast.
func TestReaderHostileBodies(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	var names strings.Builder
	for i := 0; names.Len() < size; i++ {
		fmt.Fprintf(&names, `"k%d":0,`, i)
	}
	for name, c := range map[string]struct {
		body string
		code fault.Code
	}{
		"open brackets":               {fill(`[`), fault.Malformed},
		"open brackets in a field":    {`{"ref":` + fill(`[`), fault.Malformed},
		"open objects in raw":         {`{"anything":` + fill(`{"a":`), fault.Malformed},
		"array over its limit":        {`{"lines":[` + fill(`{},`) + `{}]}`, fault.Malformed},
		"array over its limit, zeros": {`{"lines":[` + fill(`0,`) + `0]}`, fault.Malformed},
		"unknown names":               {`{` + names.String() + `"x":1}`, fault.UnknownField},
		"names in raw":                {`{"anything":{` + names.String() + `"x":1}}`, fault.Invalid},
		"empty arrays in raw":         {`{"anything":[` + fill(`[],`) + `0]}`, fault.Invalid},
		"large value of a wrong kind": {`{"ref":[` + fill(`[],`) + `0]}`, fault.Invalid},
		"large unknown value":         {`{"other":[` + fill(`0,`) + `0]}`, fault.UnknownField},
		"long string":                 {`{"ref":"` + fill(`x`) + `"}`, fault.Invalid},
		"long number":                 {`{"total":` + fill(`9`) + `}`, fault.Invalid},
		"spaces":                      {fill(` `), fault.Malformed},
	} {
		const limit = raceFactor * 10 * time.Millisecond
		best := time.Hour
		for tries := 0; tries < 50 && best >= limit; tries++ {
			start := time.Now()
			_, err := readSample([]byte(c.body))
			best = min(best, time.Since(start))
			require.Equal(t, c.code, fault.CodeOf(err), "%s: %v", name, err)
		}
		require.Less(t, best, limit, name)
	}
}
