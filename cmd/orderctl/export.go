package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/orderstore/orderstore/client"
)

type exportOptions struct {
	which  listOptions
	format string
	output string
	quiet  bool
}

func exportCommand(c *connection) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export --output FILE",
		Short: "Write all orders of a filter, as they are at one position, to an NDJSON, CSV or Parquet file",
		Long: `Write all orders of a filter, as they are at one position, to an NDJSON, CSV or Parquet file ("-" for standard output).

NDJSON has the orders as the store answers them, one a line. CSV and Parquet have a row a line of an order. Amounts are in minor units of the
order's currency. The file gets its name when it is whole: an export that was cut leaves no file, and the exit status is 1.`,
		Example: "  orderctl export --format parquet --created-after 2026-01-01 --output january.parquet",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.which.read(cmd); err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), store, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.which.flags(f)
	f.StringVar(&o.which.filter.Sort, "sort", "", "placed_at, updated_at or total; - before it turns it round")
	f.Int64Var(&o.which.filter.Position, "position", 0, "as of this position of the log, or later")
	f.StringVar(&o.format, "format", "", "ndjson, csv or parquet (default: what the file's name ends with, or ndjson)")
	f.StringVarP(&o.output, "output", "o", "-", "file to write")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (o *exportOptions) run(ctx context.Context, store *client.Client, out, progress io.Writer) error {
	export, err := store.ExportOrders(ctx, o.which.filter, o.formatOf())
	if err != nil {
		return err
	}
	defer func() { _ = export.Close() }()
	shown := &exportProgress{format: o.formatOf(), begun: time.Now()}
	if !o.quiet {
		shown.on(progress)
	}
	if o.output == "-" {
		_, err = io.Copy(out, io.TeeReader(export, shown))
	} else {
		err = writeWhole(o.output, io.TeeReader(export, shown))
	}
	shown.done()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if !o.quiet {
		_, _ = fmt.Fprintf(progress, "%s as of position %d, %d bytes in %s\n", shown.what(export.Count()), export.Meta.Position, shown.bytes,
			time.Since(shown.begun).Round(time.Millisecond))
	}
	return nil
}

func (o *exportOptions) formatOf() string {
	if o.format != "" {
		return o.format
	}
	for _, format := range []string{client.FormatCSV, client.FormatParquet} {
		if filepath.Ext(o.output) == "."+format {
			return format
		}
	}
	return client.FormatNDJSON
}

// writeWhole makes a file of what comes, under another name until all of it is on disk.
func writeWhole(path string, from io.Reader) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = io.Copy(file, from)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// exportProgress counts what comes by, and shows it on a terminal. How much is to come nobody knows.
type exportProgress struct {
	format string
	begun  time.Time
	bar    *progressbar.ProgressBar
	bytes  int64
	rows   int64
}

func (p *exportProgress) on(w io.Writer) {
	if file, ok := w.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return
	}
	p.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionSpinnerType(14), progressbar.OptionClearOnFinish(), progressbar.OptionUseANSICodes(true))
}

// Write is told of what came.
func (p *exportProgress) Write(b []byte) (int, error) {
	p.bytes += int64(len(b))
	p.rows += int64(bytes.Count(b, []byte{'\n'}))
	if p.bar != nil {
		p.bar.Describe(p.what(-1))
		_ = p.bar.Set64(p.bytes) // what cannot be shown is no reason to stop
	}
	return len(b), nil
}

// what says how much it is, and how fast it came: orders where they are known, or else rows; of Parquet, neither can be seen from outside.
func (p *exportProgress) what(orders int64) string {
	unit, n := "orders", orders
	switch {
	case n >= 0:
	case p.format == client.FormatNDJSON:
		n = p.rows
	case p.format == client.FormatCSV:
		unit, n = "rows", max(0, p.rows-1)
	default:
		return "exporting"
	}
	took := max(time.Since(p.begun), time.Millisecond)
	return fmt.Sprintf("%d %s, %.0f/s", n, unit, float64(n)/took.Seconds())
}

func (p *exportProgress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
