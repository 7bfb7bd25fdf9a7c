package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func holdCommand(c *connection) *cobra.Command {
	var why client.HoldReason
	cmd := &cobra.Command{
		Use: "hold TASK --reason CODE", Short: "Put a task on hold: its deadlines do not run meanwhile", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.HoldTask(cmd.Context(), args[0], why)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
	cmd.Flags().StringVar(&why.ReasonCode, "reason", "", "reason code, such as no_stock")
	cmd.Flags().StringVar(&why.Message, "message", "", "more about it, for people")
	_ = cmd.MarkFlagRequired("reason") // it exists
	return cmd
}

func resumeCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "resume TASK", Short: "Go on with a task that is on hold", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.ResumeTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
}

func delegateCommand(c *connection) *cobra.Command {
	var help client.DelegationRequest
	var lines map[string]int64
	var payload string
	cmd := &cobra.Command{
		Use: "delegate TASK BUSINESS_TYPE", Short: "Ask a provider of another business type for help with a task", Args: cobra.ExactArgs(2),
		Long: `Ask a provider of another business type for help with a task.

The payload, from a JSON file ("-" for standard input), is handed over. The answer comes back to this task's provider, as
task.delegation_answered, and stands in the task's delegations; the user hears only of the result that is posted for this task.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			help.BusinessType = args[1]
			for _, line := range slices.Sorted(maps.Keys(lines)) {
				help.Lines = append(help.Lines, client.TaskQuantity{LineID: line, Quantity: lines[line]})
			}
			if payload != "" {
				body, err := readInput(payload, cmd.InOrStdin())
				if err != nil {
					return fmt.Errorf("delegate: %w", err)
				}
				if err := json.Unmarshal(body, &help.Payload); err != nil {
					return fmt.Errorf("delegate: %s: %w", payload, err)
				}
			}
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.DelegateTask(cmd.Context(), args[0], help)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
	f := cmd.Flags()
	f.StringToInt64Var(&lines, "line", nil, "line and quantity to hand over, such as 1=2 (default: all that is open)")
	f.StringVar(&payload, "payload", "", "JSON file to hand over")
	f.StringVar(&help.Note, "note", "", "a note to the delegate, for people")
	return cmd
}
