package importer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/orderstore/orderstore/client"
)

// run is an import under way.
type run struct {
	Config
	source  *source
	summary *Summary
	rejects *rejects
}

// batch is some orders, in the order of the file, and what came of them.
type batch struct {
	items []*item // also those that are no orders
	end   int64   // how many bytes of the file had been read
	done  chan struct{}
	err   error // valid when done
}

// item is one order and what came of it.
type item struct {
	group   *group
	order   client.OrderSubmission
	fault   error // it is no order
	outcome outcome
	problem *client.Problem // why the store refuses it
}

type outcome int

const (
	unanswered outcome = iota
	stored
	replayed
	refused
)

// all reads the file for the second time, sends what it holds, and takes the answers in the order of the file.
func (r *run) all(ctx context.Context, n *counts) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan *batch, r.Parallel-1) // one more is being waited for
	var reading error
	go func() {
		defer close(batches)
		reading = r.read(ctx, n, func(b *batch) error {
			select {
			case batches <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
			go r.work(ctx, b)
			return nil
		})
	}()
	var failed error
	for b := range batches {
		<-b.done
		if failed == nil && b.err != nil {
			failed = b.err
			cancel()
		}
		if err := r.take(b); err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	if failed != nil {
		return failed
	}
	return reading
}

// read makes batches of the file's orders and hands each on.
func (r *run) read(ctx context.Context, n *counts, hand func(*batch) error) error {
	all, err := r.source.rows(ctx)
	if err != nil {
		return err
	}
	r.summary.Rows = n.rows
	gather := newGrouper(r.Mapping, n, r.MaxOpenRows)
	b := r.newBatch()
	for row, err := range all {
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Path, err)
		}
		whole, err := gather.add(row)
		if err != nil {
			return fmt.Errorf("read %s: row %d: %w", r.Path, row.Number, err)
		}
		for _, g := range whole {
			b.items = append(b.items, r.item(g))
		}
		if len(b.items) >= r.BatchSize {
			b.end = r.source.read.Load()
			if err := hand(b); err != nil {
				return err
			}
			b = r.newBatch()
		}
	}
	if err := gather.end(); err != nil {
		return fmt.Errorf("read %s: %w", r.Path, err)
	}
	b.end = r.source.size
	return hand(b)
}

func (r *run) newBatch() *batch {
	return &batch{items: make([]*item, 0, r.BatchSize), done: make(chan struct{})}
}

func (r *run) item(g *group) *item {
	i := &item{group: g, fault: g.fault}
	if i.fault == nil {
		i.order, i.fault = r.Mapping.Build(g.rows)
	}
	return i
}

// work sends a batch until each of its orders is answered.
func (r *run) work(ctx context.Context, b *batch) {
	defer close(b.done)
	if r.Store == nil {
		return
	}
	var open []*item
	for _, i := range b.items {
		if i.fault == nil {
			open = append(open, i)
		}
	}
	b.err = r.send(ctx, open)
}

// The pauses between two attempts at a batch double from the first to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// send submits orders, again those that were not answered or found no room, for as long as Patience allows without any answer.
func (r *run) send(ctx context.Context, open []*item) error {
	last := r.Now()
	pause := firstPause
	for len(open) > 0 {
		rest, err := r.submit(ctx, open)
		if err != nil && !client.Temporary(err) {
			return fmt.Errorf("submit: %w", err)
		}
		if len(rest) < len(open) {
			last, pause = r.Now(), firstPause
		}
		if open = rest; len(open) == 0 {
			return nil
		}
		if r.Now().Sub(last) > r.Patience {
			return fmt.Errorf("submit: the store took nothing for %s: run the import again to go on (%w)", r.Patience, errors.Join(err, roomless(open)))
		}
		if err := r.Wait(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, longestPause)
	}
	return nil
}

// submit makes one attempt and gives the orders to send again.
func (r *run) submit(ctx context.Context, open []*item) ([]*item, error) {
	var again []*item
	answered := 0
	for result, err := range r.Store.SubmitBatch(ctx, orders(open)) {
		if err != nil {
			return append(again, open[answered:]...), err
		}
		i := open[answered]
		answered++
		if !i.take(result) {
			again = append(again, i)
		}
	}
	return append(again, open[answered:]...), nil
}

func orders(items []*item) func(func(client.OrderSubmission) bool) {
	return func(yield func(client.OrderSubmission) bool) {
		for _, i := range items {
			if !yield(i.order) {
				return
			}
		}
	}
}

// take notes an answer; false when it says to send the order again.
func (i *item) take(result client.BatchResult) bool {
	i.problem = result.Problem
	switch result.Status {
	case http.StatusCreated:
		i.outcome = stored
	case http.StatusOK:
		i.outcome = replayed
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return false
	default:
		i.outcome = refused
		if i.problem == nil {
			i.problem = &client.Problem{Status: result.Status, Code: "refused", Title: "refused without a reason"}
		}
	}
	return true
}

// roomless is what the store said last of orders that it has not taken.
func roomless(open []*item) error {
	for _, i := range open {
		if i.problem != nil {
			return i.problem
		}
	}
	return nil
}

// take adds what came of a batch to the summary and the reject file.
func (r *run) take(b *batch) error {
	for _, i := range b.items {
		if i.fault == nil && i.outcome != refused {
			r.summary.add(i, r.Store == nil)
			continue
		}
		r.summary.Orders++
		r.summary.Rejected++
		if err := r.rejects.write(i); err != nil {
			return err
		}
	}
	if b.err == nil {
		r.Progress.Imported(b.end, r.source.size, r.summary.Orders)
	}
	return nil
}
