package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func stateMachineCommand(c *connection) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "state-machine", Short: "Show what may become of tasks and orders: the tables that the store runs on", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.public()
			if err != nil {
				return err
			}
			machine, err := store.StateMachine(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return indented(cmd.OutOrStdout(), machine)
			}
			return printMachine(cmd.OutOrStdout(), machine)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the tables as JSON")
	return cmd
}

func printMachine(out io.Writer, m client.StateMachine) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")) } // Flush says what failed
	row("TASK", "OPEN", "ITS PROVIDER MAY")
	for _, s := range m.Task.Statuses {
		row(s.Status, yes(s.Open), strings.Join(s.SupportedActions, " "))
	}
	row()
	row("FROM", "ACTION", "BY", "TO", "EVENT")
	for _, t := range m.Task.Transitions {
		event := t.Event
		if t.ChildEvent != "" {
			event += ", of a delegated task " + t.ChildEvent
		}
		to := strings.Join(t.To, " | ")
		if t.Late {
			to += " (late)"
		}
		row(dash(t.From), t.Action, t.By, to, event)
	}
	row()
	row("ORDER", "WHEN, THE FIRST THAT HOLDS")
	for _, r := range m.Order.Rules {
		row(r.Status, r.When)
	}
	row()
	row("ORDER", "AT ITS END", "OFFERED AGAIN")
	for _, s := range m.Order.Statuses {
		row(s.Status, yes(s.AtEnd), yes(s.Waiting))
	}
	row()
	row("RESULT", strings.Join(m.Result.Outcomes, " | "))
	row("ITS LINES", strings.Join(m.Result.LineOutcomes, " | "))
	row("FULFILLMENT", strings.Join(m.Order.FulfillmentStatuses, " | "))
	row("CANCELLATION", strings.Join(m.Order.CancellationStatuses, " | "))
	return table.Flush()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
