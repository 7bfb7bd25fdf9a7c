package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

const (
	// arrivalWithin is how long after the last submit a notice may still come.
	arrivalWithin = 10 * time.Second
	pullers       = 32
)

func latencyCommand() *cobra.Command {
	var data string
	var rate int
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "Submit at a fixed rate and measure until a provider has heard, pulled and seen each order",
		Long: `Submits orders at a fixed rate (open loop: the next one does not wait for the one before) and follows the provider's event
stream. For each order it measures, from the moment it should have been sent: the answer to the submit; and from that answer: the
notice at the provider, and the end of the provider's pull of the order at the announced position.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l := &latency{rate: rate, duration: duration, answered: newHistogram(), noticed: newHistogram(), seen: newHistogram()}
			return l.run(cmd.Context(), data)
		},
	}
	cmd.Flags().StringVar(&data, "data", ".data", "folder of a running development instance")
	cmd.Flags().IntVar(&rate, "rate", 300, "orders a second")
	cmd.Flags().DurationVar(&duration, "for", 30*time.Second, "how long to submit")
	return cmd
}

// newHistogram records 1 µs to 60 s with three digits.
func newHistogram() *histogram { return &histogram{h: hdrhistogram.New(1, 60_000_000, 3)} }

type histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func (h *histogram) record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.h.RecordValue(max(d.Microseconds(), 1)) // beyond a minute the run has failed anyway
}

func (h *histogram) String() string {
	ms := func(q float64) float64 { return float64(h.h.ValueAtQuantile(q)) / 1000 }
	return fmt.Sprintf("p50 %7.2f ms  p90 %7.2f ms  p99 %7.2f ms  max %7.2f ms  (%d)", ms(50), ms(90), ms(99), ms(100), h.h.TotalCount())
}

type latency struct {
	rate     int
	duration time.Duration
	parties  *parties

	answers  sync.Map // order id -> time of the answer to its submit, or a channel that waits for it
	pending  atomic.Int64
	failures atomic.Int64
	stale    atomic.Int64
	answered *histogram
	noticed  *histogram
	seen     *histogram
}

func (l *latency) run(ctx context.Context, data string) error {
	var err error
	if l.parties, err = connect(ctx, data); err != nil {
		return err
	}
	lag, err := l.parties.operator.Lag(ctx)
	if err != nil {
		return err
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	var listeners sync.WaitGroup
	listeners.Go(func() { l.listen(listening, lag.Log) })
	l.submitAll(ctx)
	l.awaitArrivals(ctx)
	stop()
	listeners.Wait()
	return l.report()
}

// submitAll starts each order at its own time, whatever became of the one before.
func (l *latency) submitAll(ctx context.Context) {
	made := newOrders()
	total := int(float64(l.rate) * l.duration.Seconds())
	begin := time.Now()
	var sent sync.WaitGroup
	for n := range total {
		due := begin.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		l.pending.Add(1)
		sent.Go(func() { l.submit(ctx, made.make(n), due) })
	}
	sent.Wait()
}

func (l *latency) submit(ctx context.Context, order client.OrderSubmission, due time.Time) {
	stored, err := l.parties.user.SubmitOrder(ctx, order)
	at := time.Now()
	if err != nil {
		l.failures.Add(1)
		l.pending.Add(-1)
		return
	}
	l.answered.record(at.Sub(due))
	if waiting, heard := l.answers.LoadOrStore(stored.ID, at); heard {
		waiting.(chan time.Time) <- at //nolint:forcetypeassert // the only other kind of value
	}
}

// listen follows the provider's stream and pulls each order that it hears of.
func (l *latency) listen(ctx context.Context, after int64) {
	tickets := make(chan struct{}, pullers)
	for event, err := range l.parties.provider.Events(ctx, client.From{Position: after}, client.OverSSE()) {
		if err != nil {
			return
		}
		if event.Type != "task.offered" {
			continue
		}
		heard := time.Now()
		tickets <- struct{}{}
		go func() {
			defer func() { <-tickets }()
			l.pull(ctx, event, heard)
		}()
	}
}

func (l *latency) pull(ctx context.Context, event client.Event, heard time.Time) {
	order, err := l.parties.provider.GetOrder(ctx, event.Subject, client.GetOptions{Position: event.Position})
	seen := time.Now()
	defer l.pending.Add(-1)
	if err != nil {
		l.failures.Add(1)
		return
	}
	if order.Version < event.OrderVersion {
		l.stale.Add(1)
	}
	// The notice may overtake the answer to the submit: then it waits for it, and counts as instant.
	waiting := make(chan time.Time, 1)
	at, _ := l.answers.LoadOrStore(event.Subject, waiting)
	answered, ok := at.(time.Time)
	if !ok {
		select {
		case answered = <-waiting:
		case <-ctx.Done():
			return
		}
	}
	l.noticed.record(heard.Sub(answered))
	l.seen.record(seen.Sub(answered))
}

func (l *latency) awaitArrivals(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	over := time.After(arrivalWithin)
	for l.pending.Load() > 0 {
		select {
		case <-ticker.C:
		case <-over:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (l *latency) report() error {
	fmt.Printf("%d orders/s for %s\n", l.rate, l.duration)
	fmt.Println("due -> answer to the submit      ", l.answered)
	fmt.Println("answer -> notice at the provider ", l.noticed)
	fmt.Println("answer -> heard, pulled and seen ", l.seen)
	fmt.Printf("failed %d, stale %d, not arrived %d\n", l.failures.Load(), l.stale.Load(), l.pending.Load())
	if l.failures.Load() > 0 || l.stale.Load() > 0 || l.pending.Load() > 0 {
		return errors.New("not every order was submitted, heard of and seen")
	}
	return nil
}
