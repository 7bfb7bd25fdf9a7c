package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/orderstore/orderstore/client"
)

func subscriptionsCommand(c *connection) *cobra.Command {
	return family("subscriptions", "Subscriptions: what parties hear of, and how far they are",
		createSubscriptionCommand(c), listSubscriptionsCommand(c), updateSubscriptionCommand(c), seekCommand(c), followCommand(c),
		deliveriesCommand(c), deadLettersCommand(c), replayCommand(c), rotateSecretCommand(c), deleteSubscriptionCommand(c),
		onSubscription(c, "get", "Show a subscription", func(ctx context.Context, store *client.Client, id string) (any, error) {
			return store.GetSubscription(ctx, id)
		}),
		onSubscription(c, "pause", "Stop a subscription until it is resumed", func(ctx context.Context, store *client.Client, id string) (any, error) {
			return store.PauseSubscription(ctx, id)
		}),
		onSubscription(c, "resume", "Go on with a subscription that is paused or disabled", func(ctx context.Context, store *client.Client, id string) (any, error) {
			return store.ResumeSubscription(ctx, id)
		}),
		onSubscription(c, "test", "Call a webhook once, and show what came of it", func(ctx context.Context, store *client.Client, id string) (any, error) {
			return store.TestSubscription(ctx, id)
		}),
	)
}

// onSubscription is a command that does one thing with a subscription and prints what came of it.
func onSubscription(c *connection, use, short string, do func(context.Context, *client.Client, string) (any, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " SUBSCRIPTION", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			answer, err := do(cmd.Context(), store, args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
}

// beginning is where a subscription begins, as flags.
type beginning struct {
	now, first bool
	after      int64
	since      string
}

func (b *beginning) flags(f *pflag.FlagSet) {
	f.BoolVar(&b.now, "now", false, "with what happens from now on")
	f.BoolVar(&b.first, "beginning", false, "with the first event there is")
	f.Int64Var(&b.after, "after", 0, "with the event after this position")
	f.StringVar(&b.since, "since", "", "with the first event since this time, such as 2026-01-31T12:00:00Z, or for so long, such as 2h")
}

// from is where; nil where no flag says.
func (b *beginning) from(f *pflag.FlagSet) (*client.From, error) {
	switch {
	case f.Changed("now"):
		return &client.From{Now: true}, nil
	case f.Changed("beginning"):
		return &client.From{}, nil
	case f.Changed("after"):
		return &client.From{Position: b.after}, nil
	case !f.Changed("since"):
		return nil, nil
	}
	if ago, err := time.ParseDuration(b.since); err == nil {
		return &client.From{Since: time.Now().Add(-ago)}, nil
	}
	at, err := time.Parse(time.RFC3339, b.since)
	if err != nil {
		return nil, fmt.Errorf("--since %s: neither a time such as 2026-01-31T12:00:00Z nor a length of time such as 2h", b.since)
	}
	return &client.From{Since: at}, nil
}

func (b *beginning) exclusive(cmd *cobra.Command) {
	cmd.MarkFlagsMutuallyExclusive("now", "beginning", "after", "since")
}

// webhookFlags are how a webhook is called.
func webhookFlags(f *pflag.FlagSet, w *client.WebhookSettings) {
	f.StringVar(&w.URL, "webhook", "", "address that is called")
	f.IntVar(&w.Concurrency, "concurrency", 0, "of a webhook: calls under way at a time")
	f.Float64Var(&w.Rate, "rate", 0, "of a webhook: calls a second at most")
	f.DurationVar(&w.Timeout, "timeout", 0, "of a webhook: time for one call, in whole seconds")
	f.IntVar(&w.MaxAttempts, "max-attempts", 0, "of a webhook: attempts to deliver an event")
}

func createSubscriptionCommand(c *connection) *cobra.Command {
	var spec client.SubscriptionSpec
	var begin beginning
	var hook client.WebhookSettings
	cmd := &cobra.Command{
		Use: "create", Short: "Make a subscription and print it; of a webhook with its secret, once", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if spec.Start, err = begin.from(cmd.Flags()); err != nil {
				return err
			}
			if hook.URL != "" {
				spec.Transport, spec.Webhook = client.TransportWebhook, &hook
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			s, err := store.CreateSubscription(cmd.Context(), spec)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.Name, "name", "", "its name (default: made up)")
	f.StringVar(&spec.Transport, "transport", client.TransportFeed, "feed, sse, nats, or webhook")
	f.StringSliceVar(&spec.Types, "type", nil, `event types, or families such as "order.*" (default: all)`)
	f.StringSliceVar(&spec.BusinessTypes, "business-type", nil, "identification codes (default: all)")
	f.BoolVar(&spec.IncludeOrders, "include-orders", false, "each event comes with its order")
	f.StringVar(&hook.Algorithm, "algorithm", "", "of a webhook: hmac-sha256 or ed25519")
	webhookFlags(f, &hook)
	begin.flags(f)
	begin.exclusive(cmd)
	return cmd
}

func updateSubscriptionCommand(c *connection) *cobra.Command {
	var name string
	var types, businessTypes []string
	var include bool
	var hook client.WebhookSettings
	cmd := &cobra.Command{
		Use: "update SUBSCRIPTION", Short: "Change what a subscription is about; what no flag says stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := client.SubscriptionChange{Webhook: &hook}
			f := cmd.Flags()
			if f.Changed("name") {
				change.Name = &name
			}
			if f.Changed("type") {
				change.Types = &types
			}
			if f.Changed("business-type") {
				change.BusinessTypes = &businessTypes
			}
			if f.Changed("include-orders") {
				change.IncludeOrders = &include
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			s, err := store.UpdateSubscription(cmd.Context(), args[0], change)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "its name")
	f.StringSliceVar(&types, "type", nil, `event types, or families such as "order.*"; "" for all`)
	f.StringSliceVar(&businessTypes, "business-type", nil, `identification codes; "" for all`)
	f.BoolVar(&include, "include-orders", false, "each event comes with its order")
	webhookFlags(f, &hook)
	return cmd
}

func seekCommand(c *connection) *cobra.Command {
	var begin beginning
	cmd := &cobra.Command{
		Use: "seek SUBSCRIPTION", Short: "Move a subscription back or forth; whoever reads it goes on from there", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := begin.from(cmd.Flags())
			if err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			s, err := store.SeekSubscription(cmd.Context(), args[0], *to)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), s)
		},
	}
	begin.flags(cmd.Flags())
	begin.exclusive(cmd)
	cmd.MarkFlagsOneRequired("now", "beginning", "after", "since")
	return cmd
}

func deleteSubscriptionCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "delete SUBSCRIPTION", Short: "End a subscription for good", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			return store.DeleteSubscription(cmd.Context(), args[0])
		},
	}
}

func listSubscriptionsCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the party's subscriptions", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "ID\tNAME\tTRANSPORT\tSTATUS\tPOSITION\tLAG\t")
			for s, err := range store.ListSubscriptions(cmd.Context()) {
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", s.ID, s.Name, s.Transport, s.Status, s.Position, s.Lag, s.Reason)
			}
			return table.Flush()
		},
	}
}
