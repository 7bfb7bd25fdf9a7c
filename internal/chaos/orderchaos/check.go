package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/chaos/faults"
)

func checkCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "check --dir DIR", Short: "Check again what a run has recorded and read, without its cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := check.Offline(filepath.Join(dir, "run"))
			if err != nil {
				return err
			}
			r := &result{Report: report, Faults: map[string]int{}, NoBite: map[string]int{}}
			r.print(cmd.OutOrStdout())
			if !report.Clean() {
				return errors.New("promises were not kept")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "folder of the run")
	_ = cmd.MarkFlagRequired("dir") // it is there
	return cmd
}

func faultsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "faults", Short: "List the kinds of faults", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, f := range append(faults.Catalog(true), faults.RollingUpgrade("", "")) { // the last one with --upgrade-to
				alone := ""
				if f.Alone {
					alone = "alone"
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\n", f.Kind, alone)
			}
			return table.Flush()
		},
	}
}

func ledgerCommand() *cobra.Command {
	var page string
	cmd := &cobra.Command{
		Use: "ledger RESULT…", Short: "Add the results of runs to the ledger", Args: cobra.MinimumNArgs(0),
		RunE: func(_ *cobra.Command, args []string) error { return addToLedger(page, args) },
	}
	cmd.Flags().StringVar(&page, "page", "docs/reliability.md", "the ledger's page; what was added lies beside it, as .jsonl")
	return cmd
}
