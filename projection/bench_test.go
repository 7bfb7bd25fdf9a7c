package projection

import (
	"testing"
	"time"
)

// BenchmarkRebuild makes the next generation of views from a log of 20,000 orders with two events each, compares it and switches to it.
// events/s counts all of that, loaded/s the reading of the log alone.
func BenchmarkRebuild(b *testing.B) {
	const orders = 20_000
	w := setup(b)
	w.batch = maxBatch
	for range orders {
		w.now = w.now.Add(time.Millisecond)
		w.placeOrder(1 + w.rng.IntN(4))
	}
	w.commit(0)
	w.publish(0)
	p, stop := w.run(w.config())
	w.wait(p, w.head(), Views()...)
	stop()
	for _, c := range []struct {
		name  string
		views []string
	}{
		{"order_view", []string{OrderView}},
		{"all", Views()},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took time.Duration
			for b.Loop() {
				done, err := Rebuild(b.Context(), RebuildConfig{Pool: w.read, Log: w.log, Views: c.views})
				if err != nil {
					b.Fatal(err)
				}
				took += done[0].Took
			}
			events := float64(w.head()) * float64(b.N)
			b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(events/took.Seconds(), "loaded/s")
		})
	}
}

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
