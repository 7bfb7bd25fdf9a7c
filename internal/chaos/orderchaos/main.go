// Command orderchaos breaks a whole cluster while users and providers work on it, and checks from outside that nothing was lost.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/internal/chaos/cluster"
)

// The exit statuses beside 0.
const (
	exitViolated = 1 // a promise was not kept, or something else went wrong
	exitVoid     = 2 // too little happened for the run to say anything
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use: "orderchaos", Short: "Break an order store's whole cluster and check that it keeps its promises", SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(runCommand(), checkCommand(), ledgerCommand(), faultsCommand(), natsCommand())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "orderchaos:", err)
	if isVoid(err) {
		return exitVoid
	}
	return exitViolated
}

// natsCommand is how the runner starts itself as a NATS server.
func natsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "nats FILE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cluster.ServeNATS(context.WithoutCancel(cmd.Context()), args[0])
		},
	}
}
