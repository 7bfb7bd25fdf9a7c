package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// late is how far behind its time an operation may begin before the generator itself counts as behind.
const late = time.Millisecond

type arrival struct {
	n   int64
	due time.Time
}

// Open begins an operation at a fixed rate, whatever became of those before, and counts its time from when it was due. So an answer that
// is late because the one before was late counts as late, and a stall is seen by all that it would have kept waiting. A closed loop would
// leave them out ("coordinated omission": Gil Tene, How NOT to Measure Latency, and the README of HdrHistogram). At most slots operations
// are under way; one that finds none free waits, and its wait counts too.
func Open(ctx context.Context, rate, slots int, phases Phases, numbers *atomic.Int64, operation func() Operation) *Outcome {
	out := newOutcome()
	interval := time.Second / time.Duration(rate)
	total := int64((phases.Warm + phases.Measure) / interval)
	// Room for all of them: the schedule never waits for a slot.
	arrivals := make(chan arrival, total)
	begin := phases.begin()
	out.Began = begin.Add(phases.Warm)
	stopped := announce(ctx, phases, out.Began)
	defer stopped()
	counters := make([]*counter, slots)
	var workers sync.WaitGroup
	var behind atomic.Int64
	for i := range counters {
		c := newCounter()
		counters[i] = c
		do := operation()
		workers.Go(func() {
			for a := range arrivals {
				measured := !a.due.Before(out.Began)
				if measured && time.Since(a.due) > late {
					behind.Add(1)
				}
				reason := do(ctx, a.n, a.due)
				c.count(reason, time.Since(a.due), measured)
			}
		})
	}
	keepPace(ctx, begin, interval, total, func(due time.Time) { arrivals <- arrival{numbers.Add(1), due} })
	close(arrivals)
	workers.Wait()
	out.Took, out.Sent, out.Late = phases.Measure, total, behind.Load()
	for _, c := range counters {
		out.add(c)
	}
	return out
}

// keepPace calls begin for each time that is due.
func keepPace(ctx context.Context, from time.Time, interval time.Duration, total int64, begin func(due time.Time)) {
	release := precise()
	defer release()
	for n := range total {
		due := from.Add(time.Duration(n) * interval)
		if wait := time.Until(due); wait > 0 {
			pause(ctx, wait)
		}
		if ctx.Err() != nil {
			return
		}
		begin(due)
	}
}

// pauseOnTimer waits, or until the context ends.
func pauseOnTimer(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
