// Command orderbugs checks the checker: it runs a server with each of the seeded bugs under load, breaks what the bug needs broken, and
// holds what is left against the ten invariants. The checker does not know which bug is made. It fails unless every bug is caught, and
// a run without one is clean.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/seeded"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "orderbugs:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be stopped
	}
}

// verdict is what came of one run.
type verdict struct {
	bug    seeded.Name // empty: none was made
	report check.Report
	took   time.Duration
	bites  []string
	err    error
}

// right says whether the run came to what it had to: a violation with a bug, and none without.
func (v *verdict) right() bool {
	return v.err == nil && v.report.Clean() == (v.bug == "") && v.report.Acknowledged >= leastAcknowledged
}

// leastAcknowledged is how many writes a run must have had answered to say anything.
const leastAcknowledged = 100

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("orderbugs", flag.ContinueOnError)
	program := flags.String("program", "bin/orderstore-seeded", "the server, built with -tags seededbugs")
	dir := flags.String("dir", "", "where runs are kept (a temporary folder)")
	seed := flags.Uint64("seed", 1, "of the load")
	load := flags.Duration("load", 4*time.Second, "between two faults")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		made, err := os.MkdirTemp("", "orderbugs-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		*dir = made
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil { //nolint:gosec // as below
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(*dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user below it
		return fmt.Errorf("open folder: %w", err)
	}
	var wrong []string
	var all []*verdict
	for _, name := range wanted(flags.Args()) {
		t := trial{program: *program, dir: filepath.Join(*dir, orNone(name)), bug: name, seed: *seed, load: *load}
		v := t.run(ctx)
		all = append(all, v)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, _ = fmt.Fprintf(out, "%s: %s\n", orNone(name), v)
		if !v.right() {
			wrong = append(wrong, orNone(name))
			continue
		}
		if err := os.RemoveAll(t.dir); err != nil {
			return fmt.Errorf("remove what was right: %w", err)
		}
	}
	table(out, all)
	if len(wrong) > 0 {
		return fmt.Errorf("not as they should be: %s; kept in %s", strings.Join(wrong, ", "), *dir)
	}
	return os.RemoveAll(*dir)
}

// wanted are the bugs that are named, or the run without one and all bugs.
func wanted(args []string) []seeded.Name {
	names := []seeded.Name{""}
	for _, b := range seeded.All() {
		names = append(names, b.Name)
	}
	if len(args) == 0 {
		return names
	}
	return slices.DeleteFunc(names, func(n seeded.Name) bool { return !slices.Contains(args, orNone(n)) })
}

func orNone(name seeded.Name) string {
	if name == "" {
		return "none"
	}
	return string(name)
}

// String says what was found first.
func (v *verdict) String() string {
	switch {
	case v.err != nil:
		return "could not be run: " + v.err.Error()
	case v.report.Clean():
		return fmt.Sprintf("clean in %s, %d acknowledged, %s", v.took.Round(time.Second), v.report.Acknowledged, strings.Join(v.bites, "; "))
	}
	first := v.report.Violations[0]
	return fmt.Sprintf("%d violations in %s, the first of invariant %d by %s: %s (%s)", len(v.report.Violations), v.took.Round(time.Second),
		first.Invariant, first.Path, first.What, strings.Join(v.bites, "; "))
}

func table(out io.Writer, all []*verdict) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "bug\tas it should\tinvariants\tby\tseconds\tacknowledged")
	for _, v := range all {
		var invariants, paths []string
		for _, found := range v.report.Violations {
			invariants, paths = append(invariants, fmt.Sprint(found.Invariant)), append(paths, found.Path)
		}
		slices.Sort(paths)
		paths = slices.Compact(paths)
		_, _ = fmt.Fprintf(w, "%s\t%t\t%s\t%s\t%.0f\t%d\n", orNone(v.bug), v.right(), strings.Join(slices.Compact(invariants), ","),
			strings.Join(paths[:min(len(paths), 3)], ", "), v.took.Seconds(), v.report.Acknowledged)
	}
	_ = w.Flush() // what cannot be shown is in the error
}
