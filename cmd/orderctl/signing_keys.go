package main

import (
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

// signingKeysCommand is for the keys of clients that sign requests instead of fetching tokens.
func signingKeysCommand(c *connection) *cobra.Command {
	create := &cobra.Command{
		Use: "create CLIENT_ID", Short: "Give a client one more key and print it, once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			key, err := store.CreateRequestKey(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), key)
		},
	}
	list := &cobra.Command{
		Use: "list CLIENT_ID", Short: "List a client's keys, without their secrets", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			keys, err := store.ListRequestKeys(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), struct {
				Items []client.ClientKey `json:"items"`
			}{keys})
		},
	}
	remove := &cobra.Command{
		Use: "delete CLIENT_ID KEY_ID", Short: "End a key: nothing signed with it is taken from now on", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			return store.DeleteRequestKey(cmd.Context(), args[0], args[1])
		},
	}
	return family("signing-keys", "Keys by which clients sign requests instead of using tokens", create, list, remove)
}
