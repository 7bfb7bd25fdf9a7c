package projection

import (
	"testing"
	"time"
)

// BenchmarkBacklog builds the views from a log of 20,000 orders with two events each.
func BenchmarkBacklog(b *testing.B) {
	const orders = 20_000
	w := setup(b)
	w.batch = maxBatch
	for range orders {
		w.now = w.now.Add(time.Millisecond)
		w.placeOrder(1 + w.rng.IntN(4))
	}
	w.commit(0)
	w.publish(0)
	for _, c := range []struct {
		name  string
		views []string
	}{
		{"leader", []string{OrderView, TaskInbox, Timeline}},
		{"all", Views()},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if err := Reset(b.Context(), w.read, Views()...); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				p, stop := w.run(w.config())
				w.wait(p, w.head(), c.views...)
				stop()
			}
			b.ReportMetric(float64(w.head())*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
