package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/projection"
)

// rebuildOptions are the flags of rebuild.
type rebuildOptions struct {
	data    string
	all     bool
	keep    bool
	accept  bool
	abort   bool
	dropOld bool
}

func rebuildCommand() *cobra.Command {
	var o rebuildOptions
	cmd := &cobra.Command{
		Use:   "rebuild VIEW… | --all",
		Short: "Build views anew from the log beside the live ones, and put them in their place while reads go on",
		Long: `Build the next generation of views from the log beside the live one, compare the two row by row, and put it in the live one's place in one
transaction. Reads and projectors go on. Interrupted at any time, it goes on where it was when it is started again.
The views are ` + strings.Join(projection.Views(), ", ") + `.`,
		RunE: func(cmd *cobra.Command, views []string) error {
			views, err := o.chosen(views)
			if err != nil {
				return err
			}
			return withInstance(cmd.Context(), o.data, func(ctx context.Context, i *instance) error {
				return o.run(ctx, i, views, cmd.OutOrStdout())
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "the folder of a development instance, running or stopped; without it, the URLs come from the environment")
	flags.BoolVar(&o.all, "all", false, "all views, by one reading of the log")
	flags.BoolVar(&o.keep, "keep", true, "keep the former tables until rebuild --drop-old")
	flags.BoolVar(&o.accept, "accept", false, "put the new table in the live one's place although rows differ and the view's code has not changed")
	flags.BoolVar(&o.abort, "abort", false, "throw away what an interrupted rebuild has built")
	flags.BoolVar(&o.dropOld, "drop-old", false, "drop the former tables that were kept")
	cmd.MarkFlagsMutuallyExclusive("abort", "drop-old", "accept")
	return cmd
}

// chosen are the views that are meant. Those of --abort and --drop-old are all, unless some are named.
func (o *rebuildOptions) chosen(views []string) ([]string, error) {
	switch {
	case o.all && len(views) > 0:
		return nil, errors.New("name views, or say --all, not both")
	case o.all, len(views) == 0 && (o.abort || o.dropOld):
		return projection.Views(), nil
	case len(views) == 0:
		return nil, fmt.Errorf("name a view, or say --all: there are %s", strings.Join(projection.Views(), ", "))
	}
	return views, nil
}

func (o *rebuildOptions) run(ctx context.Context, i *instance, views []string, out io.Writer) error {
	if i.cfg.PostgresRead == "" {
		return errors.New("name the read database with ORDERSTORE_POSTGRES_READ")
	}
	read, err := postgres.Open(ctx, i.cfg.PostgresRead, postgres.PoolConfig{Name: "orderstore-rebuild", MaxConns: 6})
	if err != nil {
		return err
	}
	defer read.Close()
	write, err := postgres.Open(ctx, i.cfg.PostgresWrite, postgres.PoolConfig{Name: "orderstore-rebuild", MaxConns: 2})
	if err != nil {
		return err
	}
	defer write.Close()
	// What the synchronous standby lacks is in no view yet, and must not come into one this way.
	guard := postgres.NewGuard(postgres.GuardConfig{Pool: write, Logger: slog.New(slog.DiscardHandler)})
	if err := guard.Look(ctx); err != nil && !errors.Is(err, postgres.ErrUnsafeSettings) {
		return err
	}
	bars := &rebuildBars{out: os.Stderr, shown: term.IsTerminal(int(os.Stderr.Fd()))} //nolint:gosec // a file descriptor is small
	cfg := projection.RebuildConfig{
		Pool: read, Log: stream.NewLog(write).Behind(guard), Views: views, Accept: o.accept, Who: operatorName(), Progress: bars.show,
	}
	switch {
	case o.abort:
		return abortRebuild(ctx, cfg, out)
	case o.dropOld:
		return dropFormer(ctx, cfg, out)
	}
	done, err := projection.Rebuild(ctx, cfg)
	bars.end()
	for i := range done {
		printRebuilt(out, &done[i])
	}
	switch {
	case tooOld(err):
		return fmt.Errorf("the read database is older than this program: run orderstore migrate first: %w", err)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("interrupted; the same command goes on from here: %w", err)
	case err != nil:
		return err
	case !o.keep:
		return dropFormer(ctx, cfg, out)
	}
	fmt.Fprintln(out, "the former tables are kept: orderstore rebuild --drop-old drops them")
	return nil
}

// tooOld recognises a read database from before there were generations.
func tooOld(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "42P01" || pgErr.Code == "42703")
}

func printRebuilt(out io.Writer, r *projection.Rebuilt) {
	fmt.Fprintf(out, "%-12s generation %d is live from position %d", r.View, r.Generation, r.Position)
	if r.Events > 0 {
		fmt.Fprintf(out, "; %d events in %s, %.0f/s", r.Events, r.Took.Round(time.Millisecond), r.Rate())
	}
	fmt.Fprintln(out)
	c := &r.Comparison
	switch {
	case c.Earlier:
		fmt.Fprintf(out, "%-12s was compared before it was interrupted\n", "")
	case !c.Done:
		fmt.Fprintf(out, "%-12s was not compared in this run: the former table was at no position that this one was at\n", "")
	case c.Differences() == 0:
		fmt.Fprintf(out, "%-12s all %d rows equal the former table's at position %d\n", "", c.Rows, c.Position)
	default:
		fmt.Fprintf(out, "%-12s DIFFERENT at position %d: %d rows changed, %d only in the former table, %d only in this one; the first: %s\n",
			"", c.Position, c.Changed, c.OnlyOld, c.OnlyNew, c.Difference)
	}
	if r.FromCode != r.ToCode {
		fmt.Fprintf(out, "%-12s the view's code went from version %d to %d\n", "", r.FromCode, r.ToCode)
	}
}

func abortRebuild(ctx context.Context, cfg projection.RebuildConfig, out io.Writer) error {
	aborted, err := projection.Abort(ctx, cfg)
	if err != nil {
		return err
	}
	if len(aborted) == 0 {
		fmt.Fprintln(out, "there was nothing half built")
		return nil
	}
	fmt.Fprintln(out, "thrown away, half built:", strings.Join(aborted, ", "))
	return nil
}

func dropFormer(ctx context.Context, cfg projection.RebuildConfig, out io.Writer) error {
	dropped, err := projection.DropOld(ctx, cfg)
	if err != nil {
		return err
	}
	if len(dropped) == 0 {
		fmt.Fprintln(out, "there was no former table")
	}
	for _, d := range dropped {
		fmt.Fprintf(out, "dropped generation %d of %s\n", d.Generation, d.View)
	}
	return nil
}

// operatorName is who the audit says it was: the account on this machine.
func operatorName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// rebuildBars shows a bar for each stage on a terminal, and a line for each anywhere else.
type rebuildBars struct {
	out   io.Writer
	shown bool
	stage string
	bar   *progressbar.ProgressBar
}

func (b *rebuildBars) show(p projection.Progress) {
	stage := p.Stage + " " + strings.Join(p.Views, ", ")
	if stage != b.stage {
		b.end()
		b.stage = stage
		if !b.shown {
			fmt.Fprintln(b.out, stage, "from position", p.Position)
			return
		}
		b.bar = progressbar.NewOptions64(max(p.Target, 1),
			progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("events"), progressbar.OptionSetPredictTime(true),
			progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond))
		_ = b.bar.Set64(p.Position) // a bar that cannot be drawn stops nothing
		return
	}
	if b.bar != nil {
		b.bar.ChangeMax64(max(p.Target, 1))
		_ = b.bar.Set64(p.Position) // likewise
	}
}

// end leaves the last bar where it is.
func (b *rebuildBars) end() {
	if b.bar != nil {
		fmt.Fprintln(b.out)
		b.bar = nil
	}
}
