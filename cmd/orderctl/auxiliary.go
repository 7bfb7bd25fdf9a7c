package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func auxiliaryCommand(c *connection) *cobra.Command {
	letters := systemLettersCommand(c)
	letters.AddCommand(
		operateCommand(c, "retry SYSTEM LETTER", "Have a system try again what it could not do; an event that was left out is taken in by a rebuild",
			(*client.Client).RetryLetter),
		operateCommand(c, "discard SYSTEM LETTER", "Give an outside effect up, or let the system go past the event at which it stands",
			(*client.Client).DiscardLetter),
	)
	whole := func(do func(*client.Client, context.Context, string, string) (client.AuxiliarySystem, error)) letterAction {
		return func(store *client.Client, ctx context.Context, system, _, reason string) (client.AuxiliarySystem, error) {
			return do(store, ctx, system, reason)
		}
	}
	return family("auxiliary", "Auxiliary systems: what handles the side events of orders",
		systemsCommand(c), letters,
		operateCommand(c, "pause SYSTEM", "Keep a system from handling events and from telling anybody", whole((*client.Client).PauseSystem)),
		operateCommand(c, "resume SYSTEM", "Let a paused system go on", whole((*client.Client).ResumeSystem)),
		operateCommand(c, "rebuild SYSTEM", "Have a system compute its records again; nobody is told twice", whole((*client.Client).RebuildSystem)),
	)
}

func systemsCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show how each system is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			systems, err := store.AuxiliarySystems(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "SYSTEM\tSTATE\tPOSITION\tLAG\tQUEUED\tDEAD\tSTOPPED AT")
			for _, s := range systems {
				_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", s.System, s.State, s.Position, s.Lag, s.Queued, s.Dead, dash(s.Stopped))
			}
			return table.Flush()
		},
	}
}

func systemLettersCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "dead-letters SYSTEM", Short: "List what a system could not do, and why", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			found, err := store.SystemLetters(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			_, _ = fmt.Fprintln(table, "LETTER\tKIND\tSTATE\tORDER\tATTEMPTS\tAT\tFAILURE")
			for _, l := range found {
				_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.Kind, l.State, dash(l.OrderID), l.Attempts, l.At.Format(time.RFC3339), l.Failure)
			}
			return table.Flush()
		},
	}
}

// letterAction acts on a system, or on a dead letter of it.
type letterAction = func(store *client.Client, ctx context.Context, system, letter, reason string) (client.AuxiliarySystem, error)

func operateCommand(c *connection, use, short string, do letterAction) *cobra.Command {
	var reason string
	named := len(strings.Fields(use)) - 1 // the system, and perhaps a letter
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(named),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			answer, err := do(store, cmd.Context(), args[0], args[named-1], reason)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept with who asked")
	return cmd
}
