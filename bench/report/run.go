// Package report holds what benchmarks measured, and writes it down: a line for people, a page of Markdown, plots.
package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/orderstore/orderstore/bench/load"
)

// Stage is how long something took, for each order that was followed.
type Stage struct {
	Name    string       `json:"name"`
	Latency load.Summary `json:"latency"`
	// Aside is left out of the plot.
	Aside bool `json:"aside,omitempty"`
}

// Run is one measurement.
type Run struct {
	Name    string `json:"name"`
	Command string `json:"command,omitempty"`
	// Rate is orders a second, Events events a second; 0 where nothing is counted so.
	Rate   float64 `json:"orders_per_s"`
	Events float64 `json:"events_per_s"`
	// Baseline is the rate, in orders a second, that Rate is to be compared with; 0 for none.
	Baseline float64 `json:"baseline_orders_per_s,omitempty"`
	// Stored is how many orders were stored while it was counted.
	Stored int64      `json:"stored"`
	Errors load.Tally `json:"errors,omitempty"`
	Stages []Stage    `json:"stages,omitempty"`
	// Level is how many seconds after the last answer all that follows was done; below 0 where nothing follows.
	Level float64     `json:"level_s"`
	Usage *load.Usage `json:"usage,omitempty"`
	// Faults are what must be none: orders lost, told twice, or out of their order.
	Faults map[string]int64 `json:"faults,omitempty"`
	// Notes are sentences about the run.
	Notes []string `json:"notes,omitempty"`
}

// FromOutcome takes what a loop counted. The loop's own latency becomes the first stage.
func FromOutcome(name string, o *load.Outcome, stage string) *Run {
	r := &Run{Name: name, Rate: o.Rate(), Stored: o.Done, Errors: load.Tally{}, Level: -1}
	r.Errors.Merge(o.Errors)
	for reason, n := range o.WarmTally {
		r.Errors[reason+" (warm-up)"] += n
	}
	r.Stages = []Stage{{Name: stage, Latency: o.Latency.Summary()}}
	return r
}

// P99 is the 99th percentile of the first stage, in milliseconds.
func (r *Run) P99() float64 {
	if len(r.Stages) == 0 {
		return 0
	}
	return r.Stages[0].Latency.P99
}

// P50 is the median of the first stage, in milliseconds.
func (r *Run) P50() float64 {
	if len(r.Stages) == 0 {
		return 0
	}
	return r.Stages[0].Latency.P50
}

// Median is the run whose rate lies in the middle, and where the rates are equal, as at a fixed one, whose 99th percentile does; of two
// the slower. It is nil of none.
func Median(runs []*Run) *Run {
	if len(runs) == 0 {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b *Run) int {
		return cmp.Or(cmp.Compare(a.Rate, b.Rate), cmp.Compare(b.P99(), a.P99()))
	})
	return sorted[(len(sorted)-1)/2]
}

// Print writes the run for people.
func (r *Run) Print(out io.Writer) {
	fmt.Fprintf(out, "%s\n", r.Name)
	switch {
	case r.Rate > 0 && r.Events > 0:
		fmt.Fprintf(out, "  %.0f orders/s, %.0f events/s, %d stored\n", r.Rate, r.Events, r.Stored)
	case r.Events > 0:
		fmt.Fprintf(out, "  %.0f events/s, %d stored\n", r.Events, r.Stored)
	case r.Rate > 0:
		fmt.Fprintf(out, "  %.0f orders/s, %d stored\n", r.Rate, r.Stored)
	}
	for _, stage := range r.Stages {
		fmt.Fprintf(out, "  %-46s %s\n", stage.Name, stage.Latency)
	}
	if r.Level >= 0 {
		fmt.Fprintf(out, "  level %s after the last answer\n", time.Duration(r.Level*float64(time.Second)).Round(time.Millisecond))
	}
	if r.Usage != nil {
		fmt.Fprintf(out, "  %s\n", r.Usage.Describe(r.Stored))
	}
	for _, name := range sortedKeys(r.Faults) {
		fmt.Fprintf(out, "  %s: %d\n", name, r.Faults[name])
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "  %s\n", note)
	}
	fmt.Fprintf(out, "  errors: %s\n", r.Errors)
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
