package events

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parked is the payload of a type that has had three forms: {"place":"A 7"}, then {"row":"A","bay":"7"}, then {"row":"A","bay":7}.
type parked struct {
	Row string `json:"row"`
	Bay int    `json:"bay"`
}

var errNoPlace = errors.New("no place")

func parkedSchema() schema {
	return of[parked](
		func(payload json.RawMessage) (json.RawMessage, error) {
			var first struct{ Place string }
			if err := json.Unmarshal(payload, &first); err != nil {
				return nil, err
			}
			row, bay, ok := strings.Cut(first.Place, " ")
			if !ok {
				return nil, errNoPlace
			}
			return json.Marshal(map[string]string{"row": row, "bay": bay})
		},
		func(payload json.RawMessage) (json.RawMessage, error) {
			var second struct{ Row, Bay string }
			if err := json.Unmarshal(payload, &second); err != nil {
				return nil, err
			}
			bay, err := strconv.Atoi(second.Bay)
			if err != nil {
				return nil, err
			}
			return json.Marshal(parked{Row: second.Row, Bay: bay})
		},
	)
}

func decodeParked(version, payload string) (Event, error) {
	body := `{"cell":1,"type":"car.parked","version":` + version + `,"time":"2026-01-31T12:00:00Z","tenant":"demo","data":` + payload + `}`
	return decode(7, []byte(body), func(t Type) (schema, bool) {
		if t == "car.parked" {
			return parkedSchema(), true
		}
		return schemaOf(t)
	})
}

func TestOldVersionsAreUpcastOnRead(t *testing.T) {
	t.Parallel()
	for version, payload := range map[string]string{
		"1": `{"place":"A 7"}`, "2": `{"row":"A","bay":"7"}`, "3": `{"row":"A","bay":7}`,
	} {
		e, err := decodeParked(version, payload)
		require.NoError(t, err, version)
		require.Equal(t, &parked{Row: "A", Bay: 7}, e.Data, version)
		require.EqualValues(t, 7, e.Position)
		require.Equal(t, "demo", e.Tenant)
	}
	_, err := decodeParked("1", `{"place":"nowhere"}`)
	require.ErrorIs(t, err, errNoPlace)
	require.NotErrorIs(t, err, ErrUnknown)
	for _, version := range []string{"0", "4", "-1"} {
		e, err := decodeParked(version, `{"row":"A","bay":7}`)
		require.ErrorIs(t, err, ErrUnknown, version)
		require.Equal(t, Type("car.parked"), e.Type, "the header can be read")
		require.Nil(t, e.Data)
	}
}

func TestEachTypeCanBeReadFromItsFirstVersion(t *testing.T) {
	t.Parallel()
	for _, kind := range Types() {
		s, ok := schemaOf(kind)
		require.True(t, ok, kind)
		require.Len(t, s.upcasts, s.version-1, kind)
	}
}
