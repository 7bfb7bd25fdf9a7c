// Command benchpeers measures what an order store would otherwise be built from, on the machine, the Postgres settings and the order mix
// of orderbench: two ceilings, an outbox written by hand, Watermill's outbox forwarder, and River. It is a module of its own, so that
// none of them is a dependency of the store.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
	"github.com/orderstore/orderstore/internal/postgres"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "benchpeers:", err)
		return 1
	}
	return 0
}

// peer is one thing to measure.
type peer struct {
	name string
	run  func(context.Context, *bench) (*report.Run, error)
}

func peers() []peer {
	return []peer{
		{"postgres", postgresCeiling},
		{"echo", echoCeiling},
		{"outbox", outboxTemplate},
		{"watermill", watermillForwarder},
		{"river", riverJobs},
	}
}

func names() []string {
	var listed []string
	for _, p := range peers() {
		listed = append(listed, p.name)
	}
	return listed
}

func command() *cobra.Command {
	b := &bench{}
	var only []string
	var jsonFile string
	cmd := &cobra.Command{
		Use:   "benchpeers",
		Short: "Measure what an order store would otherwise be built from",
		Long: `Each peer runs on a private Postgres with fsync on, with the settings that orderstore dev gives its own, and where it needs
a broker on an embedded NATS. The orders are those of orderbench.

  postgres   ceiling: batches of 512 rows by unnest, a transaction each, nothing else
  echo       ceiling: echo decodes and encodes each order, and stores nothing
  outbox     by hand: a transaction for each order and its outbox row, a polling relay to JetStream, a projector a message
  watermill  Watermill's outbox: published in the order's transaction, forwarded to JetStream
  river      River: a job inserted in the order's transaction, and worked on`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			runs, err := b.all(cmd.Context(), only, cmd.OutOrStdout())
			if err != nil || jsonFile == "" {
				return err
			}
			content, err := json.MarshalIndent(runs, "", "  ")
			if err != nil {
				return fmt.Errorf("encode runs: %w", err)
			}
			return os.WriteFile(jsonFile, append(content, '\n'), 0o644) //nolint:gosec // a report is for all to read
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&only, "peer", names(), "which to measure")
	flags.IntVar(&b.connections, "connections", 64, "clients at once")
	flags.DurationVar(&b.phases.Warm, "warm", 2*time.Second, "how long to run before counting")
	flags.DurationVar(&b.phases.Measure, "for", 10*time.Second, "how long to count")
	flags.DurationVar(&b.drain, "drain", 10*time.Second, "how long what was stored may take to arrive after the last answer")
	flags.Uint64Var(&b.seed, "seed", 1, "of the orders")
	flags.StringVar(&jsonFile, "json", "", "also write the runs to this file")
	return cmd
}

// all measures the named peers, one after the other.
func (b *bench) all(ctx context.Context, only []string, out io.Writer) ([]*report.Run, error) {
	chosen := map[string]func(context.Context, *bench) (*report.Run, error){}
	for _, p := range peers() {
		chosen[p.name] = p.run
	}
	dir, err := os.MkdirTemp("", "benchpeers-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// The Postgres of a program run by root is another user's, who has to get through here to its data.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing in it but closed folders
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	b.dir, b.log = dir, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b.cluster, err = postgres.StartCluster(ctx, postgres.ClusterConfig{
		Dir: filepath.Join(dir, "postgres"), Databases: names(), Durable: true, Log: b.log,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.cluster.Stop(context.WithoutCancel(ctx)) }()
	var runs []*report.Run
	for _, name := range only {
		do, ok := chosen[name]
		if !ok {
			return runs, fmt.Errorf("there is no peer %s: choose of %v", name, names())
		}
		run, err := b.measure(ctx, do)
		if err != nil {
			return runs, fmt.Errorf("measure %s: %w", name, err)
		}
		run.Command = "benchpeers --peer " + name
		run.Print(out)
		runs = append(runs, run)
	}
	return runs, nil
}

func (b *bench) measure(ctx context.Context, do func(context.Context, *bench) (*report.Run, error)) (*report.Run, error) {
	meter, err := load.StartMeter(os.Getpid(), b.cluster.PID())
	if err != nil {
		return nil, err
	}
	run, err := do(ctx, b)
	if err != nil {
		return nil, err
	}
	if run.Usage, err = meter.Stop(); err != nil || run.Usage == nil {
		return run, err
	}
	// The peer and its load are one process, and the warm-up counts too: what an order took is too much rather than too little.
	run.Usage.Generator = 0
	return run, nil
}
