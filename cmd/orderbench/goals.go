package main

import (
	"fmt"
	"strings"

	"github.com/orderstore/orderstore/bench/report"
)

// What is to be reached on two processors with Postgres, the broker, the views and the load generator all on them.
const (
	wantTasks       = 10_000 // orders/s
	wantTasksP99    = 80     // ms
	wantLevel       = 1      // s
	wantUnrouted    = 13_000 // orders/s
	wantBatch       = 15_000 // orders/s
	wantNoticeP50   = 3      // ms
	wantNoticeP99   = 6      // ms
	wantStall       = 1.2    // times the p99 outside
	wantGrowth      = 0.9    // of the rate with 50,000 orders
	wantMemory      = 400    // MiB
	wantOfWatermill = 4.0    // times its events/s
	wantOfRiver     = 8.0    // times its events/s
	natsStage       = "due -> heard on NATS"
	outsideAnswered = "outside: due -> answer"
	insideAnswered  = "inside: due -> answer"
)

// goals compares what was measured with what is wanted. What was not measured is left out.
func goals(r *report.Report) []report.Goal {
	sections := map[string]*report.Run{}
	for _, s := range r.Sections {
		sections[s.Command] = s.Median()
	}
	var g list
	if run := find(sections, "throughput --connections 256"); run != nil {
		g.add("single orders with one task each, 256 connections", fmt.Sprintf(">= %d orders/s, p99 <= %d ms, level within %d s", wantTasks, wantTasksP99, wantLevel),
			fmt.Sprintf("%.0f orders/s, p99 %.1f ms, level after %.2f s", run.Rate, run.P99(), run.Level),
			run.Rate >= wantTasks && run.P99() <= wantTasksP99 && run.Level < wantLevel)
		g.peer(run, r.Peers, "Watermill", wantOfWatermill)
		g.peer(run, r.Peers, "River", wantOfRiver)
		if run.Usage != nil {
			mib := run.Usage.PeakMemory >> 20
			g.add("resident memory of the service under full load", fmt.Sprintf("<= %d MiB", wantMemory), fmt.Sprintf("%d MiB", mib), mib <= wantMemory)
		}
	}
	if run := find(sections, "throughput --connections 256 --tasks=false"); run != nil {
		g.add("the same without a task", fmt.Sprintf(">= %d orders/s", wantUnrouted), fmt.Sprintf("%.0f orders/s", run.Rate), run.Rate >= wantUnrouted)
	}
	if run := find(sections, "batch"); run != nil {
		g.add("batch, one task each", fmt.Sprintf(">= %d orders/s", wantBatch), fmt.Sprintf("%.0f orders/s", run.Rate), run.Rate >= wantBatch)
	}
	if run := find(sections, "latency"); run != nil {
		if s := run.Stage(natsStage); s != nil {
			g.add("at 300 orders/s: due -> a subscriber has the notice", fmt.Sprintf("p50 <= %d ms, p99 <= %d ms", wantNoticeP50, wantNoticeP99),
				fmt.Sprintf("p50 %.2f ms, p99 %.2f ms", s.Latency.P50, s.Latency.P99), s.Latency.P50 <= wantNoticeP50 && s.Latency.P99 <= wantNoticeP99)
		}
	}
	if run := find(sections, "stall"); run != nil {
		outside, inside := run.Stage(outsideAnswered), run.Stage(insideAnswered)
		if outside != nil && inside != nil {
			g.add("a foreign write transaction held open 5 s", "p99 unchanged within 20 %",
				fmt.Sprintf("p99 %.1f ms outside, %.1f ms inside", outside.Latency.P99, inside.Latency.P99), inside.Latency.P99 <= outside.Latency.P99*wantStall)
		}
	}
	if run := find(sections, "growth"); run != nil {
		if run.Baseline > 0 {
			share := run.Rate / run.Baseline
			g.add(fmt.Sprintf("orders/s %s, against those with %d", run.Name, small), fmt.Sprintf(">= %.0f %%", wantGrowth*100),
				fmt.Sprintf("%.0f %% (%.0f against %.0f)", share*100, run.Rate, run.Baseline), share >= wantGrowth)
		}
	}
	return g.goals
}

type list struct{ goals []report.Goal }

func (g *list) add(what, wanted, reached string, hit bool) {
	g.goals = append(g.goals, report.Goal{What: what, Wanted: wanted, Reached: reached, Hit: hit})
}

// peer compares events a second with those of the peer whose name begins so.
func (g *list) peer(ours *report.Run, peers []*report.Run, name string, wanted float64) {
	for _, p := range peers {
		if strings.HasPrefix(p.Name, name) && p.Events > 0 {
			ratio := ours.Events / p.Events
			g.add("events/s against "+name+"'s in the same run", fmt.Sprintf(">= %.0f x", wanted),
				fmt.Sprintf("%.1f x (%.0f against %.0f)", ratio, ours.Events, p.Events), ratio >= wanted)
		}
	}
}

// find gives the run of a command: the one that is named exactly, or else the only one of its mode.
func find(runs map[string]*report.Run, command string) *report.Run {
	if run, ok := runs["orderbench "+command]; ok {
		return run
	}
	if strings.Contains(command, " ") {
		return nil
	}
	for name, run := range runs {
		if strings.HasPrefix(name, "orderbench "+command+" ") {
			return run
		}
	}
	return nil
}
