package auxiliary

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/orderstore/orderstore/events"
)

// BenchmarkNotices tells how fast the notices follow the log: without mail, and with a file for every order.
func BenchmarkNotices(b *testing.B) {
	for name, customer := range map[string]*events.Customer{"quiet": nil, "mails": {Name: "王小明", Email: "ming@example.com"}} {
		b.Run(name, func(b *testing.B) {
			h := newHouse(b)
			var all []events.Event
			for len(all) < b.N {
				order := placed(customer)
				order.Data.(*events.Placed).ExternalRef = fmt.Sprint(len(all))
				all = append(all, order, events.New(events.TenantChanged, noon(), &events.Tenant{ID: "demo"}),
					closing(order, events.OrderCompleted, ""))
			}
			for len(all) > 0 {
				n := min(1000, len(all))
				h.append(all[:n]...)
				all = all[n:]
			}
			r := h.runner(folderPace(), h.notices(h.folder()))
			b.ResetTimer()
			start(b, r)
			h.reached(r, NoticesName, h.position)
			b.ReportMetric(float64(h.position)/b.Elapsed().Seconds(), "events/s")
			h.drained()
			b.ReportMetric(float64(len(h.mails()))/b.Elapsed().Seconds(), "mails/s")
		})
	}
}

// BenchmarkStock tells how fast the stock follows the log, over 2,000 products.
func BenchmarkStock(b *testing.B) {
	h := newHouse(b)
	var all []events.Event
	for len(all) < b.N {
		n := len(all)
		order := ordered(fmt.Sprint("sku-", n%2000), 2, 1)
		done := next(order, 2, events.TaskResultPosted, results(
			events.ResultLine{LineID: "1", Quantity: 2, Outcome: events.LineFulfilled}, events.ResultLine{LineID: "2", Quantity: 1, Outcome: events.LineFulfilled}))
		done.Status = events.OrderStatusCompleted
		all = append(all, order, adjusted(events.AdjustedStock{SKU: fmt.Sprint("sku-", n%2000), Delta: 1}), done, closing(order, events.OrderCompleted, ""))
	}
	for len(all) > 0 {
		n := min(1000, len(all))
		h.append(all[:n]...)
		all = all[n:]
	}
	r := h.runner(Pace{}, NewStock())
	b.ResetTimer()
	start(b, r)
	h.reached(r, StockName, h.position)
	b.ReportMetric(float64(h.position)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkFolds tells what a transaction of 500 events costs each system that only keeps records.
func BenchmarkFolds(b *testing.B) {
	for _, system := range Folds() {
		b.Run(system.Name(), func(b *testing.B) {
			h := newHouse(b)
			all := trade(1, b.N/4+1)
			for rest := all; len(rest) > 0; rest = rest[min(1000, len(rest)):] {
				h.append(rest[:min(1000, len(rest))]...)
			}
			r := h.runner(Pace{}, system)
			b.ResetTimer()
			start(b, r)
			h.reached(r, system.Name(), h.position)
			b.ReportMetric(float64(h.position)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkStockWebhook tells how long after it was written to the log an order's change of a level is heard by the tenant's receiver,
// at 300 orders/s over 200 products. Of changes that go out together each counts. Run it with -benchtime=3000x.
func BenchmarkStockWebhook(b *testing.B) {
	h := newHouse(b)
	const products, atOnce, pace = 200, 6, 20 * time.Millisecond
	for i := range products {
		h.append(product(fmt.Sprint("sku-", i), 5))
	}
	r := h.telling()
	start(b, r)
	h.reached(r, StockName, h.position)
	g, d := newHearer(b), h.stockDesk()
	made := d.hook(`{"url":"`+g.URL+`"}`, 201)
	g.mu.Lock()
	g.secret = made.Secret
	g.mu.Unlock()
	type change struct {
		sku      string
		position int64
		at       time.Time
	}
	var changes []change
	b.ResetTimer()
	for tick := time.NewTicker(pace); len(changes) < b.N; <-tick.C {
		var all []events.Event
		for i := range atOnce {
			sku := fmt.Sprint("sku-", (len(changes)*7)%products)
			changes = append(changes, change{sku, h.position + int64(i) + 1, time.Now()})
			all = append(all, ordered(sku, 1, 1))
		}
		h.append(all...)
	}
	last := changes[len(changes)-1]
	g.level(b, last.sku, last.position)
	b.StopTimer()
	g.mu.Lock()
	defer g.mu.Unlock()
	var took []time.Duration
	for _, c := range changes {
		i := slices.IndexFunc(g.arrived[c.sku], func(a arrival) bool { return a.position >= c.position })
		took = append(took, g.arrived[c.sku][i].at.Sub(c.at))
	}
	slices.Sort(took)
	b.ReportMetric(float64(len(changes))/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	b.ReportMetric(float64(len(g.bodies))/b.Elapsed().Seconds(), "calls/s")
}
