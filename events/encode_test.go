package events

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestEncodersWriteWhatEncodingJSONWrites fills every field of the types, of any depth, with values that are hard to write, and
// compares. A field that was added to a type and not to its encoder differs.
func TestEncodersWriteWhatEncodingJSONWrites(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // any order of values will do
	f := filler{rnd}
	for range 3000 {
		for _, kind := range Types() {
			s, known := schemaOf(kind)
			require.True(t, known)
			data := s.empty()
			f.fill(reflect.ValueOf(data).Elem())
			var e Event
			f.fill(reflect.ValueOf(&e).Elem())
			e.Data = data
			same(t, &e, e.Encode)
		}
		var o Order
		f.fill(reflect.ValueOf(&o).Elem())
		same(t, &o, o.Encode)
		for i := range o.Tasks {
			same(t, &o.Tasks[i], o.Tasks[i].Encode)
		}
	}
}

func same(t *testing.T, v any, encode func() ([]byte, error)) {
	t.Helper()
	want, err := json.Marshal(v)
	require.NoError(t, err)
	got, err := encode()
	require.NoError(t, err)
	if string(got) != string(want) {
		require.Equal(t, string(want), string(got))
	}
}

// filler fills values by reflection: each field is empty at times.
type filler struct{ rnd *rand.Rand }

var hardTexts = []string{ //nolint:gochecknoglobals // test data
	"", "plain", "with \"quotes\" and \\", "<a href>&amp;", "Zürich", "東京都", "العربية", "emoji 🛒", "line\u2028sep\u2029", "\x00\x1f\x7f",
	"broken \xff utf8", "cut \xe6\x9d", "\xc3", "ok\xc3\xa9\xa9", "\xed\xa0\x80", "\u00a0nbsp", "tab\tnewline\n", "\ue000 private", "\uffff", "\ufffd",
}

var hardJSON = []string{`{}`, `{"a":1}`, `{"a": [1, 2 ]}`, `{"k":"<&>"}`, `{"ü":"東京"}`, `{"s":"\u2028"}`, `null`} //nolint:gochecknoglobals // test data

func (f filler) fill(v reflect.Value) {
	empty := f.rnd.IntN(4) == 0
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		if !empty {
			*at = time.UnixMicro(f.rnd.Int64N(4e15)).UTC()
		}
		return
	case *json.RawMessage:
		if !empty {
			*at = json.RawMessage(hardJSON[f.rnd.IntN(len(hardJSON))])
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat(hardTexts[f.rnd.IntN(len(hardTexts))], 1+f.rnd.IntN(2)))
	case reflect.Int, reflect.Int64:
		if !empty {
			v.SetInt(f.rnd.Int64() - f.rnd.Int64())
		}
	case reflect.Float64:
		v.SetFloat([]float64{0, 0.25, 1e-7, 1e-6, 1e20, 1e21, f.rnd.Float64()}[f.rnd.IntN(7)])
	case reflect.Bool:
		v.SetBool(!empty)
	case reflect.Pointer:
		if !empty {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem())
		}
	case reflect.Slice:
		if !empty {
			v.Set(reflect.MakeSlice(v.Type(), f.rnd.IntN(4), 4))
			for i := range v.Len() {
				f.fill(v.Index(i))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Interface:
	default:
		panic("no values for " + v.Type().String())
	}
}
