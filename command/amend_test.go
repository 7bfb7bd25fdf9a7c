package command

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
)

// patch reads an amendment of the world's order.
func (w *world) patch(t *testing.T, body string) *AmendOrder {
	t.Helper()
	a, err := decodeAmendment([]byte(body))
	require.NoError(t, err)
	return &AmendOrder{onOrder: w.user(), Amendment: *a}
}

func TestAmendedLinesAreOfferedAnew(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.registry.products["demo/C"] = &events.Product{SKU: "C", Tenant: "demo", VendorID: "v-9"}
	from := len(w.log)
	require.NoError(t, w.do(t, w.patch(t, `{"lines":[
		{"line_id":"1","sku":"A","quantity":5,"unit_price":90,"discount":10},{"line_id":"n","sku":"C","quantity":1,"unit_price":7}],"shipping":3,"total":450}`)))
	require.Equal(t, []events.Type{events.TaskCancelled, events.OrderAmended, events.TaskOffered}, w.types(from))
	o := w.order()
	require.Equal(t, int64(450), o.Total)
	require.Len(t, o.Lines, 2)
	require.Equal(t, "v-9", o.Lines[1].VendorID)
	require.Equal(t, events.Quantities{Ordered: 5, Assigned: 5}, o.Lines[0].Quantities)
	require.Equal(t, &events.Withdrawal{Reason: events.WithdrawnAmended}, o.Tasks[0].Cancelled)
	require.Equal(t, events.TaskStatusOffered, o.Tasks[1].Status)
	require.Equal(t, 1, o.Tasks[1].Attempt, "what was taken back was no attempt")
	require.Equal(t, []events.TaskQuantity{{LineID: "1", Quantity: 5}, {LineID: "n", Quantity: 1}}, o.Tasks[1].Owes())
	require.Equal(t, events.OrderRouted, o.Status)
	amended, ok := w.log[from+1].Data.(*events.Amended)
	require.True(t, ok)
	require.Equal(t, []string{events.PartShipping, events.PartLines}, amended.Changed)
	require.Nil(t, amended.Customer, "what did not change of a person is not told again")
}

func TestLinesStayOnceAProviderHasAcceptedThem(t *testing.T) {
	t.Parallel()
	const lines = `{"lines":[{"line_id":"1","sku":"A","quantity":1,"unit_price":100}]}`
	for _, path := range [][]string{{"accept"}, {"accept", "reject"}, {"accept", "expire"}} {
		w := fixed(t)
		steps := map[string]func() Command{"accept": w.accept("acme"), "reject": w.reject("acme"), "expire": w.expire("acme")}
		for _, step := range path {
			w.must(t, steps[step])
		}
		require.Equal(t, fault.OrderState, fault.CodeOf(w.do(t, w.patch(t, lines))), "%v", path)
	}
	w := fixed(t)
	w.must(t, w.reject("acme"))
	require.NoError(t, w.do(t, w.patch(t, lines)), "nobody has accepted anything")
	require.Equal(t, events.TaskStatusOffered, w.task("acme").Status, "who did not want the order as it was is asked again")
}

func TestThoseAtWorkHearOfAnAmendment(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	w.must(t, w.delegate("acme", "wms"))
	from, version := len(w.log), w.task("acme").Version
	require.NoError(t, w.do(t, w.patch(t, `{"customer":{"email":"ada@example.com","address":{"city":"Bern"}},"attributes":{"note":"ring twice"}}`)))
	require.Equal(t, []events.Type{events.OrderAmended, events.TaskAmended, events.TaskAmended}, w.types(from))
	require.Equal(t, "acme", w.log[from+1].Provider)
	require.Equal(t, "store", w.log[from+2].Provider)
	require.Equal(t, version+1, w.task("acme").Version)
	o := w.order()
	require.Equal(t, &events.Customer{Name: "Ada", Email: "ada@example.com", Address: &events.Address{City: "Bern"}}, o.Customer)
	require.JSONEq(t, `{"note":"ring twice"}`, string(o.Attributes))

	require.NoError(t, w.do(t, w.patch(t, `{"customer":{"email":null,"address":{"city":null}},"attributes":{"note":null,"big":9007199254740993}}`)))
	require.Equal(t, &events.Customer{Name: "Ada"}, o.Customer)
	require.Equal(t, `{"big":9007199254740993}`, string(o.Attributes), "no digit is lost")
	require.NoError(t, w.do(t, w.patch(t, `{"customer":null,"attributes":null}`)))
	require.Nil(t, o.Customer)
	require.Nil(t, o.Attributes)
}

func TestSameValuesChangeNothing(t *testing.T) {
	t.Parallel()
	w := fixed(t)
	require.NoError(t, w.do(t, w.patch(t, `{"attributes":{"a":1,"b":{"c":[1,2]}}}`)))
	from := len(w.log)
	for _, body := range []string{
		`{}`, `{"shipping":0,"total":350}`, `{"customer":{"name":"Ada"}}`, `{"attributes":{"b":{"c":[1,2]},"a":1}}`, `{"attributes":{"gone":null}}`,
		`{"lines":[{"line_id":"1","sku":"A","quantity":3,"unit_price":100},{"line_id":"2","sku":"B","quantity":1,"unit_price":50}]}`,
	} {
		require.NoError(t, w.do(t, w.patch(t, body)), body)
		require.Empty(t, w.types(from), body)
	}
}

func TestWrongAmendmentsAreRefused(t *testing.T) {
	t.Parallel()
	for body, pointer := range map[string]string{
		`{"lines":[{"line_id":"1","sku":"Z","quantity":3,"unit_price":100}]}`:                                                         "/lines/0/sku",
		`{"lines":[{"line_id":"1","sku":"A","quantity":3,"unit_price":100},{"line_id":"1","sku":"A","quantity":3,"unit_price":100}]}`: "/lines/1/line_id",
		`{"lines":[{"sku":"A","quantity":3,"unit_price":100}]}`:                                                                       "/lines/0/line_id",
		`{"lines":[]}`:   "/lines",
		`{"lines":null}`: "/lines",
		`{"lines":[{"line_id":"1","sku":"A","quantity":1,"unit_price":1,"discount":2}]}`: "/lines/0/discount",
		`{"total":1}`:                             "/total",
		`{"shipping":9223372036854775807}`:        "/total",
		`{"customer":{"email":"no"}}`:             "/customer/email",
		`{"customer":"Ada"}`:                      "/customer",
		`{"attributes":[]}`:                       "/attributes",
		`{"attributes":{"n":"4111111111111111"}}`: "/attributes",
		`{"currency":"CHF"}`:                      "/currency",
		`{"status":"completed"}`:                  "/status",
	} {
		w := fixed(t)
		a, err := decodeAmendment([]byte(body))
		if err == nil {
			err = w.do(t, &AmendOrder{onOrder: w.user(), Amendment: *a})
		}
		require.Equal(t, fault.Invalid, fault.CodeOf(err), "%s: %v", body, err)
		var e *fault.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, pointer, e.Fields[0].Pointer, body)
	}
	w := fixed(t)
	require.Equal(t, fault.UnknownField, fault.CodeOf(w.do(t, w.patch(t, `{"customer":{"nick":"A"}}`))))
	_, err := decodeAmendment([]byte(`{"colour":"red"}`))
	require.Equal(t, fault.UnknownField, fault.CodeOf(err))
	w.must(t, w.cancel)
	require.Equal(t, fault.OrderState, fault.CodeOf(w.do(t, w.patch(t, `{"shipping":1}`))), "an order at its end stays as it is")
}

func TestMergePatch(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{ // RFC 7396, appendix A
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		merged, err := mergePatch([]byte(c[0]), []byte(c[1]))
		require.NoError(t, err)
		require.Equal(t, c[2], string(merged), "%s with %s", c[0], c[1])
	}
}
