package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

const (
	writers     = 256 // connections that find out how many orders a second the store takes alone
	visibleEach = 50  // of so many orders one is read at its position
)

// mixed writes alone at full speed, then at half of that while orders are read at full speed.
func (o *reads) mixed(ctx context.Context, r *readTarget) ([]readRun, error) {
	writing, err := r.target.sender(writers)
	if err != nil {
		return nil, err
	}
	mix := load.NewMix(o.seed, r.reference(), "")
	got := load.Closed(ctx, writers, o.phases(), &atomic.Int64{}, submissions(writing, mix))
	alone := report.FromOutcome(fmt.Sprintf("writes alone, %d connections", writers), got, "sent -> answer")
	if _, err := r.level(ctx); err != nil {
		return nil, err
	}
	rate := max(1, int(alone.Rate/2))
	v := &visible{o: o, r: r, latency: load.NewHistogram(), errors: load.Tally{}}
	var wrote *load.Outcome
	var beside sync.WaitGroup
	phases := o.phases()
	phases.Start = time.Now()
	began := time.Now()
	beside.Go(func() {
		mix := load.NewMix(o.seed, r.reference(), "")
		wrote = load.Open(ctx, rate, writers, phases, &atomic.Int64{}, v.submissions(writing, mix))
	})
	hot := r.ids[:min(o.hot, len(r.ids))]
	read := o.closed(ctx, fmt.Sprintf("hot reads beside %d writes/s, %d connections", rate, o.connections), r.sender, o.connections, of(r.at.HTTP, hot))
	beside.Wait()
	// An open loop that is not kept up with runs on until all that was due is sent: what counts is what was sent in its time.
	kept := float64(wrote.Done+int64(rate)*int64(o.warm/time.Second)) / max(time.Since(began), o.warm+o.measure).Seconds() / float64(rate)
	v.reading.Wait()
	writes := report.FromOutcome(fmt.Sprintf("writes due at %d/s beside them", rate), wrote, "due -> answer")
	seen := &report.Run{Name: "answered -> visible, beside both", Errors: v.errors, Stages: []report.Stage{{Latency: v.latency.Summary()}}}
	return []readRun{{run: alone}, {run: read}, {writes, report.Goal{
		What: writes.Name, Wanted: fmt.Sprintf(">= %.0f %% of them", wantWritesKept*100),
		Reached: fmt.Sprintf("%.0f %%, p99 %.1f ms", kept*100, writes.P99()), Hit: kept >= wantWritesKept,
	}}, latencyGoal(seen, wantVisibleP99)}, nil
}

// visible reads some of the orders that are written, at their positions.
type visible struct {
	o       *reads
	r       *readTarget
	reading sync.WaitGroup
	mu      sync.Mutex
	latency *load.Histogram
	errors  load.Tally
}

func (v *visible) submissions(sender *load.Sender, mix *load.Mix) func() load.Operation {
	return func() load.Operation {
		slot, draw := sender.Slot(), mix.Draw()
		return func(_ context.Context, n int64, _ time.Time) string {
			slot.Body = draw.Append(slot.Body[:0], n)
			why := slot.Post()
			if why == "" && rand.IntN(visibleEach) == 0 {
				v.look(slot.Position())
			}
			return why
		}
	}
}

// look reads any order at a position: the answer comes when the view is there.
func (v *visible) look(position int64) {
	answered := time.Now()
	v.reading.Go(func() {
		slot := v.r.sender.Reader()
		slot.SetHeader("Order-Position", strconv.FormatInt(position, 10))
		why := slot.Get(v.r.at.HTTP + "/v1/orders/" + v.r.ids[rand.IntN(len(v.r.ids))])
		v.mu.Lock()
		defer v.mu.Unlock()
		if why != "" {
			v.errors.Add(why)
			return
		}
		v.latency.Record(time.Since(answered))
	})
}
