package report_test

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of the test

// latency is that of n orders which took 1, 2, … n units.
func latency(n int, unit time.Duration) load.Summary {
	h := load.NewHistogram()
	for i := 1; i <= n; i++ {
		h.Record(time.Duration(i) * unit)
	}
	return h.Summary()
}

func example() *report.Report {
	usage := &load.Usage{Service: 9, Postgres: 4.5, Generator: 1.5, PeakMemory: 256 << 20, Steal: 0.021, Idle: 0.05}
	fast := func(rate float64) *report.Run {
		return &report.Run{
			Name: "single orders", Rate: rate, Events: 2 * rate, Stored: int64(rate * 10), Level: 0.25, Usage: usage, Errors: load.Tally{},
			Stages: []report.Stage{
				{Name: "sent -> answer", Latency: latency(4000, 5*time.Microsecond)},
				{Name: "followed: due -> heard on NATS", Latency: latency(1000, 30*time.Microsecond), Aside: true},
			},
			Faults: map[string]int64{"not heard of": 0},
		}
	}
	return &report.Report{
		Started: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Took: 432.1,
		Machine: []report.Fact{{Name: "processors", Value: "2, amd64"}, {Name: "Postgres", Value: "15.18, fsync on"}},
		Sections: []*report.Section{
			{Title: "one task each", Command: "orderbench throughput", Runs: []*report.Run{fast(9000), fast(12000), fast(10000)}},
			{Title: "batch", Command: "orderbench batch", Runs: []*report.Run{{
				Name: "batch of 100", Rate: 15000, Events: 30000, Stored: 100, Level: -1, Errors: load.Tally{"line status 503": 2},
				Notes: []string{"service resident: 100 MiB before, 110 MiB after"},
			}}},
		},
		Peers: []*report.Run{
			{Name: "ceiling: Postgres", Events: 50000, Stored: 500000, Level: -1},
			{Name: "ceiling: echo, JSON", Rate: 28000, Stored: 280000, Level: -1, Stages: []report.Stage{{Name: "sent -> answer", Latency: latency(100, time.Millisecond)}}},
			{Name: "outbox by hand, with HTTP", Rate: 3000, Events: 90, Stored: 30000, Level: -1, Faults: map[string]int64{"not arrived": 29000, "arrived twice": 0}},
		},
		Goals: []report.Goal{
			{What: "orders a second", Wanted: ">= 10000", Reached: "10000", Hit: true},
			{What: "batch", Wanted: ">= 20000", Reached: "15000"},
		},
	}
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	require.NoError(t, example().Markdown(&page))
	golden(t, "report.md", page.Bytes())
}

func TestPrint(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	for _, section := range example().Sections {
		section.Median().Print(&lines)
	}
	golden(t, "run.txt", lines.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestMedian(t *testing.T) {
	t.Parallel()
	slow, middle, quick := &report.Run{Rate: 1}, &report.Run{Rate: 2}, &report.Run{Rate: 3}
	require.Same(t, middle, report.Median([]*report.Run{quick, slow, middle}))
	require.Same(t, slow, report.Median([]*report.Run{quick, slow}), "of two the slower")
	require.Nil(t, report.Median(nil))
	at := func(unit time.Duration) *report.Run {
		return &report.Run{Rate: 300, Stages: []report.Stage{{Latency: latency(100, unit)}}}
	}
	worst, mean, best := at(3*time.Millisecond), at(2*time.Millisecond), at(time.Millisecond)
	require.Same(t, mean, report.Median([]*report.Run{best, worst, mean}), "at a fixed rate the 99th percentile decides")
}
