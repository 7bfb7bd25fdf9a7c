package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Refusals counts requests that were refused because a node was too busy.
type Refusals struct{ byClass *prometheus.CounterVec }

// NewRefusals registers orderstore_http_refused_total.
func NewRefusals(registry *prometheus.Registry) *Refusals {
	r := &Refusals{byClass: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "orderstore_http_refused_total",
		Help: "Requests that were answered with 503 because the node was too busy, by class.",
	}, []string{"class"})}
	registry.MustRegister(r.byClass)
	return r
}

// Count counts one request of a class.
func (r *Refusals) Count(class string) { r.byClass.WithLabelValues(class).Inc() }

// Gauge registers a value that is read when it is asked for.
func Gauge(registry *prometheus.Registry, name, help string, read func() float64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// ClassGauge registers orderstore_http_under_way for one class.
func ClassGauge(registry *prometheus.Registry, class string, read func() float64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderstore_http_under_way", Help: "Requests that are being answered, by class.",
		ConstLabels: prometheus.Labels{"class": class},
	}, read))
}

// RefusedConnections registers orderstore_http_refused_connections_total, and gives what counts one.
func RefusedConnections(registry *prometheus.Registry) func() {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "orderstore_http_refused_connections_total", Help: "Connections that were closed because too many were open.",
	})
	registry.MustRegister(refused)
	return refused.Inc
}
