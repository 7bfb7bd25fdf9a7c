package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func tasksCommand(c *connection) *cobra.Command {
	return family("tasks", "Tasks: a provider's work",
		tasksListCommand(c), acceptCommand(c), rejectCommand(c), resultCommand(c), holdCommand(c), resumeCommand(c), delegateCommand(c))
}

func tasksListCommand(c *connection) *cobra.Command {
	var filter client.TaskFilter
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the provider's tasks, the oldest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			if !asJSON {
				_, _ = fmt.Fprintln(table, "OFFERED\tTASK\tORDER\tTYPE\tSTATUS\tDUE\tACTIONS")
			}
			n := 0
			for t, err := range store.ListTasks(cmd.Context(), filter) {
				if err != nil {
					return err
				}
				if asJSON {
					err = json.NewEncoder(cmd.OutOrStdout()).Encode(t)
				} else {
					_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
						t.OfferedAt.Format("2006-01-02 15:04:05"), t.ID, t.OrderID, t.BusinessType, t.Status, due(t), strings.Join(t.SupportedActions, " "))
				}
				if err != nil {
					return fmt.Errorf("print task: %w", err)
				}
				if n++; n == most {
					break
				}
			}
			return table.Flush()
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&filter.Status, "status", nil, "with one of these statuses")
	f.IntVar(&most, "limit", 50, "how many at most; 0 for all")
	f.BoolVar(&asJSON, "json", false, "print the documents, one a line")
	return cmd
}

// due is when the task's deadline is past; "-" where none runs.
func due(t client.Task) string {
	if at := t.Due(); !at.IsZero() {
		return at.Format("2006-01-02 15:04:05")
	}
	return "-"
}

func acceptCommand(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "accept TASK", Short: "Take a task on, or agree to its cancellation", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.AcceptTask(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
}

func rejectCommand(c *connection) *cobra.Command {
	var why client.Rejection
	cmd := &cobra.Command{
		Use: "reject TASK --reason CODE", Short: "Give a task back, or refuse its cancellation", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.RejectTask(cmd.Context(), args[0], why)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
	f := cmd.Flags()
	f.StringVar(&why.ReasonCode, "reason", "", "reason code, such as no_capacity")
	f.StringVar(&why.Message, "message", "", "more about it, for people")
	f.BoolVar(&why.Blocking, "blocking", false, "do not ask this provider again for this order")
	_ = cmd.MarkFlagRequired("reason") // it exists
	return cmd
}

func resultCommand(c *connection) *cobra.Command {
	var result client.ResultSubmission
	var file string
	cmd := &cobra.Command{
		Use: "result TASK", Short: "Post what became of a task", Args: cobra.ExactArgs(1),
		Long: `Post what became of a task: completed, unless told otherwise. Lines, tracking and payload come from a JSON file.

Without --result-id or one in the file, the id is made from the task's, so that the same command posts the same result.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			submission, err := resultOf(args[0], file, result)
			if err != nil {
				return err
			}
			store, err := c.client(asProvider)
			if err != nil {
				return err
			}
			task, err := store.PostResult(cmd.Context(), args[0], submission)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), task)
		},
	}
	f := cmd.Flags()
	f.StringVar(&result.Outcome, "outcome", "", "completed, partial or failed")
	f.StringVar(&result.ResultID, "result-id", "", "the provider's own id of the result")
	f.StringVar(&file, "file", "", "JSON file with the result")
	return cmd
}

// resultOf is the result in the file, if there is one, with what the flags say.
func resultOf(task, file string, flags client.ResultSubmission) (client.ResultSubmission, error) {
	result := client.ResultSubmission{ResultID: "ctl-" + task, Outcome: client.OutcomeCompleted}
	if file != "" {
		in, err := os.Open(file)
		if err != nil {
			return result, fmt.Errorf("result: %w", err)
		}
		defer func() { _ = in.Close() }()
		d := json.NewDecoder(in)
		d.DisallowUnknownFields()
		if err := d.Decode(&result); err != nil {
			return result, fmt.Errorf("result: %s: %w", file, err)
		}
	}
	if flags.ResultID != "" {
		result.ResultID = flags.ResultID
	}
	if flags.Outcome != "" {
		result.Outcome = flags.Outcome
	}
	return result, nil
}
