package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func stockWebhookCommand(c *connection) *cobra.Command {
	var w client.StockWebhook
	var most int64
	set := &cobra.Command{
		Use: "set URL", Short: "Be told of changed levels at an address", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if w.URL = args[0]; cmd.Flags().Changed("max-available") {
				w.MaxAvailable = &most
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			answer, err := store.SetStockWebhook(cmd.Context(), w)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	set.Flags().StringSliceVar(&w.SKUs, "sku", nil, "of these products alone")
	set.Flags().Int64Var(&most, "max-available", 0, "levels with so much available at most")
	set.Flags().BoolVar(&w.RotateSecret, "rotate-secret", false, "make a new secret")
	show := &cobra.Command{
		Use: "show", Short: "Show it, and how far it was told", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			answer, err := store.GetStockWebhook(cmd.Context())
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	remove := &cobra.Command{
		Use: "delete", Short: "Be told no more", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			return store.DeleteStockWebhook(cmd.Context())
		},
	}
	return family("webhook", "Where the tenant hears of levels that changed", set, show, remove)
}

func scheduleCommand(c *connection) *cobra.Command {
	var every time.Duration
	var installation bool
	cmd := &cobra.Command{
		Use: "schedule", Short: "Show or set how often it is looked for products to be bought", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			if installation {
				return store.DeleteReplenishmentSchedule(cmd.Context())
			}
			var answer client.ReplenishmentSchedule
			if cmd.Flags().Changed("every") {
				answer, err = store.SetReplenishmentSchedule(cmd.Context(), every)
			} else {
				answer, err = store.GetReplenishmentSchedule(cmd.Context())
			}
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	cmd.Flags().DurationVar(&every, "every", 0, "so often, such as 24h; 0 for never")
	cmd.Flags().BoolVar(&installation, "installation", false, "as the installation has it")
	cmd.MarkFlagsMutuallyExclusive("every", "installation")
	return cmd
}
