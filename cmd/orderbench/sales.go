package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
)

// outsideSystem is a system of somebody else that stores a record about each order it hears of.
type outsideSystem struct {
	name   string
	client *client.Client
	failed atomic.Pointer[error]
	work   sync.WaitGroup

	mu     sync.Mutex
	stored map[string]time.Time // by order
	lost   int64                // records that were refused
}

// outsideSystem makes a client of the target's for a system, and has it listen until ctx ends.
func (t *target) outsideSystem(ctx context.Context, name string, after int64) (*outsideSystem, error) {
	made, err := t.operator.CreateClient(ctx, client.ClientSpec{Kind: client.KindAuxiliary, System: name})
	if err != nil {
		return nil, err
	}
	s := &outsideSystem{name: name, stored: map[string]time.Time{}}
	if s.client, err = t.client(made.ClientID, made.ClientSecret); err != nil {
		return nil, err
	}
	s.work.Go(func() { s.listen(ctx, after) })
	return s, nil
}

func (s *outsideSystem) listen(ctx context.Context, after int64) {
	tickets := make(chan struct{}, pullers)
	for event, err := range s.client.Events(ctx, client.From{Position: after}, client.OverSSE()) {
		if err != nil {
			if ctx.Err() == nil {
				s.failed.Store(&err)
			}
			return
		}
		if event.Type != string(events.OrderPlaced) {
			continue
		}
		tickets <- struct{}{}
		s.work.Go(func() {
			defer func() { <-tickets }()
			err := s.book(ctx, event)
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case err == nil:
				s.stored[event.Subject] = time.Now()
			case ctx.Err() == nil:
				s.lost++
			}
		})
	}
}

// book pulls the order and stores a record about it.
func (s *outsideSystem) book(ctx context.Context, event client.Event) error {
	order, err := s.client.PullOrder(ctx, &event)
	if err != nil {
		return err
	}
	document, err := json.Marshal(map[string]any{"ref": order.ExternalRef, "total": order.Total})
	if err != nil {
		return err
	}
	_, err = s.client.PutAuxiliaryRecord(ctx, client.AuxiliaryRecord{
		OrderID: order.ID, System: s.name, RecordID: "sale", Kind: "sale", Revision: order.Version, Payload: document,
	})
	return err
}

// sales submits orders at a fixed rate and waits until each is in an ERP and a CRM, while orderaux runs.
func (o *auxiliaryBench) sales(ctx context.Context, t *target) (*report.Run, error) {
	aux, err := startSystems(ctx, t)
	if err != nil {
		return nil, err
	}
	defer aux.stop()
	if _, err := aux.level(ctx, t); err != nil {
		return nil, err
	}
	lag, err := t.operator.Lag(ctx)
	if err != nil {
		return nil, err
	}
	listening, cancel := context.WithCancel(ctx)
	defer cancel()
	var all []*outsideSystem
	for _, name := range []string{"bench-erp", "bench-crm"} {
		s, err := t.outsideSystem(listening, name, lag.Log)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	sender, err := t.sender(openSlots)
	if err != nil {
		return nil, err
	}
	f := &follower{due: map[string]time.Time{}}
	phases := load.Phases{Warm: o.warm, Measure: o.measure, Start: time.Now()}
	mix := load.NewMix(o.seed, t.reference(), "")
	got := load.Open(ctx, o.rate, openSlots, phases, &atomic.Int64{}, f.submissions(sender, mix, phases.Start.Add(phases.Warm)))
	if err := inAll(ctx, f.due, all); err != nil {
		return nil, err
	}
	cancel()
	run := report.FromOutcome(fmt.Sprintf("sales at %d orders/s for %s, with orderaux, an ERP and a CRM", o.rate, o.measure), got, "")
	histograms := newStages()
	histograms.add("due -> answer", got.Latency)
	run.Faults = map[string]int64{}
	for _, s := range all {
		s.work.Wait()
		h := load.NewHistogram()
		for id, due := range f.due {
			if at, ok := s.stored[id]; ok {
				h.Record(at.Sub(due))
			} else {
				run.Faults["not in "+s.name]++
			}
		}
		run.Faults["refused to "+s.name] = s.lost
		histograms.add("due -> stored by "+s.name, h)
	}
	run.Stages = histograms.report("", len(all)+1)
	return run, nil
}

// inAll waits until every order is in all systems, or for arrivalWithin.
func inAll(ctx context.Context, due map[string]time.Time, all []*outsideSystem) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	over := time.NewTimer(arrivalWithin)
	defer over.Stop()
	for {
		missing := 0
		for _, s := range all {
			if failed := s.failed.Load(); failed != nil {
				return fmt.Errorf("follow events as %s: %w", s.name, *failed)
			}
			missing += s.missing(due)
		}
		if missing == 0 {
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

func (s *outsideSystem) missing(due map[string]time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := range due {
		if _, ok := s.stored[id]; !ok {
			n++
		}
	}
	return n
}
