package events

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReaderReadsWhatEncodingJSONReads compares the two on arbitrary events.
func TestReaderReadsWhatEncodingJSONReads(t *testing.T) {
	t.Parallel()
	f := filler{rand.New(rand.NewPCG(5, 6))} //nolint:gosec // any order of values will do
	read := map[Type]int{}
	for range 2000 {
		for _, kind := range Types() {
			s, _ := schemaOf(kind)
			var e Event
			f.fill(reflect.ValueOf(&e).Elem())
			data := s.empty()
			f.fill(reflect.ValueOf(data).Elem())
			e.Type, e.Version, e.Data, e.Position = kind, s.version, data, 7
			body, err := e.Encode()
			require.NoError(t, err)
			got, ok := readEvent(body, kind, s.version)
			if !ok {
				continue
			}
			read[kind]++
			want, ok := decodeAny(body, kind, s)
			require.True(t, ok)
			require.Equal(t, want, got, string(body))
		}
	}
	for _, kind := range []Type{OrderPlaced, TaskOffered, TaskAccepted, TaskResultPosted} {
		require.Greater(t, read[kind], 1000, "%s is left to encoding/json", kind)
	}
}

func FuzzReaderIsEncodingJSON(f *testing.F) {
	for _, e := range samples() {
		body, err := e.Encode()
		require.NoError(f, err)
		f.Add(body)
		f.Add(bytes.ReplaceAll(body, []byte(`e`), []byte(`\u0065`)))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kind := typeOf(body)
		s, known := schemaOf(kind)
		if !known {
			return
		}
		sameHeader(t, body)
		got, ok := readEvent(body, kind, s.version)
		if !ok {
			return
		}
		want := Event{Data: s.empty()}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("read %q, which encoding/json refuses: %v", body, err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("read %q as\n%#v, encoding/json as\n%#v", body, got, want)
		}
	})
}

func sameHeader(t *testing.T, body []byte) {
	t.Helper()
	got, data, ok := readHeader(body)
	if !ok {
		return
	}
	var want envelope
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatalf("read the header of %q, which encoding/json refuses: %v", body, err)
	}
	if !reflect.DeepEqual(want.Event, got) || !bytes.Equal(want.Data, data) {
		t.Fatalf("read the header of %q as\n%#v %s, encoding/json as\n%#v %s", body, got, data, want.Event, want.Data)
	}
}
