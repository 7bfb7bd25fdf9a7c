// Command orderctl is the people's command line of an order store: it imports, submits, amends and cancels orders, shows and follows
// them, registers providers, routes and the catalog, makes clients and subscriptions, works on tasks, and plays a sample provider.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

// The exit statuses besides 0.
const (
	exitFailed   = 1
	exitRejected = 2 // the import is through, but some orders were rejected
)

// errRejected ends an import that has rejected orders. They were told already.
var errRejected = errors.New("some orders were rejected")

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := rootCommand().ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNonconforming):
		return exitFailed
	case errors.Is(err, errRejected):
		return exitRejected
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(os.Stderr, "orderctl: interrupted")
	default:
		fmt.Fprintln(os.Stderr, "orderctl:", err)
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "orderctl",
		Short: "The people's command line of an order store",
		Long: `The people's command line of an order store.

Where the store is, and as whom to talk to it, is told by --url, --client-id and --client-secret; or by --data, the folder of
a development instance, with --as for the party; or by ORDERSTORE_URL, ORDERSTORE_CLIENT_ID and ORDERSTORE_CLIENT_SECRET.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c := &connection{}
	c.flags(root.PersistentFlags())
	root.AddCommand(
		importCommand(c), submitCommand(c), getCommand(c), listCommand(c), watchCommand(c), ordersCommand(c), exportCommand(c),
		tenantsCommand(c), providersCommand(c), routesCommand(c), productsCommand(c), vendorsCommand(c), tokensCommand(c), keysCommand(c), auditCommand(c), lagCommand(c),
		tasksCommand(c), subscriptionsCommand(c), stockCommand(c), replenishmentCommand(c), stateMachineCommand(c), invoiceCommand(c), customersCommand(c),
		sampleCommand(), providerSimCommand(c), conformanceCommand(c),
		auxiliaryCommand(c), eraseCommand(c),
	)
	return root
}
