package projection

import "github.com/prometheus/client_golang/prometheus"

// metrics of the projection. Without a registerer they are counted and shown to nobody.
type metrics struct {
	position  *prometheus.GaugeVec
	stopped   *prometheus.GaugeVec
	events    *prometheus.CounterVec
	batch     *prometheus.HistogramVec
	commit    *prometheus.HistogramVec
	conflicts prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	view, group := []string{"view"}, []string{"group"}
	m := &metrics{
		position: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "orderstore_view_position", Help: "Position up to which the view is built.",
		}, view),
		stopped: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "orderstore_view_stopped", Help: "1 when the view stopped at an event that it cannot take.",
		}, view),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orderstore_projection_events_total", Help: "Events that were applied, by group of views.",
		}, group),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderstore_projection_batch_events", Help: "Events in one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}, group),
		commit: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orderstore_projection_commit_seconds", Help: "Time from sending a transaction until it is committed.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
		}, group),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_projection_conflicts_total", Help: "Times another projector had moved a checkpoint.",
		}),
	}
	if r != nil {
		r.MustRegister(m.position, m.stopped, m.events, m.batch, m.commit, m.conflicts)
	}
	return m
}

func (m *metrics) set(view string, position int64, stopped bool) {
	m.position.WithLabelValues(view).Set(float64(position))
	value := 0.0
	if stopped {
		value = 1
	}
	m.stopped.WithLabelValues(view).Set(value)
}
