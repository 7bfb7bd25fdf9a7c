package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Operation does the n-th piece of work. It returns the reason for which it went wrong, empty when it went well. due is when it should
// have begun: at once in a closed loop.
type Operation func(ctx context.Context, n int64, due time.Time) string

// Phases are the parts of a run. What ends in the warm-up is not counted.
type Phases struct {
	// Start is when the warm-up begins; the zero time: with the loop.
	Start   time.Time
	Warm    time.Duration
	Measure time.Duration
	// Limit ends a closed loop after so many operations, before its time is over; 0: none.
	Limit int64
	// Measuring is called once, when the warm-up is over, if it is set.
	Measuring func()
}

func (p *Phases) begin() time.Time {
	if p.Start.IsZero() {
		return time.Now()
	}
	return p.Start
}

// Outcome is what a loop counted after its warm-up.
type Outcome struct {
	Done      int64 // went well
	Began     time.Time
	Took      time.Duration
	Latency   *Histogram
	Errors    Tally
	WarmTally Tally // what went wrong in the warm-up, where it is no less a fault
	Late      int64 // open loop: operations that began more than a millisecond after they were due
	Sent      int64 // all operations, those of the warm-up too
}

// Rate is how many operations went well each second.
func (o *Outcome) Rate() float64 { return float64(o.Done) / o.Took.Seconds() }

// counter is what one goroutine counts.
type counter struct {
	done    int64
	latency *Histogram
	errors  Tally
	warm    Tally
}

func newCounter() *counter { return &counter{latency: NewHistogram(), errors: Tally{}, warm: Tally{}} }

func (c *counter) count(reason string, took time.Duration, measured bool) {
	switch {
	case !measured && reason != "":
		c.warm.Add(reason)
	case !measured:
	case reason != "":
		c.errors.Add(reason)
	default:
		c.done++
		c.latency.Record(took)
	}
}

func (o *Outcome) add(c *counter) {
	o.Done += c.done
	o.Latency.Merge(c.latency)
	o.Errors.Merge(c.errors)
	o.WarmTally.Merge(c.warm)
}

func newOutcome() *Outcome {
	return &Outcome{Latency: NewHistogram(), Errors: Tally{}, WarmTally: Tally{}}
}

// Closed runs an operation from so many connections, each beginning its next one when the one before has ended. make gives each
// connection its operation. Operations that end between the warm-up's end and the run's are counted.
func Closed(ctx context.Context, connections int, phases Phases, numbers *atomic.Int64, operation func() Operation) *Outcome {
	out := newOutcome()
	from := phases.begin().Add(phases.Warm)
	to := from.Add(phases.Measure)
	out.Began = from
	first := numbers.Load()
	stopped := announce(ctx, phases, from)
	defer stopped()
	counters := make([]*counter, connections)
	var workers sync.WaitGroup
	for i := range counters {
		c := newCounter()
		counters[i] = c
		do := operation()
		workers.Go(func() {
			for answered := time.Now(); answered.Before(to) && ctx.Err() == nil; {
				began := answered
				n := numbers.Add(1)
				if phases.Limit > 0 && n > first+phases.Limit {
					return
				}
				reason := do(ctx, n, began)
				answered = time.Now()
				if answered.Before(to) {
					c.count(reason, answered.Sub(began), !answered.Before(from))
				}
			}
		})
	}
	workers.Wait()
	out.Took = min(time.Since(from), phases.Measure)
	if out.Sent = numbers.Load() - first; phases.Limit > 0 {
		out.Sent = min(out.Sent, phases.Limit)
	}
	for _, c := range counters {
		out.add(c)
	}
	return out
}

// announce calls Measuring at the end of the warm-up. The returned function waits until it has.
func announce(ctx context.Context, phases Phases, from time.Time) func() {
	if phases.Measuring == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		timer := time.NewTimer(time.Until(from))
		defer timer.Stop()
		select {
		case <-timer.C:
			phases.Measuring()
		case <-ctx.Done():
		}
	}()
	return func() { <-done }
}
