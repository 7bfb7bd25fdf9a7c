package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

// noticesCommand sets how a tenant's customers are told, from the files that hold it.
func noticesCommand(c *connection) *cobra.Command {
	get := &cobra.Command{
		Use: "get TENANT", Short: "Show how a tenant's customers are told", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			answer, err := store.NoticeSettings(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	put := &cobra.Command{
		Use: "put TENANT FILE", Short: `Set how a tenant's customers are told: {"language", "mail_events", "webhook": {"url", "events"}}`, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var settings client.NoticeSettings
			if err := readNoticeFile(cmd, args[1], &settings); err != nil {
				return err
			}
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			settings.Tenant = args[0]
			answer, err := store.PutNoticeSettings(cmd.Context(), settings)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	template := &cobra.Command{
		Use: "template TENANT EVENT LANGUAGE FILE", Short: `Set a tenant's words: {"subject", "text", "html"}`, Args: cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			var t client.NoticeTemplate
			if err := readNoticeFile(cmd, args[3], &t); err != nil {
				return err
			}
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			t.Event, t.Language = args[1], args[2]
			answer, err := store.PutNoticeTemplate(cmd.Context(), args[0], t)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	return family("notices", "Notices: how a tenant's customers hear of their orders", get, put, template)
}

// readNoticeFile reads a JSON file ("-" for standard input).
func readNoticeFile(cmd *cobra.Command, name string, into any) error {
	body, err := readInput(name, cmd.InOrStdin())
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
