// Command orderstore is the server: it serves the roles command, relay, projection, query and broadcast, runs a whole system
// for development, migrates the databases, and verifies that log, stream and views agree.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

// gcPercent lets the heap grow to five times what is alive before it is collected: what is alive is small, and what is not comes
// and goes with each request.
const gcPercent = 400

// memoryLimit, in bytes, is where that ends: near it the heap is collected as often as it takes.
const memoryLimit = 340 << 20

func run() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errDiffers) { // what differs was printed already
		fmt.Fprintln(os.Stderr, "orderstore:", err)
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "orderstore",
		Short:         "An order store with its reads and writes split",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		serveCommand(), devCommand(), migrateCommand(), verifyCommand(), rebuildCommand(), recoverCommand(), skipCommand(), natsConfigCommand(),
	)
	return root
}
