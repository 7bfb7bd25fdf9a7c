package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

type fanout struct {
	session
	transport     string
	listeners     int
	kinds         int
	hang          int
	rate          int
	warm, measure time.Duration
}

func fanoutCommand() *cobra.Command {
	o := &fanout{}
	cmd := &cobra.Command{
		Use:   "fanout",
		Short: "How long until all of many listeners have heard of an order: by SSE, by watching a list, by long polls of the feed, or by webhook",
		Long: `Opens many listeners of one tenant, submits orders at a fixed rate (open loop), and counts for each listener and each order
it is to hear of how long that took since the order was due to be sent. With --kinds K the orders are of K kinds of work, and listener
n hears of kind n modulo K alone: each order then matches listeners/K of them. With --hang N the first N webhook receivers never
answer; the others are counted. What a listener does not hear of, or hears out of its order, makes the run fail.

Nobody serves the orders: each is one event.`,
		Example: "  orderbench fanout --start --transport sse --listeners 2000 --rate 10\n" +
			"  orderbench fanout --start --transport webhook --listeners 1000 --kinds 100 --rate 200",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.execute(cmd, o.run) },
	}
	o.runFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.transport, "transport", "sse", "sse, watch (a list of orders), feed or webhook")
	flags.IntVar(&o.listeners, "listeners", 2000, "listeners")
	flags.IntVar(&o.kinds, "kinds", 1, "kinds of work among the orders; a listener hears of one of them")
	flags.IntVar(&o.hang, "hang", 0, "webhook receivers that take requests and never answer")
	flags.IntVar(&o.rate, "rate", 10, "orders a second")
	flags.DurationVar(&o.warm, "warm", 3*time.Second, "how long to submit before counting")
	flags.DurationVar(&o.measure, "for", 15*time.Second, "how long to count")
	return cmd
}

// audience is many listeners and what they heard.
type audience struct {
	o      *fanout
	kinds  []string
	due    sync.Map // time.Time by position
	of     sync.Map // kind's number by position
	heard  []earful // by listener
	failed atomic.Pointer[error]
}

// earful is what one listener heard.
type earful struct {
	mu        sync.Mutex
	positions []int64
	times     []time.Time
}

func (a *audience) hear(listener int, position int64, at time.Time) {
	e := &a.heard[listener]
	e.mu.Lock()
	defer e.mu.Unlock()
	e.positions, e.times = append(e.positions, position), append(e.times, at)
}

func (a *audience) fail(err error) {
	if err != nil {
		a.failed.CompareAndSwap(nil, &err)
	}
}

func (o *fanout) run(ctx context.Context, t *target) (*report.Run, error) {
	if o.kinds < 1 || o.listeners < 1 || o.rate < 1 {
		return nil, fmt.Errorf("%d listeners, %d kinds, %d orders a second: all have to be at least 1", o.listeners, o.kinds, o.rate)
	}
	a := &audience{o: o, heard: make([]earful, o.listeners)}
	reference := t.reference()
	for n := range o.kinds {
		a.kinds = append(a.kinds, fmt.Sprintf("unserved-%03d", n))
	}
	meter, err := t.metered()
	if err != nil {
		return nil, err
	}
	before, err := meter.meter.Resident()
	if err != nil {
		return nil, err
	}
	listening, stop, err := a.listen(ctx, t)
	if err != nil {
		return nil, err
	}
	defer stop()
	waiting, err := meter.meter.Resident()
	if err != nil {
		return nil, err
	}
	sender, err := t.sender(openSlots)
	if err != nil {
		return nil, err
	}
	phases := load.Phases{Warm: o.warm, Measure: o.measure, Measuring: meter.restart, Start: time.Now()}
	got := load.Open(listening, o.rate, openSlots, phases, &atomic.Int64{}, a.submissions(sender, reference, phases.Start.Add(o.warm)))
	if err := meter.settle(ctx, &report.Run{}); err != nil {
		return nil, err
	}
	run := report.FromOutcome(o.name(), got, "due -> answer")
	if err := a.arrived(ctx); err != nil {
		return nil, err
	}
	a.report(run)
	run.Notes = append(run.Notes, fmt.Sprintf("service resident: %d MiB before, %d MiB with %d listeners waiting", before>>20, waiting>>20, o.listeners))
	return run, meter.settle(ctx, run)
}

func (o *fanout) name() string {
	name := fmt.Sprintf("%d listeners by %s, %d orders/s, each for %d of them", o.listeners, o.transport, o.rate, o.listeners/o.kinds)
	if o.hang > 0 {
		name += fmt.Sprintf(", %d receivers hang", o.hang)
	}
	return name
}

// submissions sends orders of one kind after the other.
func (a *audience) submissions(sender *load.Sender, reference string, from time.Time) func() load.Operation {
	mixes := make([]*load.Mix, len(a.kinds))
	for i, kind := range a.kinds {
		mixes[i] = load.NewMix(a.o.seed, reference, kind)
	}
	return func() load.Operation {
		slot := sender.Slot()
		draws := make([]*load.Draw, len(mixes))
		return func(_ context.Context, n int64, due time.Time) string {
			kind := int(n % int64(len(mixes)))
			if draws[kind] == nil {
				draws[kind] = mixes[kind].Draw()
			}
			slot.Body = draws[kind].Append(slot.Body[:0], n)
			if reason := slot.Post(); reason != "" {
				return reason
			}
			if !due.Before(from) {
				a.of.Store(slot.Position(), kind)
				a.due.Store(slot.Position(), due)
			}
			return ""
		}
	}
}

// counted says whether a listener is one whose hearing counts.
func (a *audience) counted(listener int) bool {
	return a.o.transport != "webhook" || listener >= a.o.hang
}

// arrived waits until each listener has heard of all that it is to hear of, or for arrivalWithin.
func (a *audience) arrived(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	over := time.NewTimer(arrivalWithin)
	defer over.Stop()
	for a.unheard() > 0 {
		if failed := a.failed.Load(); failed != nil {
			return fmt.Errorf("listen: %w", *failed)
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// expected is how many of the counted orders are of each kind.
func (a *audience) expected() []int {
	n := make([]int, a.o.kinds)
	a.of.Range(func(_, kind any) bool {
		if k, ok := kind.(int); ok {
			n[k]++
		}
		return true
	})
	return n
}

func (a *audience) unheard() int64 {
	expected := a.expected()
	var missing int64
	for n := range a.heard {
		if !a.counted(n) {
			continue
		}
		seen := map[int64]bool{}
		e := &a.heard[n]
		e.mu.Lock()
		for _, position := range e.positions {
			if _, ok := a.due.Load(position); ok {
				seen[position] = true
			}
		}
		e.mu.Unlock()
		missing += int64(expected[n%a.o.kinds] - len(seen))
	}
	return missing
}

func (a *audience) report(run *report.Run) {
	h := load.NewHistogram()
	var twice, disordered int64
	for n := range a.heard {
		if !a.counted(n) {
			continue
		}
		seen, last := map[int64]bool{}, int64(0)
		for i, position := range a.heard[n].positions {
			if seen[position] {
				twice++
				continue
			}
			seen[position] = true
			if position < last && a.o.transport != "webhook" { // a webhook is in order per order, and each of these is one
				disordered++
			}
			last = max(last, position)
			if due, ok := a.due.Load(position); ok {
				if d, ok := due.(time.Time); ok {
					h.Record(a.heard[n].times[i].Sub(d))
				}
			}
		}
	}
	run.Stages = append(run.Stages, report.Stage{Name: "due -> heard, each listener", Latency: h.Summary()})
	run.Events = float64(h.Count()) / a.o.measure.Seconds()
	run.Notes = append(run.Notes, fmt.Sprintf("%d heard twice", twice))
	run.Faults = map[string]int64{"not heard of": a.unheard(), "out of order": disordered}
}
