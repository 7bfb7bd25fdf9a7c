package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
)

const (
	// arrivalWithin is how long after the last submit an order may still be heard of.
	arrivalWithin = 10 * time.Second
	// pullers is how many orders the provider pulls at once.
	pullers = 32
)

// The ways on which a followed order is heard of.
const (
	onNATS = iota
	onSSE
	pulled
	ways
)

// follower is the party that orders of the type load.Probes are meant for. It hears of them on NATS and by server-sent events, pulls each
// of which it hears by SSE at the position that was announced, and notes when.
type follower struct {
	t        *target
	stop     func()
	finished sync.WaitGroup
	failed   atomic.Pointer[error]

	mu      sync.Mutex
	due     map[string]time.Time // by order
	heard   [ways]map[string]time.Time
	stale   int64
	missing int64 // what the pull of an announced order did not find
}

// follow begins to listen. What was submitted before is not heard of.
func (t *target) follow(ctx context.Context) (*follower, error) {
	f := &follower{t: t, due: map[string]time.Time{}}
	for way := range f.heard {
		f.heard[way] = map[string]time.Time{}
	}
	lag, err := t.operator.Lag(ctx)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(t.at.NATS, nats.Name("orderbench"))
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	listening, cancel := context.WithCancel(ctx)
	consuming, err := f.onBroker(listening, nc)
	if err != nil {
		cancel()
		nc.Close()
		return nil, err
	}
	f.finished.Go(func() { f.onStream(listening, lag.Log) })
	f.stop = func() {
		consuming.Stop()
		cancel()
		f.finished.Wait()
		nc.Close()
	}
	return f, nil
}

// onBroker hears of the tasks as a provider with a consumer of its own does: by headers alone.
func (f *follower) onBroker(ctx context.Context, nc *nats.Conn) (jetstream.ConsumeContext, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	consumer, err := js.OrderedConsumer(ctx, events.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.ProviderFilter(probeProvider)}, DeliverPolicy: jetstream.DeliverNewPolicy, HeadersOnly: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) { f.note(onNATS, msg.Headers().Get("ce-subject")) })
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	return consuming, nil
}

// onStream hears of the tasks by server-sent events, and pulls each order.
func (f *follower) onStream(ctx context.Context, after int64) {
	tickets := make(chan struct{}, pullers)
	for event, err := range f.t.probe.Events(ctx, client.From{Position: after}, client.OverSSE()) {
		if err != nil {
			if ctx.Err() == nil {
				f.failed.Store(&err)
			}
			return
		}
		if event.Type != string(events.TaskOffered) {
			continue
		}
		f.note(onSSE, event.Subject)
		tickets <- struct{}{}
		f.finished.Go(func() {
			defer func() { <-tickets }()
			f.pull(ctx, event)
		})
	}
}

func (f *follower) pull(ctx context.Context, event client.Event) {
	order, err := f.t.probe.GetOrder(ctx, event.Subject, client.GetOptions{Position: event.Position})
	f.note(pulled, event.Subject)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil && ctx.Err() == nil:
		f.missing++
	case err == nil && order.Version < event.OrderVersion:
		f.stale++
	}
}

func (f *follower) note(way int, order string) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, twice := f.heard[way][order]; !twice {
		f.heard[way][order] = now
	}
}

// submissions gives each connection its way to submit orders that are followed. Those due before from are not counted.
func (f *follower) submissions(sender *load.Sender, mix *load.Mix, from time.Time) func() load.Operation {
	return func() load.Operation {
		slot, draw := sender.Slot(), mix.Draw()
		return func(_ context.Context, n int64, due time.Time) string {
			slot.Body = draw.Append(slot.Body[:0], n)
			if reason := slot.Post(); reason != "" {
				return reason
			}
			id := load.ID(slot.Answer())
			if id == "" {
				return "an answer without the order's id"
			}
			if !due.Before(from) {
				f.mu.Lock()
				f.due[id] = due
				f.mu.Unlock()
			}
			return ""
		}
	}
}

// arrived waits until every submitted order was heard of on all ways, or for arrivalWithin.
func (f *follower) arrived(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	over := time.NewTimer(arrivalWithin)
	defer over.Stop()
	for {
		if failed := f.failed.Load(); failed != nil {
			return fmt.Errorf("follow the provider's events: %w", *failed)
		}
		if f.unheard() == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unheard is how many of the orders were not yet heard of on all ways.
func (f *follower) unheard() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for id := range f.due {
		for way := range f.heard {
			if _, ok := f.heard[way][id]; !ok {
				n++
				break
			}
		}
	}
	return n
}

// measured adds the stages, each from the moment at which the order was due to be sent.
func (f *follower) measured(to *stages) {
	names := [ways]string{"due -> heard on NATS", "due -> heard by SSE", "due -> heard by SSE, pulled and seen"}
	f.mu.Lock()
	defer f.mu.Unlock()
	for way, name := range names {
		h := load.NewHistogram()
		for id, due := range f.due {
			if at, ok := f.heard[way][id]; ok {
				h.Record(at.Sub(due))
			}
		}
		to.add(name, h)
	}
}

// faults are what must be none.
func (f *follower) faults() map[string]int64 {
	unheard := f.unheard()
	f.mu.Lock()
	defer f.mu.Unlock()
	return map[string]int64{"not heard of": unheard, "older than announced": f.stale, "announced but not found": f.missing}
}
