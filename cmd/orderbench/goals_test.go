package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// measured is a report in which every goal is just reached.
func measured() *report.Report {
	stage := func(name string, p50, p99 float64) report.Stage {
		return report.Stage{Name: name, Latency: load.Summary{P50: p50, P99: p99}}
	}
	section := func(command string, run *report.Run) *report.Section {
		return &report.Section{Command: "orderbench " + command, Runs: []*report.Run{run}}
	}
	return &report.Report{
		Sections: []*report.Section{
			section("throughput --connections 256", &report.Run{
				Rate: 10_000, Events: 20_000, Level: 0.9, Stages: []report.Stage{stage("sent -> answer", 20, 80)}, Usage: &load.Usage{PeakMemory: 400 << 20},
			}),
			section("throughput --connections 256 --tasks=false", &report.Run{Rate: 13_000}),
			section("throughput --connections 64", &report.Run{Rate: 1}),
			section("batch --orders 100000", &report.Run{Rate: 15_000}),
			section("latency --rate 300", &report.Run{Stages: []report.Stage{stage("due -> answer", 1, 1), stage(natsStage, 3, 6)}}),
			section("stall", &report.Run{Stages: []report.Stage{stage(outsideAnswered, 1, 10), stage(insideAnswered, 1, 12)}}),
			section("growth --orders 200000", &report.Run{Rate: 90, Baseline: 100}),
		},
		Peers: []*report.Run{{Name: "Watermill's forwarder", Events: 5_000}, {Name: "River, jobs", Events: 2_500}},
	}
}

func TestGoalsThatAreJustReached(t *testing.T) {
	t.Parallel()
	reached := goals(measured())
	require.Len(t, reached, 9)
	for _, goal := range reached {
		require.True(t, goal.Hit, goal)
	}
}

func TestGoalsThatAreJustMissed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*report.Report){
		"rate":      func(r *report.Report) { r.Sections[0].Runs[0].Rate-- },
		"p99":       func(r *report.Report) { r.Sections[0].Runs[0].Stages[0].Latency.P99++ },
		"level":     func(r *report.Report) { r.Sections[0].Runs[0].Level = 1 },
		"memory":    func(r *report.Report) { r.Sections[0].Runs[0].Usage.PeakMemory += 1 << 20 },
		"unrouted":  func(r *report.Report) { r.Sections[1].Runs[0].Rate-- },
		"batch":     func(r *report.Report) { r.Sections[3].Runs[0].Rate-- },
		"notice":    func(r *report.Report) { r.Sections[4].Runs[0].Stages[1].Latency.P99 = 6.1 },
		"stall":     func(r *report.Report) { r.Sections[5].Runs[0].Stages[1].Latency.P99 = 12.1 },
		"growth":    func(r *report.Report) { r.Sections[6].Runs[0].Rate-- },
		"Watermill": func(r *report.Report) { r.Peers[0].Events++ },
		"River":     func(r *report.Report) { r.Peers[1].Events++ },
	} {
		r := measured()
		spoil(r)
		missed := 0
		for _, goal := range goals(r) {
			if !goal.Hit {
				missed++
			}
		}
		require.Equal(t, 1, missed, name)
	}
	require.Empty(t, goals(&report.Report{}), "what was not measured is neither reached nor missed")
}
