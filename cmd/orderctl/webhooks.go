package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func rotateSecretCommand(c *connection) *cobra.Command {
	overlap := client.KeepOldSecret
	cmd := &cobra.Command{
		Use: "rotate-secret SUBSCRIPTION", Short: "Make a new secret for a webhook and print it, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if overlap%time.Second != 0 && overlap > 0 {
				return fmt.Errorf("--overlap %s: it is counted in whole seconds", overlap)
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			s, err := store.RotateSecret(cmd.Context(), args[0], overlap)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", client.KeepOldSecret, "how long the old secret signs beside it (default: a day)")
	return cmd
}

// newest bounds a list that is printed.
const newest = 50

func deliveriesCommand(c *connection) *cobra.Command {
	var filter client.AttemptFilter
	var limit int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "deliveries SUBSCRIPTION", Short: "List the attempts of a webhook, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			if !asJSON {
				_, _ = fmt.Fprintln(table, "AT\tPOSITION\tTYPE\tATTEMPT\tOUTCOME\tSTATUS\tMS\tREASON")
			}
			for a, err := range store.ListDeliveries(cmd.Context(), args[0], filter) {
				if err != nil {
					return err
				}
				if limit--; limit < 0 {
					break
				}
				if asJSON {
					if err := json.NewEncoder(cmd.OutOrStdout()).Encode(a); err != nil {
						return fmt.Errorf("print attempt: %w", err)
					}
					continue
				}
				_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%s\t%d\t%.1f\t%s\n", a.At.Format(time.RFC3339), a.Position, a.Type, a.Number, a.Outcome, a.Status, a.LatencyMS, a.Reason)
			}
			return table.Flush()
		},
	}
	f := cmd.Flags()
	f.Int64Var(&filter.Position, "position", 0, "of this event only")
	f.StringVar(&filter.OrderID, "order", "", "of this order only")
	f.StringVar(&filter.Outcome, "outcome", "", "with this outcome only, such as delivered or timeout")
	f.IntVar(&filter.Status, "status", 0, "answered with this status only")
	f.IntVar(&limit, "limit", newest, "how many")
	f.BoolVar(&asJSON, "json", false, "print them as JSON, one a line, with the answers")
	return cmd
}

func deadLettersCommand(c *connection) *cobra.Command {
	var filter client.LetterFilter
	cmd := &cobra.Command{
		Use: "dead-letters SUBSCRIPTION", Short: "List what a webhook could not deliver by its turn, and why", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "POSITION\tORDER\tTYPE\tSTATE\tATTEMPTS\tREASON")
			for l, err := range store.ListDeadLetters(cmd.Context(), args[0], filter) {
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\n", l.Position, dash(l.OrderID), l.Type, l.State, l.Attempts, l.Reason)
			}
			return table.Flush()
		},
	}
	cmd.Flags().StringVar(&filter.OrderID, "order", "", "of this order only")
	cmd.Flags().StringVar(&filter.State, "state", "", "in this state only: retrying, waiting, dead or replay")
	return cmd
}

func replayCommand(c *connection) *cobra.Command {
	var which client.ReplayRequest
	var since, until string
	cmd := &cobra.Command{
		Use: "replay SUBSCRIPTION", Short: "Have a webhook sent events again; count them first with --dry-run", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs [2]error
			which.FromTime, errs[0] = moment("--from-time", since)
			which.ToTime, errs[1] = moment("--to-time", until)
			if err := errors.Join(errs[:]...); err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			answer, err := store.Replay(cmd.Context(), args[0], which)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&which.Position, "position", 0, "this event")
	f.StringVar(&which.OrderID, "order", "", "the events of this order")
	f.BoolVar(&which.DeadLetters, "dead-letters", false, "all that was given up")
	f.Int64Var(&which.FromPosition, "from-position", 0, "from this position")
	f.Int64Var(&which.ToPosition, "to-position", 0, "to this position, included")
	f.StringVar(&since, "from-time", "", "from this time, such as 2026-01-31T12:00:00Z")
	f.StringVar(&until, "to-time", "", "to before this time")
	f.BoolVar(&which.DryRun, "dry-run", false, "only count them")
	cmd.MarkFlagsRequiredTogether("from-position", "to-position")
	cmd.MarkFlagsRequiredTogether("from-time", "to-time")
	cmd.MarkFlagsOneRequired("position", "order", "dead-letters", "from-position", "from-time")
	cmd.MarkFlagsMutuallyExclusive("position", "order", "dead-letters", "from-position", "from-time")
	return cmd
}

// moment reads a time that may be left out.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%s %s: not a time such as 2026-01-31T12:00:00Z", flag, text)
	}
	return at, nil
}
