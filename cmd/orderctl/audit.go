package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func auditCommand(c *connection) *cobra.Command {
	var filter client.AuditFilter
	var since string
	var most int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what through the admin API, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since != "" {
				at, err := time.Parse(time.RFC3339, since)
				if err != nil {
					return fmt.Errorf("--since %s: not a time such as 2026-01-31T12:00:00Z", since)
				}
				filter.Since = at
			}
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprint(table, "AT\tCLIENT\tMETHOD\tPATH\tSTATUS\n")
			n := 0
			for e, err := range store.ListAudit(cmd.Context(), filter) {
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.At.Format(time.RFC3339), e.ClientID, e.Method, e.Path, outcome(e.Status))
				if n++; n == most {
					break
				}
			}
			return table.Flush()
		},
	}
	f := cmd.Flags()
	f.StringVar(&filter.ClientID, "client", "", "by this client")
	f.StringVar(&filter.Path, "path", "", "where the path begins so, such as /v1/admin/clients")
	f.StringVar(&since, "since", "", "from this time on, such as 2026-01-31T12:00:00Z")
	f.IntVar(&most, "limit", 100, "entries at most (0: all)")
	return cmd
}

func outcome(status int) string {
	if status == 0 {
		return "unknown"
	}
	return fmt.Sprint(status)
}

// keysCommand is for the keys of the store's own token issuer.
func keysCommand(c *connection) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "Show the keys that sign tokens, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			keys, err := store.SigningKeys(cmd.Context())
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), keys)
		},
	}
	rotate := &cobra.Command{
		Use: "rotate", Short: "Bring in a new key: it signs after a minute, the old ones verify until their tokens are over", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			keys, err := store.RotateSigningKey(cmd.Context())
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), keys)
		},
	}
	return family("keys", "Keys that sign access tokens", list, rotate)
}
