package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
)

// TestEveryPeerIsMeasured runs each for half a second on a real Postgres and broker.
func TestEveryPeerIsMeasured(t *testing.T) {
	t.Parallel()
	b := &bench{
		connections: 8, drain: 20 * time.Second, seed: 1, phases: load.Phases{Warm: 500 * time.Millisecond, Measure: 500 * time.Millisecond},
	}
	var out bytes.Buffer
	runs, err := b.all(t.Context(), names(), &out)
	require.NoError(t, err)
	require.Len(t, runs, len(peers()))
	for _, run := range runs {
		require.Positive(t, run.Stored, run.Name)
		require.Positive(t, run.Rate+run.Events, run.Name)
		require.Empty(t, run.Errors, run.Name)
		for name, n := range run.Faults {
			if name == "out of order" { // River promises none
				continue
			}
			require.Zero(t, n, "%s: %s", run.Name, name)
		}
	}
	for _, run := range runs[2:] {
		require.GreaterOrEqual(t, run.Level, 0.0, "%s: everything arrived", run.Name)
		require.Len(t, run.Stages, 2, run.Name)
	}

	_, err = b.all(t.Context(), []string{"nobody"}, &out)
	require.ErrorContains(t, err, "there is no peer nobody")
}

func TestArrivalsTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := newArrivals()
	a.begin(load.Phases{Measure: time.Minute})
	var s stored
	for n := int64(1); n <= 5; n++ {
		s.add(n)
	}
	now := time.Now().UnixNano()
	for _, m := range []mark{{1, 1, now}, {4, 1, now}, {2, 1, now}, {3, 2, now}, {4, 1, now}} {
		a.note(m)
	}
	require.EqualValues(t, 1, a.missing(&s), "5 never came")
	require.EqualValues(t, 1, a.duplicates, "4 came twice")
	require.EqualValues(t, 1, a.disordered, "2 came after 4 of its connection; 3 is another's")
	require.EqualValues(t, 4, a.count())
	require.EqualValues(t, 4, a.inWindow)
}
