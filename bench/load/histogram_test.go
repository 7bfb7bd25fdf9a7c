package load_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/bench/load"
)

func TestHistogramQuantiles(t *testing.T) {
	t.Parallel()
	h := load.NewHistogram()
	for ms := 1; ms <= 1000; ms++ {
		h.Record(time.Duration(ms) * time.Millisecond)
	}
	s := h.Summary()
	require.EqualValues(t, 1000, s.Count)
	require.InEpsilon(t, 500.0, s.P50, 0.001)
	require.InEpsilon(t, 900.0, s.P90, 0.001)
	require.InEpsilon(t, 990.0, s.P99, 0.001)
	require.InEpsilon(t, 999.0, s.P999, 0.001)
	require.InEpsilon(t, 1000.0, s.Max, 0.001)
	require.Len(t, s.Curve, len(load.CurvePercents()))
	require.InEpsilon(t, 750.0, s.Curve[2], 0.001)
}

func TestHistogramKeepsWhatIsOutOfRange(t *testing.T) {
	t.Parallel()
	h := load.NewHistogram()
	h.Record(-time.Second)
	h.Record(0)
	h.Record(time.Hour)
	require.EqualValues(t, 3, h.Count())
	require.InEpsilon(t, float64(time.Minute), float64(h.Quantile(100)), 0.001)
	require.Equal(t, time.Microsecond, h.Quantile(0))
	require.Zero(t, load.NewHistogram().Summary().P99)
}

// TestHistogramsMergeAsOne compares histograms of connections, merged, with one that heard everything.
func TestHistogramsMergeAsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all, merged := load.NewHistogram(), load.NewHistogram()
		for _, part := range rapid.SliceOf(rapid.SliceOf(rapid.Int64Range(1, int64(time.Minute)))).Draw(t, "parts") {
			h := load.NewHistogram()
			for _, d := range part {
				h.Record(time.Duration(d))
				all.Record(time.Duration(d))
			}
			merged.Merge(h)
		}
		require.Equal(t, all.Summary(), merged.Summary())
	})
}

func TestTallyNamesTheMostFrequentFirst(t *testing.T) {
	t.Parallel()
	tally := load.Tally{"status 503 /problems/overloaded": 2, "connection: EOF": 2}
	tally.Merge(load.Tally{"connection: EOF": 1})
	require.Equal(t, "3 x connection: EOF, 2 x status 503 /problems/overloaded", tally.String())
	require.EqualValues(t, 5, tally.Total())
	require.Equal(t, "none", load.Tally{}.String())
}
