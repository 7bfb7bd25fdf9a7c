package broadcast

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/webhook"
)

// webhookMetrics of a dispatcher. Without a registerer they are counted and shown to nobody.
type webhookMetrics struct {
	attempts  *prometheus.CounterVec
	latency   prometheus.Histogram
	inFlight  prometheus.GaugeFunc
	endpoints prometheus.Gauge
	shards    prometheus.Gauge
	parked    prometheus.Gauge
	behind    prometheus.Gauge
	dead      prometheus.Counter
	opened    prometheus.Counter
	disabled  prometheus.Counter
}

func newWebhookMetrics(r prometheus.Registerer, slots chan struct{}) *webhookMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &webhookMetrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderstore_webhook_attempts_total", Help: "Attempts to deliver by webhook, by what came of them.",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "orderstore_webhook_attempt_seconds", Help: "Time until an endpoint has answered, or the failure is known.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
		inFlight: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orderstore_webhook_attempts_under_way", Help: "Attempts that have no outcome yet.",
		}, func() float64 { return float64(len(slots)) }),
		endpoints: gauge("orderstore_webhook_subscriptions", "Subscriptions that this node delivers by webhook."),
		shards:    gauge("orderstore_webhook_shards", "Parts of all webhook subscriptions that this node delivers."),
		parked:    gauge("orderstore_webhook_parked_events", "Events that failed, or wait behind one of their order that did."),
		behind:    gauge("orderstore_webhook_behind_events", "Positions that the subscription which is furthest behind the read side lacks."),
		dead:      counter("orderstore_webhook_dead_letters_total", "Events that were given up after their last attempt."),
		opened:    counter("orderstore_webhook_circuits_opened_total", "Times an endpoint was left alone because it did not work."),
		disabled:  counter("orderstore_webhook_disabled_total", "Subscriptions that were disabled because their endpoint failed for too long or was gone."),
	}
	if r != nil {
		r.MustRegister(m.attempts, m.latency, m.inFlight, m.endpoints, m.shards, m.parked, m.behind, m.dead, m.opened, m.disabled)
	}
	return m
}

func (m *webhookMetrics) attempted(a *webhook.Attempt) {
	m.attempts.WithLabelValues(string(a.Kind)).Inc()
	m.latency.Observe(a.Latency.Seconds())
}
