package load

import "fmt"

// Usage is what processes used between two moments.
type Usage struct {
	// Seconds of processor time.
	Service   float64 `json:"service_cpu_s"`
	Postgres  float64 `json:"postgres_cpu_s"`
	Generator float64 `json:"generator_cpu_s"`
	// PeakMemory is the most resident memory of the service, in bytes.
	PeakMemory int64 `json:"service_peak_bytes"`
	// Steal is the share of all processor time that the host took for others: above a few percent a run says little.
	Steal float64 `json:"steal"`
	// Idle is the share of all processor time in which nobody had anything to do.
	Idle float64 `json:"idle"`
}

// Describe is one line for people. orders is how many orders the time went into.
func (u *Usage) Describe(orders int64) string {
	if u == nil {
		return "processor time and memory: not known on this system"
	}
	each := func(seconds float64) float64 { return seconds / float64(max(orders, 1)) * 1e6 }
	return fmt.Sprintf("service %.0f µs, Postgres %.0f µs, generator %.0f µs of processor time an order; service at most %d MiB resident; host took %.1f %%, idle %.1f %%",
		each(u.Service), each(u.Postgres), each(u.Generator), u.PeakMemory>>20, u.Steal*100, u.Idle*100)
}
