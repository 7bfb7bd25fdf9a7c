package auxiliary

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the runner counts, by system.
type metrics struct {
	position   *prometheus.GaugeVec
	halted     *prometheus.GaugeVec
	paused     *prometheus.GaugeVec
	lag        *prometheus.GaugeVec
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
		paused:     gauge("paused", "1 while a person has the system paused.", "system"),
		lag:        gauge("lag", "Events that there are and the system has not handled.", "system"),
		events:     counter("events_total", "Events handled.", "system"),
		deliveries: counter("deliveries_total", "Attempts at outside effects, by what became of them.", "system", "outcome"),
		outbox:     gauge("outbox", "Outside effects that are queued or given up.", "system", "channel", "state"),
	}
	if to == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.position, m.halted, m.paused, m.lag, m.events, m.deliveries, m.outbox} {
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

func (m *metrics) stopped(system string, stopped, paused bool) {
	m.halted.WithLabelValues(system).Set(oneIf(stopped))
	m.paused.WithLabelValues(system).Set(oneIf(paused))
}

func (m *metrics) behind(system string, events int64) {
	m.lag.WithLabelValues(system).Set(float64(events))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (m *metrics) delivered(system, outcome string) {
	m.deliveries.WithLabelValues(system, outcome).Inc()
}

func (m *metrics) waiting(system, channel string, queued, dead int64) {
	m.outbox.WithLabelValues(system, channel, stateQueued).Set(float64(queued))
	m.outbox.WithLabelValues(system, channel, stateDead).Set(float64(dead))
}
