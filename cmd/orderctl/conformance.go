package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/cmd/orderctl/conformance"
	"github.com/orderstore/orderstore/cmd/orderctl/playhub"
	"github.com/orderstore/orderstore/cmd/orderctl/playprovider"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// errNonconforming ends a run of the kit that found something. It was told already.
var errNonconforming = errors.New("the contract is not kept")

func conformanceCommand(c *connection) *cobra.Command {
	return family(
		"conformance", "Check a provider against the contract by playing a hub, or a hub by playing a provider",
		conformanceProviderCommand(), conformanceHubCommand(c),
	)
}

func conformanceProviderCommand() *cobra.Command {
	var config playhub.Config
	var asJSON bool
	var order string
	cmd := &cobra.Command{
		Use:   "provider [-- COMMAND ...]",
		Short: "Play a hub to a provider: repeat, lose, delay, cancel, amend, and look at what it does",
		Long: `Play a hub to a provider's implementation, and print what it did against the contract.

The kit starts a small hub on the loopback that answers as a store does, and orders things of the provider. The provider under test
is the command after --, which is started with ORDERSTORE_URL, ORDERSTORE_CLIENT_ID and ORDERSTORE_CLIENT_SECRET set, killed in the
middle and started again; or, without a command, one that somebody starts with the address and the credentials that are printed.
It is to work on every task that it is offered. What it cannot work on must not be ordered: see --order.

The exit status is 1 when any scenario fails.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			progress := &shared{out: cmd.ErrOrStderr()}
			config.Command, config.Output, config.Writes = args, progress, memory
			if order != "" {
				if err := readDocument("order", order, &config.Order); err != nil {
					return err
				}
			}
			config.Ready = func(a playhub.Access) { tellAccess(progress, a) }
			config.Playing = func(name string) { _, _ = fmt.Fprintf(progress, "playing %s\n", name) }
			report, err := playhub.Run(cmd.Context(), config)
			if err != nil {
				return err
			}
			return finish(cmd.OutOrStdout(), report, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.Address, "listen", "127.0.0.1:0", "address of the hub")
	f.StringVar(&config.WebhookURL, "webhook-url", "", "where signed notices are delivered to (default: nowhere)")
	f.StringVar(&config.WebhookSecret, "webhook-secret", "", "what they are signed with, as whsec_ and base64 (default: made up, in ORDERSTORE_WEBHOOK_SECRET)")
	f.StringVar(&order, "order", "", "file with an order that the provider can work on, as it would be submitted (default: a sample)")
	f.StringSliceVar(&config.Only, "only", nil, "scenarios to play (default: all)")
	f.DurationVar(&config.Within, "within", playhub.DefaultWithin, "time that the provider has for each scenario")
	f.DurationVar(&config.Settle, "settle", playhub.DefaultSettle, "time for which it is looked at after the last one")
	f.DurationVar(&config.ConnectWithin, "connect-within", playhub.DefaultConnectWithin, "time that the provider has to appear")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

func conformanceHubCommand(c *connection) *cobra.Command {
	var config playprovider.Config
	var asJSON bool
	var parties string
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Play a provider and its user to a running hub, and look from outside at what it answers",
		Long: `Play a provider, and the user whose orders it gets, to a running hub, and print what the hub did against the contract.

With an operator's credentials it registers two tenants, two providers and two business types of its own, with names that begin with
conformance, which stay behind: nothing else is touched. Without an operator, --parties names a file with parties that exist already:
{"user":{"client_id":…,"client_secret":…}, "provider":{…}, "business_type":…, "other_user":{…}}; orders of the business type go to the
provider alone, and nobody else works for it meanwhile.

The exit status is 1 when any scenario fails.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := c.resolve(asOperator)
			if err != nil && (parties == "" || !errors.Is(err, errAsWhom)) {
				return err
			}
			config.Hub = r.config
			if parties != "" {
				config.Parties = &playprovider.Parties{}
				if err := readDocument("parties", parties, config.Parties); err != nil {
					return err
				}
			}
			progress := cmd.ErrOrStderr()
			config.Playing = func(name string) { _, _ = fmt.Fprintf(progress, "playing %s\n", name) }
			report, err := playprovider.Run(cmd.Context(), config)
			if err != nil {
				return err
			}
			return finish(cmd.OutOrStdout(), report, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&parties, "parties", "", "file with parties that exist already (default: an operator makes some)")
	f.StringSliceVar(&config.Only, "only", nil, "scenarios to play (default: all)")
	f.DurationVar(&config.Within, "within", playprovider.DefaultWithin, "time that the hub has for each scenario")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// shared is a writer that the kit and the provider's program both write to.
type shared struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// memory is the write side of a store that is played.
func memory(heard func([]events.Appended)) []httpapi.Route {
	return command.Routes(command.NewMemory(time.Now, heard), nil)
}

// readDocument reads a file of JSON.
func readDocument(what, file string, into any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read %s: %s: %w", what, file, err)
	}
	return nil
}

func tellAccess(out io.Writer, a playhub.Access) {
	_, _ = fmt.Fprintf(out, "the hub is at\n  ORDERSTORE_URL=%s\n  ORDERSTORE_CLIENT_ID=%s\n  ORDERSTORE_CLIENT_SECRET=%s\n", a.URL, a.ClientID, a.ClientSecret)
	if a.WebhookSecret != "" {
		_, _ = fmt.Fprintf(out, "  ORDERSTORE_WEBHOOK_SECRET=%s\n", a.WebhookSecret)
	}
}

// finish prints a report, and is an error when anything failed.
func finish(out io.Writer, report conformance.Report, asJSON bool) error {
	var err error
	if asJSON {
		err = indented(out, report)
	} else {
		err = report.Print(out)
	}
	if err == nil && report.Failed > 0 {
		return errNonconforming
	}
	return err
}
