package load_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
)

// TestOpenLoopCountsFromWhenItWasDue stalls a single slot once. All that were due meanwhile have to count their wait, although each of
// them took no time itself.
func TestOpenLoopCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	const stall = 300 * time.Millisecond
	var itself atomic.Int64 // the time within the operations after the stall
	got := load.Open(t.Context(), 100, 1, load.Phases{Measure: time.Second}, &atomic.Int64{}, func() load.Operation {
		return func(_ context.Context, n int64, _ time.Time) string {
			began := time.Now()
			if n == 10 {
				<-time.After(stall)
			}
			if n > 10 {
				itself.Add(int64(time.Since(began)))
			}
			return ""
		}
	})
	require.EqualValues(t, 100, got.Done)
	// 30 orders were due while one stood still: they waited 290, 280, … ms.
	require.Greater(t, got.Latency.Quantile(75), 20*time.Millisecond)
	require.Greater(t, got.Latency.Quantile(90), 150*time.Millisecond)
	require.Less(t, time.Duration(itself.Load()), 100*time.Millisecond, "the operations themselves were quick")
	require.GreaterOrEqual(t, got.Late, int64(25))
}

func TestWarmUpIsNotCounted(t *testing.T) {
	t.Parallel()
	for name, loop := range map[string]func(load.Phases, func() load.Operation) *load.Outcome{
		"open": func(p load.Phases, op func() load.Operation) *load.Outcome {
			return load.Open(t.Context(), 200, 4, p, &atomic.Int64{}, op)
		},
		"closed": func(p load.Phases, op func() load.Operation) *load.Outcome {
			return load.Closed(t.Context(), 4, p, &atomic.Int64{}, op)
		},
	} {
		start := time.Now()
		warmEnds := start.Add(200 * time.Millisecond)
		var measuring atomic.Bool
		phases := load.Phases{Start: start, Warm: 200 * time.Millisecond, Measure: 200 * time.Millisecond, Measuring: func() { measuring.Store(true) }}
		got := loop(phases, func() load.Operation {
			return func(ctx context.Context, _ int64, due time.Time) string {
				select { // a closed loop must not spin
				case <-time.After(2 * time.Millisecond):
				case <-ctx.Done():
				}
				if due.Before(warmEnds.Add(-20 * time.Millisecond)) {
					return "early"
				}
				return ""
			}
		})
		require.True(t, measuring.Load(), name)
		require.Positive(t, got.Done, name)
		require.Empty(t, got.Errors, "%s: what goes wrong in the warm-up is told apart", name)
		require.Positive(t, got.WarmTally["early"], name)
		require.Equal(t, 200*time.Millisecond, got.Took, name)
		require.Greater(t, got.Sent, got.Done, name)
	}
}

func TestClosedLoopEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	got := load.Closed(t.Context(), 8, load.Phases{Measure: time.Minute, Limit: 1001}, &atomic.Int64{}, func() load.Operation {
		return func(_ context.Context, n int64, _ time.Time) string {
			ran.Add(1)
			if n%100 == 0 {
				return "every hundredth"
			}
			return ""
		}
	})
	require.EqualValues(t, 1001, ran.Load())
	require.EqualValues(t, 1001, got.Sent)
	require.EqualValues(t, 991, got.Done)
	require.Equal(t, load.Tally{"every hundredth": 10}, got.Errors)
	require.EqualValues(t, 991, got.Latency.Count())
	require.Less(t, got.Took, time.Minute)
}

func TestLoopsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	op := func() load.Operation {
		return func(_ context.Context, n int64, _ time.Time) string {
			if n == 5 {
				cancel()
			}
			return ""
		}
	}
	load.Open(ctx, 100, 1, load.Phases{Measure: time.Hour / 60}, &atomic.Int64{}, op)
	load.Closed(ctx, 2, load.Phases{Measure: time.Hour / 60}, &atomic.Int64{}, op)
	require.Less(t, time.Since(began), 30*time.Second)
}
