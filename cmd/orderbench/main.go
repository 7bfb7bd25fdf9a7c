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

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:   "orderbench",
		Short: "Measure an order store",
		Long: `Puts load on an order store over its public API and reports what it measured. It needs either a development instance that runs
(orderstore dev --data DIR; name its folder with --data) or --start, which starts one in a temporary folder and removes it.

  how many orders a second?          orderbench throughput --start
  how long does one order take?      orderbench latency --start --rate 300
  how many reads a second?           orderbench reads --start --fill 50000
  what do auxiliary systems cost?    orderbench auxiliary --start
  everything, as a page with plots   orderbench report --start

Orders look like those of a shop: 1 to 12 lines, several channels, kinds of work and currencies. What is sent in the warm-up is not
counted. Beside rates and latencies each run shows: how long stream and views took to be level with the log afterwards, the
processor time an order cost in the service, in Postgres and in this program, the most memory of the service, and what the host took
for others ("host took": a run with more than a few percent says little). Processor time and memory are known on Linux alone.

The exit status is 1 if anything that was submitted was refused, lost, or read older than announced.`,
		Version: version, SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(
		throughputCommand(), latencyCommand(), batchCommand(), stallCommand(), growthCommand(), fanoutCommand(), soakCommand(), readsCommand(),
		auxiliaryCommand(), idleCommand(), reportCommand(), echoCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "orderbench:", err)
		return 1
	}
	return 0
}
