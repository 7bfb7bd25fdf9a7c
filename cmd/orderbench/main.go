// Command orderbench puts load on a running order store, over its public API alone, and reports what it measured.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "orderbench", Short: "Measure a running order store", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(throughputCommand(), latencyCommand(), batchCommand(), stallCommand(), growthCommand(), soakCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "orderbench:", err)
		return 1
	}
	return 0
}
