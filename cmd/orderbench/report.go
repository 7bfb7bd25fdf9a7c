package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/chart"
	"github.com/orderstore/orderstore/bench/report"
)

type reporting struct {
	session
	dir      string
	measure  time.Duration
	growTo   int64
	peers    bool
	sections []string
}

func reportCommand() *cobra.Command {
	o := &reporting{}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Measure everything within ten minutes, the peers too, and write a page with plots",
		Long: `Measures throughput with and without tasks, batches, latency at a fixed rate, a foreign transaction and a filling store,
then the peers (benchpeers: raw Postgres, bare echo, an outbox by hand, Watermill, River) on the same machine, and writes
benchmarks.md, latency.png, rates.png and runs.json into --out. Throughput, batches and latency are measured --repeat times each;
the page gives every run and the median. growth wants an empty store: with --start it gets one. Nothing else may run on the
machine meanwhile.`,
		Example: "  orderbench report --start --out measured",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.execute(cmd) },
	}
	o.flags(cmd, 3)
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "out", "measured", "folder for the page and its plots")
	flags.DurationVar(&o.measure, "for", 10*time.Second, "how long each measurement counts")
	flags.Int64Var(&o.growTo, "grow-to", 200_000, "orders stored when the store counts as filled")
	flags.BoolVar(&o.peers, "peers", true, "measure the peers too")
	flags.StringSliceVar(&o.sections, "only", nil, "only these: tasks, unrouted, few, batch, latency, stall, growth")
	return cmd
}

// part is one section of the report and how it is measured.
type part struct {
	key, title, command string
	once                bool
	// fresh needs an empty store: an instance of its own where instances are started here.
	fresh   bool
	measure measurement
}

// parts are the sections in their order. The first is the one that all else is compared with.
func (o *reporting) parts() []part {
	common := func() session { return session{seed: o.seed, out: o.out} }
	warm := min(3*time.Second, o.measure)
	tasks := &throughput{session: common(), connections: 256, tasks: true, probes: 20, warm: warm, measure: o.measure}
	unrouted := *tasks
	unrouted.tasks = false
	few := *tasks
	few.connections = 64
	batches := &batch{session: common(), orders: int64(o.measure.Seconds() * 8_000), requests: 1, tasks: true}
	fixed := &latency{session: common(), rate: 300, warm: warm, measure: o.measure}
	held := &stall{session: common(), rate: 300, held: 5 * time.Second, cycles: 2, warm: warm}
	filling := &growth{throughput: *tasks, from: small, orders: o.growTo}
	filling.probes = 0
	return []part{
		{key: "tasks", title: "256 connections, one task each", command: "orderbench throughput --connections 256", measure: tasks.run},
		{key: "unrouted", title: "256 connections, no task", command: "orderbench throughput --connections 256 --tasks=false", measure: unrouted.run},
		{key: "few", title: "64 connections, one task each", command: "orderbench throughput --connections 64", once: true, measure: few.run},
		{key: "batch", title: "batch, one task each", command: fmt.Sprintf("orderbench batch --orders %d", batches.orders), measure: batches.run},
		{key: "latency", title: "300 orders/s", command: "orderbench latency --rate 300", measure: fixed.run},
		{key: "stall", title: "300 orders/s, a foreign transaction open", command: "orderbench stall", once: true, measure: held.run},
		{
			key: "growth", title: "a filled store", command: fmt.Sprintf("orderbench growth --orders %d", o.growTo),
			once: true, fresh: true, measure: filling.run,
		},
	}
}

func (o *reporting) execute(cmd *cobra.Command) error {
	o.out = cmd.OutOrStdout()
	// A report that cannot be written is to be known before ten minutes have gone.
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // a report is for all to read
		return fmt.Errorf("make the report's folder: %w", err)
	}
	r := &report.Report{Started: time.Now()}
	err := o.with(cmd.Context(), func(ctx context.Context, t *target) error {
		var err error
		if r.Machine, err = t.machine(ctx); err != nil {
			return err
		}
		return o.ours(ctx, t, r, false)
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(o.parts(), func(p part) bool { return p.fresh && o.wanted(p) }) {
		if err := o.with(cmd.Context(), func(ctx context.Context, t *target) error { return o.ours(ctx, t, r, true) }); err != nil {
			return err
		}
	}
	if o.peers {
		if r.Peers, err = o.measurePeers(cmd.Context()); err != nil {
			return err
		}
	}
	r.Took = time.Since(r.Started).Seconds()
	r.Goals = goals(r)
	if err := o.write(r); err != nil {
		return err
	}
	fmt.Fprintf(o.out, "wrote %s\n", filepath.Join(o.dir, "benchmarks.md"))
	var all []*report.Run
	for _, section := range r.Sections {
		all = append(all, section.Runs...)
	}
	return faults(all)
}

func (o *reporting) wanted(p part) bool {
	return len(o.sections) == 0 || slices.Contains(o.sections, p.key)
}

// ours measures the parts that need a fresh store, or the others.
func (o *reporting) ours(ctx context.Context, t *target, r *report.Report, fresh bool) error {
	for _, part := range o.parts() {
		if part.fresh != fresh || !o.wanted(part) {
			continue
		}
		once := o.session
		if part.once {
			once.repeat = 1
		}
		fmt.Fprintf(o.out, "== %s\n", part.title)
		runs, err := once.repeated(ctx, t, part.measure)
		if err != nil {
			return fmt.Errorf("measure %s: %w", part.title, err)
		}
		r.Sections = append(r.Sections, &report.Section{Title: part.title, Command: part.command, Runs: runs})
	}
	return nil
}

// measurePeers runs the program of the peers. It is another module's, so that the peers are no dependencies of the store.
func (o *reporting) measurePeers(ctx context.Context) ([]*report.Run, error) {
	program, err := beside("benchpeers")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.dir, "peers.json")
	defer func() { _ = os.Remove(file) }()
	cmd := exec.CommandContext(ctx, program, "--for", o.measure.String(), "--seed", fmt.Sprint(o.seed), "--json", file) //nolint:gosec // our own program
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	cmd.Stdout, cmd.Stderr = o.out, os.Stderr
	fmt.Fprintln(o.out, "== peers and ceilings")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w", program, err)
	}
	var runs []*report.Run
	if err := readJSON(file, &runs); err != nil {
		return nil, fmt.Errorf("read what the peers did: %w", err)
	}
	return runs, nil
}

// write writes the page, its plots and the numbers behind them.
func (o *reporting) write(r *report.Report) error {
	if err := writeJSON(filepath.Join(o.dir, "runs.json"), r); err != nil {
		return err
	}
	var faults []error
	for name, render := range map[string]func(*report.Report, io.Writer) error{
		"benchmarks.md": (*report.Report).Markdown, report.LatencyPlot: png(chart.Latencies), report.RatePlot: png(chart.Rates),
	} {
		var content bytes.Buffer
		if err := render(r, &content); err != nil {
			faults = append(faults, err)
			continue
		}
		faults = append(faults, os.WriteFile(filepath.Join(o.dir, name), content.Bytes(), 0o644)) //nolint:gosec // a report is for all to read
	}
	return errors.Join(faults...)
}

// png has a plot drawn as PNG.
func png(draw func(*report.Report, chart.Format, io.Writer) error) func(*report.Report, io.Writer) error {
	return func(r *report.Report, out io.Writer) error { return draw(r, chart.PNG, out) }
}
