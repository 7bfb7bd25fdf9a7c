package auxiliary

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the runner counts, by system.
type metrics struct {
	position   *prometheus.GaugeVec
	halted     *prometheus.GaugeVec
	events     *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	outbox     *prometheus.GaugeVec
}

func newMetrics(to prometheus.Registerer) (*metrics, error) {
	const space, part = "orderstore", "auxiliary"
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: space, Subsystem: part, Name: name, Help: help}, labels)
	}
	m := &metrics{
		position:   gauge("position", "Last position that the system has handled.", "system"),
		halted:     gauge("stopped", "1 while the system stands at an event that it cannot handle.", "system"),
		events:     counter("events_total", "Events handled.", "system"),
		deliveries: counter("deliveries_total", "Attempts at outside effects, by what became of them.", "system", "outcome"),
		outbox:     gauge("outbox", "Outside effects that are queued or given up.", "system", "state"),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.position, m.halted, m.events, m.deliveries, m.outbox} {
		if err := to.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) moved(system string, position int64, handled int) {
	m.position.WithLabelValues(system).Set(float64(position))
	m.events.WithLabelValues(system).Add(float64(handled))
}

func (m *metrics) stopped(system string, yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	m.halted.WithLabelValues(system).Set(value)
}

func (m *metrics) delivered(system, outcome string) {
	m.deliveries.WithLabelValues(system, outcome).Inc()
}

func (m *metrics) waiting(system string, queued, dead int64) {
	m.outbox.WithLabelValues(system, stateQueued).Set(float64(queued))
	m.outbox.WithLabelValues(system, stateDead).Set(float64(dead))
}
