package load

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range and precision of a Histogram: 1 µs to 60 s, three digits.
const (
	lowest  = 1
	highest = 60_000_000
	digits  = 3
)

// Histogram counts durations. It is not safe for several goroutines at once: each keeps its own, and they are merged at the end.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram makes an empty one.
func NewHistogram() *Histogram { return &Histogram{h: hdrhistogram.New(lowest, highest, digits)} }

// Record counts a duration; what is below 1 µs counts as 1 µs, and what is above a minute as a minute.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d.Microseconds(), lowest), highest)) // within the range, so it is never refused
}

// Merge adds what another one counted.
func (h *Histogram) Merge(other *Histogram) { h.h.Merge(other.h) }

// Count is how many durations were counted.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// Quantile is the duration that so many of a hundred did not exceed; 0 of none.
func (h *Histogram) Quantile(percent float64) time.Duration {
	return time.Duration(h.h.ValueAtQuantile(percent)) * time.Microsecond
}

// Summary is a histogram in numbers, in milliseconds, as it is written into reports.
type Summary struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
	// Curve is the latency at each of CurvePercents.
	Curve []float64 `json:"curve_ms,omitempty"`
}

// CurvePercents are where a Summary's Curve is taken: each halves what is left to a hundred.
func CurvePercents() []float64 {
	percents := []float64{0}
	for left := 50.0; left > 0.005; left /= 2 {
		percents = append(percents, 100-left)
	}
	return percents
}

// Summary gives the numbers.
func (h *Histogram) Summary() Summary {
	ms := func(percent float64) float64 { return float64(h.Quantile(percent)) / float64(time.Millisecond) }
	s := Summary{Count: h.Count(), P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: ms(100)}
	for _, percent := range CurvePercents() {
		s.Curve = append(s.Curve, ms(percent))
	}
	return s
}

// String is one line for people.
func (s Summary) String() string {
	return fmt.Sprintf("p50 %8.2f ms  p90 %8.2f ms  p99 %8.2f ms  p99.9 %8.2f ms  max %8.2f ms  (%d)", s.P50, s.P90, s.P99, s.P999, s.Max, s.Count)
}
