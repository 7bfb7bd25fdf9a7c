package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

// What is to be reached on two processors with the service, Postgres and the load generator all on them, and five million orders stored.
const (
	wantHot        = 20_000 // reads/s
	wantOfEcho     = 0.5    // of the rate of bare echo in the same run
	wantHotP99     = 15     // ms
	wantUniform    = 6_000  // reads/s
	wantUniformP99 = 30     // ms
	wantPageP99    = 30     // ms, of the first page and of the thousandth
	wantSearchP99  = 150    // ms
	wantWritesKept = 0.8    // of the orders that are due
	wantVisibleP99 = 100    // ms
)

type reads struct {
	session
	connections, listing int
	hot                  int
	fill                 int64
	warm, measure        time.Duration
	only                 []string
}

func readsCommand() *cobra.Command {
	o := &reads{}
	cmd := &cobra.Command{
		Use:   "reads",
		Short: "How many reads a second: an order again and again, any order, pages, text search, and beside writes",
		Long: `Reads orders in closed loops and compares what it measured with what is wanted:

  hot      GET /v1/orders/{id} of --hot orders, beside a bare echo server that answers a document as large (a process of its own, too)
  uniform  the same of any stored order
  pages    the first and the thousandth page of a filtered list of 50
  search   text search, a page of 50
  mixed    hot reads at full speed while writes are due at half of the rate that they reach alone: how many of them get through, and
           how long until each fiftieth can be read

The orders are those of the instance, a sample of them when they are many; --fill stores some first. What is read is checked for its
status alone. To compare a store with 50,000 orders to one with more, run it with each.`,
		Example: "  orderbench reads --start --fill 50000\n  orderbench reads --data .data --for 20s --only hot,uniform",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.out = cmd.OutOrStdout()
			return o.with(cmd.Context(), o.run)
		},
	}
	o.runFlags(cmd)
	flags := cmd.Flags()
	flags.IntVar(&o.connections, "connections", 64, "connections that read orders")
	flags.IntVar(&o.listing, "listing", 4, "connections that read pages, and that search")
	flags.IntVar(&o.hot, "hot", 10_000, "orders of the hot set")
	flags.Int64Var(&o.fill, "fill", 0, "store orders until there are so many, first")
	flags.DurationVar(&o.warm, "warm", 2*time.Second, "how long to read before counting, each time")
	flags.DurationVar(&o.measure, "for", 10*time.Second, "how long to count, each time")
	flags.StringSliceVar(&o.only, "only", nil, "only these: hot, uniform, pages, search, mixed")
	return cmd
}

// readRun is one measurement and what it is held against.
type readRun struct {
	run  *report.Run
	goal report.Goal
}

// readTarget is the store that is read.
type readTarget struct {
	*target
	ids    []string
	sender *load.Sender // as the user
	echo   float64      // what bare echo reached, in requests a second
}

func (o *reads) run(ctx context.Context, t *target) error {
	r, err := o.prepare(ctx, t)
	if err != nil {
		return err
	}
	var runs []*report.Run
	var goals []report.Goal
	for _, part := range []struct {
		key  string
		read func(context.Context, *readTarget) ([]readRun, error)
	}{{"hot", o.hotReads}, {"uniform", o.uniformReads}, {"pages", o.pages}, {"search", o.search}, {"mixed", o.mixed}} {
		if !wanted(o.only, part.key) {
			continue
		}
		measured, err := part.read(ctx, r)
		if err != nil {
			return fmt.Errorf("%s: %w", part.key, err)
		}
		for _, m := range measured {
			runs = append(runs, m.run)
			if m.goal.What != "" {
				goals = append(goals, m.goal)
			}
		}
	}
	o.print(runs, goals)
	if o.jsonFile != "" {
		if err := writeJSON(o.jsonFile, runs); err != nil {
			return err
		}
	}
	return faults(runs)
}

func wanted(only []string, key string) bool {
	for _, k := range only {
		if k == key {
			return true
		}
	}
	return len(only) == 0
}

func (o *reads) prepare(ctx context.Context, t *target) (*readTarget, error) {
	stored, err := t.stored(ctx)
	if err != nil {
		return nil, err
	}
	if missing := o.fill - stored; missing > fillers {
		if _, err := fill(ctx, t, load.NewMix(o.seed, t.reference(), ""), missing, fillers); err != nil {
			return nil, fmt.Errorf("fill to %d orders: %w", o.fill, err)
		}
		stored = o.fill
	}
	if _, err := t.level(ctx); err != nil {
		return nil, err
	}
	r := &readTarget{target: t}
	if r.ids, err = t.sample(ctx); err != nil {
		return nil, err
	}
	if len(r.ids) == 0 {
		return nil, errors.New("there is no order to read: store some first, or use --fill")
	}
	rand.New(rand.NewPCG(o.seed, 0)).Shuffle(len(r.ids), func(i, j int) { r.ids[i], r.ids[j] = r.ids[j], r.ids[i] })
	if r.sender, err = t.sender(o.connections + o.listing + openSlots); err != nil {
		return nil, err
	}
	fmt.Fprintf(o.out, "%d orders stored, %d of them known by id\n", stored, len(r.ids))
	return r, nil
}

func (o *reads) phases() load.Phases { return load.Phases{Warm: o.warm, Measure: o.measure} }

// closed reads paths that draw gives, from so many connections.
func (o *reads) closed(ctx context.Context, name string, sender *load.Sender, connections int, draw func() func() string) *report.Run {
	got := load.Closed(ctx, connections, o.phases(), &atomic.Int64{}, func() load.Operation {
		slot, next := sender.Reader(), draw()
		return func(context.Context, int64, time.Time) string { return slot.Get(next()) }
	})
	return report.FromOutcome(name, got, "sent -> answer")
}

// of draws from orders, each as often.
func of(base string, ids []string) func() func() string {
	return func() func() string {
		dice := rand.New(rand.NewPCG(rand.Uint64(), 0))
		return func() string { return base + "/v1/orders/" + ids[dice.IntN(len(ids))] }
	}
}

func (o *reads) hotReads(ctx context.Context, r *readTarget) ([]readRun, error) {
	echo, err := o.echo(ctx, r)
	if err != nil {
		return nil, err
	}
	r.echo = echo.Rate
	hot := r.ids[:min(o.hot, len(r.ids))]
	run := o.closed(ctx, fmt.Sprintf("hot set of %d orders, %d connections", len(hot), o.connections), r.sender, o.connections, of(r.at.HTTP, hot))
	share := run.Rate / r.echo
	return []readRun{{run: echo}, {run, report.Goal{
		What:    run.Name,
		Wanted:  fmt.Sprintf(">= %d/s, >= %.0f %% of bare echo, p99 <= %d ms", wantHot, wantOfEcho*100, wantHotP99),
		Reached: fmt.Sprintf("%.0f/s, %.0f %%, p99 %.1f ms", run.Rate, share*100, run.P99()),
		Hit:     run.Rate >= wantHot && share >= wantOfEcho && run.P99() <= wantHotP99,
	}}}, nil
}

func (o *reads) uniformReads(ctx context.Context, r *readTarget) ([]readRun, error) {
	run := o.closed(ctx, fmt.Sprintf("any of %d orders, %d connections", len(r.ids), o.connections), r.sender, o.connections, of(r.at.HTTP, r.ids))
	return []readRun{{run, report.Goal{
		What: run.Name, Wanted: fmt.Sprintf(">= %d/s, p99 <= %d ms", wantUniform, wantUniformP99),
		Reached: fmt.Sprintf("%.0f/s, p99 %.1f ms", run.Rate, run.P99()),
		Hit:     run.Rate >= wantUniform && run.P99() <= wantUniformP99,
	}}}, nil
}

// filtered is the list whose pages are read.
const filtered = "/v1/orders?channel=web&sort=placed_at"

// pageNumber is how far the later page is from the first.
const pageNumber = 1000

func (o *reads) pages(ctx context.Context, r *readTarget) ([]readRun, error) {
	cursor, page, err := r.walk(ctx, pageNumber)
	if err != nil {
		return nil, err
	}
	var out []readRun
	for _, at := range []struct {
		page int
		path string
	}{{1, filtered + "&limit=50"}, {page, filtered + "&limit=50&cursor=" + url.QueryEscape(cursor)}} {
		run := o.closed(ctx, fmt.Sprintf("page %d of a filtered list of 50, %d connections", at.page, o.listing), r.sender, o.listing,
			func() func() string { return func() string { return r.at.HTTP + at.path } })
		out = append(out, latencyGoal(run, wantPageP99))
	}
	return out, nil
}

func latencyGoal(run *report.Run, p99 float64) readRun {
	return readRun{run, report.Goal{
		What: run.Name, Wanted: fmt.Sprintf("p99 <= %.0f ms", p99), Reached: fmt.Sprintf("p99 %.1f ms (%.0f/s)", run.P99(), run.Rate),
		Hit: run.P99() <= p99,
	}}
}

func (o *reads) search(ctx context.Context, r *readTarget) ([]readRun, error) {
	words := []string{"espresso beans", "kinderfahrrad", "緑茶", "SKU-10001", "SKU-14990", "winter jacket", "olivenöl extra", "double room"}
	run := o.closed(ctx, fmt.Sprintf("text search, a page of 50, %d connections", o.listing), r.sender, o.listing, func() func() string {
		n := rand.IntN(len(words))
		return func() string {
			n++
			return r.at.HTTP + "/v1/orders?limit=50&text=" + url.QueryEscape(words[n%len(words)])
		}
	})
	return []readRun{latencyGoal(run, wantSearchP99)}, nil
}

func (o *reads) print(runs []*report.Run, goals []report.Goal) {
	w := tabwriter.NewWriter(o.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "measured\t/s\tp50 ms\tp99 ms\tp99.9 ms\terrors")
	for _, run := range runs {
		s := run.Stages[0].Latency
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%s\n", run.Name, run.Rate, s.P50, s.P99, s.P999, run.Errors)
	}
	fmt.Fprintln(w, "\ngoal\twanted\treached\t")
	for _, goal := range goals {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", goal.What, goal.Wanted, goal.Reached, map[bool]string{true: "yes", false: "NO"}[goal.Hit])
	}
	_ = w.Flush() // to the terminal
}
