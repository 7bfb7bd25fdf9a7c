package broadcast

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// FuzzSubscriptionBodies: what parties say of a subscription is refused in a good form, or means the same however it is spaced; and what
// it filters by is something that there is.
func FuzzSubscriptionBodies(f *testing.F) {
	for _, seed := range []string{
		`{"transport":"feed","name":"x","types":["order.*","task.offered"],"business_types":["hotel"],"start":"now"}`,
		`{"transport":"webhook","url":"https://example.com/hook","after":7}`, `{"transport":"nats","since":"2026-01-31T12:00:00Z"}`,
		`{"after":7}`, `{"position":9}`, `{"overlap":"1h"}`, `{"overlap":60}`, `{"dead_letters":true,"dry_run":true}`, `{"from_position":1,"to_position":9}`,
		`{"from_time":"2026-01-31T12:00:00Z"}`, `{"order_id":"o"}`, `{"types":["*"]}`, `{"id":"x"}`, `{}`,
	} {
		for which := range 6 {
			f.Add(byte(which), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		first, err := readAny(which, body)
		if err != nil {
			status, problem := httpapi.ProblemOf(err)
			require.True(t, status >= 400 && status < 500, "%v", err)
			require.True(t, jsontext.Value(problem).IsValid())
			require.NotEqual(t, fault.Internal, fault.CodeOf(err))
			return
		}
		if len(body) == 0 {
			return // a rotation may be left out
		}
		spaced := jsontext.Value(append([]byte(nil), body...))
		require.NoError(t, spaced.Indent(jsontext.PreserveRawStrings(true)))
		second, err := readAny(which, spaced)
		require.NoError(t, err)
		require.Equal(t, first, second)
		if s, ok := first.(Subscription); ok {
			wantsSomething(t, s)
		}
	})
}

func readAny(which byte, body []byte) (any, error) {
	switch which % 6 {
	case 0, 1:
		s := Subscription{Transport: TransportFeed, Settings: []byte("{}")}
		_, err := readSubscription(body, &s, which%6 == 0)
		return s, err
	case 2:
		return readSeek(body)
	case 3:
		return readAck(body)
	case 4:
		return readRotation(body)
	}
	return readReplay(body)
}

func wantsSomething(t *testing.T, s Subscription) {
	t.Helper()
	for _, want := range s.Filter.Types {
		matched := false
		for _, kind := range events.Types() {
			matched = matched || Filter{Types: []string{want}}.Matches(kind, "")
		}
		require.True(t, matched, "%q matches no type", want)
	}
	for _, name := range s.Filter.BusinessTypes {
		require.True(t, httpapi.ValidName(name), "%q", name)
	}
}
