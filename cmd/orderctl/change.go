package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func ordersCommand(c *connection) *cobra.Command {
	return family("orders", "Orders: submit, show, watch, export, amend, cancel and return them",
		submitCommand(c), getCommand(c), listCommand(c), watchOrdersCommand(c), exportCommand(c), amendCommand(c), cancelCommand(c), returnCommand(c))
}

// versionFlag adds the flag that says for which version of the order a change is meant.
func versionFlag(cmd *cobra.Command, version *int64) {
	cmd.Flags().Int64Var(version, "version", 0, "only if the order has this version (default: whatever it has)")
}

// versionOf is the version that was given. Without one it is not asked for: what a read says may be older than the change before.
func versionOf(given int64) int64 {
	if given != 0 {
		return given
	}
	return client.AnyVersion
}

func amendCommand(c *connection) *cobra.Command {
	var version int64
	cmd := &cobra.Command{
		Use:   "amend ORDER FILE",
		Short: `Change an order as a JSON merge patch says ("-" for standard input)`,
		Long: `Change an order as a JSON merge patch says ("-" for standard input), such as

  {"customer": {"phone": "1 23"}, "attributes": {"note": null}, "shipping": 990}

It may have customer, attributes, shipping, lines and total; null removes. Lines are all lines as they shall be, each with its
line_id, and may change until a provider has accepted.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			change, err := amendment(args[1], cmd.InOrStdin())
			if err != nil {
				return err
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			order, err := store.AmendOrder(cmd.Context(), args[0], versionOf(version), change)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), order)
		},
	}
	versionFlag(cmd, &version)
	return cmd
}

// amendment reads a merge patch strictly.
func amendment(file string, in io.Reader) (client.Amendment, error) {
	var change client.Amendment
	body, err := readInput(file, in)
	if err != nil {
		return change, fmt.Errorf("amend: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&change); err != nil {
		return change, fmt.Errorf("amend: %s: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return change, fmt.Errorf("amend: %s: there is more than one patch", file)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return change, fmt.Errorf("amend: %s: %w", file, err)
	}
	for name, patch := range map[string]**client.Object{"customer": &change.Customer, "attributes": &change.Attributes} {
		if value, given := members[name]; given && string(value) == "null" {
			*patch = new(client.Object) // null is no pointer to nothing here: it removes
		}
	}
	return change, nil
}

// readInput reads a file, or standard input for "-".
func readInput(file string, in io.Reader) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(file)
}

func cancelCommand(c *connection) *cobra.Command {
	var version int64
	var why client.CancelReason
	cmd := &cobra.Command{
		Use:   "cancel ORDER",
		Short: "Cancel an order, or ask its provider to, where one has accepted",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			order, err := store.CancelOrder(cmd.Context(), args[0], versionOf(version), why)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), order)
		},
	}
	versionFlag(cmd, &version)
	cmd.Flags().StringVar(&why.Reason, "reason", "", "reason, such as changed_mind")
	cmd.Flags().StringVar(&why.Message, "message", "", "more about it, for people")
	return cmd
}
