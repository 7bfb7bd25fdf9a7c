package broadcast

import "github.com/prometheus/client_golang/prometheus"

// metrics of the relay. Without a registerer they are counted and shown to nobody.
type metrics struct {
	rebuilds prometheus.Counter
	damage   prometheus.Counter
	scrubbed prometheus.Counter
	passes   prometheus.Counter
	mended   prometheus.Counter
	drift    prometheus.Gauge
}

func newMetrics(r *Relay) *metrics {
	m := &metrics{
		rebuilds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_relay_rebuilds_total", Help: "Times a damaged stream was deleted and filled again from the log.",
		}),
		damage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_relay_differences_total", Help: "Messages that were found to differ from the log.",
		}),
		scrubbed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_relay_compared_messages_total", Help: "Messages that were compared with the log.",
		}),
		passes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_relay_compared_streams_total", Help: "Times the whole stream was compared with the log.",
		}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "orderstore_relay_settings_mended_total", Help: "Settings of the stream that were changed back.",
		}),
		drift: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "orderstore_relay_settings_differing", Help: "Settings of the stream that are not as wanted and cannot be changed back.",
		}),
	}
	if r.cfg.Registerer == nil {
		return m
	}
	r.cfg.Registerer.MustRegister(m.rebuilds, m.damage, m.scrubbed, m.passes, m.mended, m.drift,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orderstore_relay_position", Help: "Position up to which the stream is known to be filled.",
		}, func() float64 { return float64(r.published.Position()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "orderstore_relay_halted", Help: "1 while nothing is published because the stream is not a copy of the log.",
		}, func() float64 {
			if r.Halted() != "" {
				return 1
			}
			return 0
		}))
	return m
}
