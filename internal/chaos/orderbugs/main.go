// Command orderbugs checks the checker: it runs a server with each of the seeded bugs under load, breaks what the bug needs broken, and
// holds what is left against the ten invariants. The checker does not know which bug is made. It fails unless every bug is caught, and
// a run without one, in which every kind of fault is injected, is clean.
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
	"time"

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

// options are the flags.
type options struct {
	program, dir, page string
	seed               uint64
	load               time.Duration
	within             time.Duration
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("orderbugs", flag.ContinueOnError)
	var o options
	flags.StringVar(&o.program, "program", "bin/orderstore-seeded", "the server, built with -tags seededbugs")
	flags.StringVar(&o.dir, "dir", "", "where runs are kept that are not as they should be (a temporary folder)")
	flags.StringVar(&o.page, "page", "", "the page whose table is made anew, with its lines beside it (none)")
	flags.Uint64Var(&o.seed, "seed", 1, "of the load")
	flags.DurationVar(&o.load, "load", 4*time.Second, "between two faults")
	flags.DurationVar(&o.within, "within", 5*time.Minute, "a bug that was not caught is tried again, with another seed, while this has not passed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := o.makeFolder(); err != nil {
		return err
	}
	var wrong []string
	for _, name := range wanted(flags.Args()) {
		v, err := o.try(ctx, name)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "%s: %s\n", orNone(name), v)
		if !v.right() {
			wrong = append(wrong, orNone(name))
		}
		if err := o.note(v); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not as they should be: %s; kept in %s", strings.Join(wrong, ", "), o.dir)
	}
	return os.RemoveAll(o.dir)
}

func (o *options) makeFolder() error {
	if o.dir == "" {
		made, err := os.MkdirTemp("", "orderbugs-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		o.dir = made
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // as below
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.Chmod(o.dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user below it
		return fmt.Errorf("open folder: %w", err)
	}
	return nil
}

// try runs a bug until it is caught, each time with another seed, or the time is over; without a bug it is run once. What all tries took
// together counts.
func (o *options) try(ctx context.Context, name seeded.Name) (*verdict, error) {
	began := time.Now()
	for tries := 1; ; tries++ {
		seed := o.seed + uint64(tries) - 1 //nolint:gosec // small numbers
		t := trial{
			program: o.program, dir: filepath.Join(o.dir, fmt.Sprintf("%s-%d", orNone(name), seed)), bug: name, seed: seed, load: o.load, breaks: faultsOf(name),
		}
		v := t.run(ctx)
		v.took, v.tries = time.Since(began), tries
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case v.right():
			return v, os.RemoveAll(t.dir)
		case v.err != nil, name == "", v.took > o.within:
			return v, nil
		}
	}
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
		return none
	}
	return string(name)
}

// none is how the run without a bug is called.
const none = "none"
