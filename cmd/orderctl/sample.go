package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/sample"
)

func sampleCommand() *cobra.Command {
	var n int
	var seed uint64
	cmd := &cobra.Command{
		Use: "sample", Short: "Write sample orders as NDJSON, the same for the same seed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := bufio.NewWriter(cmd.OutOrStdout())
			for order := range sample.Orders(seed, n) {
				line, err := order.JSON()
				if err != nil {
					return err
				}
				if _, err := w.Write(append(line, '\n')); err != nil {
					return fmt.Errorf("write sample: %w", err)
				}
				if err := cmd.Context().Err(); err != nil {
					return err
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().IntVar(&n, "orders", 2000, "how many")
	cmd.Flags().Uint64Var(&seed, "seed", 1, "which ones")
	return cmd
}
