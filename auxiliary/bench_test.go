package auxiliary

import (
	"fmt"
	"testing"

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
