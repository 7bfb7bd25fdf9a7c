package simulation_test

import (
	"flag"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/cmd/orderstore/simulation"
)

//nolint:gochecknoglobals // the command line
var (
	oneSeed = flag.Uint64("seed", 0, "run this seed alone")
	seeds   = flag.Uint64("seeds", 300, "how many seeds are run, from 1 on")
)

// caughtWithin is how many seeds it takes at most to see that something is left out.
const caughtWithin = 300

// again says how a run is made again.
const again = "seed %d: %v\n\tgo test ./cmd/orderstore/simulation -run TestSimulation -seed %d"

// runIn makes one run in a bubble of its own.
func runIn(t *testing.T, seed uint64, broken simulation.Break) (r simulation.Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { r = simulation.Run(t.Context(), seed, broken) })
	return r
}

// Whatever fails and whenever: what was acknowledged is in the log once, the stream is the log, views are its fold, and nothing lags in the end.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if *oneSeed > 0 {
		r := runIn(t, *oneSeed, "")
		t.Logf("%+v", r)
		require.NoError(t, r.Broken, again, *oneSeed, r.Broken, *oneSeed)
		return
	}
	var next atomic.Uint64
	var calls, faults, orders atomic.Int64
	began := time.Now()
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				for seed := next.Add(1); seed <= *seeds && !t.Failed(); seed = next.Add(1) {
					r := runIn(t, seed, "")
					calls.Add(r.Calls)
					faults.Add(r.Faults)
					orders.Add(int64(r.Orders))
					if r.Broken != nil {
						t.Errorf(again, seed, r.Broken, seed)
					}
				}
			})
		}
	})
	took := time.Since(began)
	t.Logf("%d seeds in %s: %.0f seeds/s; %d calls, %d failed, %d commands acknowledged", *seeds, took.Round(time.Millisecond),
		float64(*seeds)/took.Seconds(), calls.Load(), faults.Load(), orders.Load())
	require.Positive(t, faults.Load(), "a run without faults shows nothing")
	require.Positive(t, orders.Load())
}

// The same seed is the same run.
func TestSeedsAreRunAgainTheSame(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 40; seed++ {
		first, second := runIn(t, seed, ""), runIn(t, seed, "")
		require.Equal(t, first, second, "seed %d", seed)
	}
}

// The checks notice what is left out, each by what it breaks.
func TestWhatIsBrokenIsCaught(t *testing.T) {
	t.Parallel()
	for broken, by := range map[simulation.Break]string{
		simulation.BreakExpectation:       "is not log row",
		simulation.BreakCompareAndSet:     "was appended behind",
		simulation.BreakUnique:            "is in the log twice",
		simulation.BreakCheckpointFirst:   "and is given",
		simulation.BreakViewCompareAndSet: "and is given",
		simulation.BreakCheckpointApart:   "and is given",
		simulation.BreakSkip:              "timeline of",
		simulation.BreakAcknowledgeFirst:  "was acknowledged",
		simulation.BreakBytes:             "is not log row",
		simulation.BreakStaleHead:         "does not follow",
	} {
		t.Run(string(broken), func(t *testing.T) {
			t.Parallel()
			var caught error
			seed := uint64(0)
			for caught == nil && seed < caughtWithin {
				seed++
				caught = runIn(t, seed, broken).Broken
			}
			require.ErrorContains(t, caught, by, "in %d seeds", seed)
			t.Logf("seed %d: %v", seed, caught)
		})
	}
}
