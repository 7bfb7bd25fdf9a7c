package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
)

// family is a command that only has others below it.
func family(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	cmd.AddCommand(below...)
	return cmd
}

func tenantsCommand(c *connection) *cobra.Command {
	var t client.Tenant
	var l client.Limits
	put := &cobra.Command{
		Use: "put TENANT", Short: "Create or change a tenant", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			t.ID = args[0]
			if l != (client.Limits{}) {
				t.Limits = &l
			}
			answer, err := store.PutTenant(cmd.Context(), t)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	put.Flags().StringVar(&t.Name, "name", "", "name for people")
	limitFlags(put.Flags(), &l)
	put.Flags().Int64Var(&l.OrdersPerDay, "orders-per-day", 0, "orders on one day in UTC, on all nodes together (default: no limit)")
	return family("tenants", "Tenants: the accounts of users", put, noticesCommand(c))
}

// limitFlags are what tenants and clients have in common.
func limitFlags(f *pflag.FlagSet, l *client.Limits) {
	f.Int64Var(&l.OrdersPerSecond, "orders-per-second", 0, "orders, lines of batches too, on one node")
	f.Int64Var(&l.ReadsPerSecond, "reads-per-second", 0, "reads of one thing, on one node")
	f.Int64Var(&l.SearchesPerSecond, "searches-per-second", 0, "pages of lists and exports, on one node")
	f.Int64Var(&l.WritesPerSecond, "writes-per-second", 0, "other writes, on one node")
	f.Int64Var(&l.Burst, "burst", 0, "requests of a kind at once (default: those of a second)")
	f.Int64Var(&l.MaxStreams, "max-streams", 0, "event streams and long polls that are open at the same time, on one node")
}

func limitsCommand(c *connection) *cobra.Command {
	var l client.Limits
	cmd := &cobra.Command{
		Use: "limits CLIENT_ID", Short: "Set what a client may ask for; without flags it is what every client may", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			answer, err := store.PutClientLimits(cmd.Context(), args[0], l)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	limitFlags(cmd.Flags(), &l)
	return cmd
}

func providersCommand(c *connection) *cobra.Command {
	var p client.Provider
	put := &cobra.Command{
		Use: "put PROVIDER", Short: "Register or change a provider", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			p.ID = args[0]
			answer, err := store.PutProvider(cmd.Context(), p)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := put.Flags()
	f.StringVar(&p.Name, "name", "", "name for people")
	f.StringSliceVar(&p.BusinessTypes, "business-type", nil, "what kinds of work it does")
	f.StringSliceVar(&p.Regions, "region", nil, "where (default: everywhere)")
	f.Int64Var(&p.MaxLoad, "max-load", 0, "open tasks at most (default: no limit)")
	_ = put.MarkFlagRequired("business-type") // it exists
	return family("providers", "Providers: the third parties that do the work", put, loadCommand(c))
}

func loadCommand(c *connection) *cobra.Command {
	var report client.LoadReport
	var capacity int64
	cmd := &cobra.Command{
		Use: "load LOAD", Short: "Say, as the provider, how loaded it is: 0 idle, 1 full, more overloaded", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if report.Load, err = strconv.ParseFloat(args[0], 64); err != nil {
				return fmt.Errorf("load %q: not a number", args[0])
			}
			if cmd.Flags().Changed("capacity") {
				report.Capacity = &capacity
			}
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			answer, err := store.ReportLoad(cmd.Context(), report)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&capacity, "capacity", 0, "open tasks it takes at most (default: as registered)")
	f.DurationVar(&report.TTL, "ttl", client.DefaultLoadTTL, "how long this counts: 1 s to 1 h")
	return cmd
}

func routesCommand(c *connection) *cobra.Command {
	var r client.Route
	var within durations
	put := &cobra.Command{
		Use: "put BUSINESS_TYPE", Short: "Set how orders of a business type find their providers", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			r.BusinessType = args[0]
			if err := within.into(&r); err != nil {
				return err
			}
			answer, err := store.PutRoute(cmd.Context(), r)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := put.Flags()
	f.StringVar(&r.Policy, "policy", client.PolicyLeastLoaded, "all or least_loaded")
	f.StringSliceVar(&r.Regions, "region", nil, "regions it is for (default: all)")
	f.DurationVar(&within.accept, "accept-within", 0, "time to accept a task, such as 15m (default: no limit)")
	f.DurationVar(&within.complete, "complete-within", 0, "time to complete a task (default: no limit)")
	f.DurationVar(&within.cancel, "cancel-within", 0, "time to answer when the user wants to cancel (default: an hour)")
	f.IntVar(&r.MaxAttempts, "max-attempts", 0, "providers to ask one after the other (default: no limit)")
	return family("routes", "Routes: how orders find their providers", put)
}

// durations are a route's deadlines.
type durations struct{ accept, complete, cancel time.Duration }

// into sets them in whole seconds, which is what the store counts in.
func (d *durations) into(r *client.Route) error {
	for _, within := range []struct {
		flag  string
		given time.Duration
		set   *int64
	}{
		{"--accept-within", d.accept, &r.AcceptWithin},
		{"--complete-within", d.complete, &r.CompleteWithin},
		{"--cancel-within", d.cancel, &r.CancelWithin},
	} {
		if within.given < 0 || within.given%time.Second != 0 {
			return fmt.Errorf("%s %s: it is counted in whole seconds", within.flag, within.given)
		}
		*within.set = int64(within.given / time.Second)
	}
	return nil
}

func tokensCommand(c *connection) *cobra.Command {
	var spec client.ClientSpec
	create := &cobra.Command{
		Use: "create", Short: "Create a client and print its credentials, once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			answer, err := store.CreateClient(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := create.Flags()
	f.StringVar(&spec.Kind, "kind", client.KindUser, "user, provider, auxiliary or operator")
	f.StringVar(&spec.Tenant, "tenant", "", "the user's tenant")
	f.StringVar(&spec.Provider, "provider", "", "the provider's name")
	f.StringVar(&spec.System, "system", "", "the auxiliary system's name")
	f.StringSliceVar(&spec.Scopes, "scope", nil, "what it may do (default: all that its kind may)")
	show := &cobra.Command{
		Use: "print", Short: "Print an access token, for use with curl", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			token, err := store.Token(cmd.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	tokens := family("tokens", "Clients and their access tokens", create, show, disableCommand(c), rotateCommand(c), limitsCommand(c), signingKeysCommand(c))
	tokens.Aliases = []string{"clients"}
	return tokens
}

// disableCommand and rotateCommand end what a client logs in with.
func disableCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "disable CLIENT_ID", Short: "End a client for ever: its tokens are refused within a second", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			return store.DisableClient(cmd.Context(), args[0])
		},
	}
}

func rotateCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "rotate CLIENT_ID", Short: "Give a client a new secret and print it, once; the old one ends", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			answer, err := store.RotateClientSecret(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
}

func lagCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "lag", Short: "Show how far each stage of the store is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			lag, err := store.Lag(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintf(table, "STAGE\tPOSITION\tLAG\t\nlog\t%d\t0\t\n", lag.Log)
			stages := append(lag.Views, lag.Auxiliary...)
			if lag.Stream != nil {
				stages = append([]client.StageLag{*lag.Stream}, stages...)
			}
			for _, s := range stages {
				_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", s.Name, s.Position, s.Lag, remarks(s))
			}
			return table.Flush()
		},
	}
}

// remarks are what there is to say of a stage.
func remarks(s client.StageLag) string {
	all := slices.DeleteFunc(append([]string{s.Stopped, s.Health}, s.Drift...), func(text string) bool { return text == "" })
	return strings.Join(all, "; ")
}
