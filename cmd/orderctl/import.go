package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/cmd/orderctl/importer"
	"github.com/orderstore/orderstore/cmd/orderctl/mapping"
	"github.com/orderstore/orderstore/cmd/orderctl/mappings"
)

type importOptions struct {
	mapping string
	config  importer.Config
	json    bool
	dry     bool
	quiet   bool
}

func importCommand(c *connection) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE --mapping MAPPING",
		Short: "Import orders from a CSV or NDJSON file, as a mapping file says",
		Long: `Import orders from a CSV or NDJSON file ("-" for standard input), as a mapping file says.

The mapping is a YAML file, or the name of one that comes with orderctl: ` + strings.Join(mappings.Names(), ", ") + `.

Rows of one order may stand anywhere in the file: it is read twice, first to count the rows of each order, then to import
them. Orders that cannot be made or that the store refuses go to the reject file, one JSON object a line with the rows, their
numbers (a header is row 1) and the reason; the rest goes on. An import that was interrupted is simply run again: what is
stored already is answered as a replay.

The exit status is 0 when every order is in the store, 2 when some were rejected, and 1 when the import did not get through.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.config.Path, o.config.Stdin = args[0], cmd.InOrStdin()
			return importFile(cmd.Context(), c, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.mapping, "mapping", "m", "", "mapping file, or the name of one that comes with orderctl")
	f.StringVar(&o.config.Encoding, "encoding", "", "the file's encoding, instead of the mapping's")
	f.StringVar(&o.config.RejectFile, "rejects", "", "reject file (default rejects-FILE.ndjson here)")
	f.IntVar(&o.config.BatchSize, "batch-size", importer.DefaultBatchSize, "orders in a batch")
	f.IntVar(&o.config.Parallel, "parallel", importer.DefaultParallel, "batches under way at a time")
	f.IntVar(&o.config.MaxOpenRows, "max-open-rows", importer.DefaultMaxOpenRows, "rows held in memory for orders that are not complete yet")
	f.DurationVar(&o.config.Patience, "patience", importer.DefaultPatience, "how long to go on while the store takes nothing")
	f.BoolVar(&o.dry, "dry-run", false, "map and check only, submit nothing")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	_ = cmd.MarkFlagRequired("mapping") // it exists
	return cmd
}

func importFile(ctx context.Context, c *connection, o importOptions, out, progress io.Writer) error {
	m, err := readMapping(o.mapping)
	if err != nil {
		return err
	}
	o.config.Mapping, o.config.MappingName = m, o.mapping
	if !o.dry {
		store, err := importStore(c, m)
		if err != nil {
			return err
		}
		// Wrong credentials are told at once, not after the file was read.
		if _, err := store.Token(ctx); err != nil {
			return err
		}
		o.config.Store = store
	}
	if o.config.RejectFile == "" {
		o.config.RejectFile = rejectFile(o.config.Path)
	}
	if !o.quiet {
		o.config.Progress = progressOn(progress)
	}
	summary, err := importer.Run(ctx, o.config)
	if printed := printSummary(summary, o.json, out); err == nil {
		err = printed
	}
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: run it again to go on, nothing is stored twice")
	}
	if err == nil && summary.Rejected > 0 {
		return errRejected
	}
	return err
}

func printSummary(summary *importer.Summary, asJSON bool, out io.Writer) error {
	if asJSON {
		return json.NewEncoder(out).Encode(summary)
	}
	summary.Print(out)
	return nil
}

// importStore connects to the store and sees to it that the orders go to the right tenant, where both are known.
func importStore(c *connection, m *mapping.Mapping) (*client.Client, error) {
	r, err := c.resolve(asUser)
	if err != nil {
		return nil, err
	}
	if m.Tenant != "" && r.tenant != "" && m.Tenant != r.tenant {
		return nil, fmt.Errorf("the mapping is for tenant %s, the credentials are of %s", m.Tenant, r.tenant)
	}
	r.config.RetryFor = 5 * time.Second // the importer itself goes on for longer
	return client.New(r.config)
}

// readMapping reads a mapping file, or one that comes with orderctl.
func readMapping(name string) (*mapping.Mapping, error) {
	text, ok := mappings.Open(name)
	if !ok {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("mapping: %w; orderctl itself has %s", err, strings.Join(mappings.Names(), ", "))
		}
		text = b
	}
	m, err := mapping.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func rejectFile(path string) string {
	if path == "-" {
		return "rejects.ndjson"
	}
	base := filepath.Base(path)
	return "rejects-" + strings.TrimSuffix(base, filepath.Ext(base)) + ".ndjson"
}

// progressOn is a bar on a terminal, and lines elsewhere.
func progressOn(w io.Writer) importer.Progress {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return importer.NewBar(w, time.Now)
	}
	return importer.NewLines(w, time.Now)
}
