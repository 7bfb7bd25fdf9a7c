package main

import (
	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

// eraseCommand erases a customer.
func eraseCommand(c *connection) *cobra.Command {
	var whom client.ErasureRequest
	cmd := &cobra.Command{
		Use:   "erase --tenant TENANT (--email ADDRESS | --phone NUMBER | --order ORDER_ID | --key KEY)",
		Short: "Erase a customer for ever: destroy the key that all of it is sealed under", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			done, err := store.EraseCustomer(cmd.Context(), whom)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), done)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&whom.Tenant, "tenant", "", "whose customer it is")
	flags.StringVar(&whom.Email, "email", "", "the customer's e-mail address")
	flags.StringVar(&whom.Phone, "phone", "", "the number of a customer who gave no address, with + and the country")
	flags.StringVar(&whom.OrderID, "order", "", "an order of the customer")
	flags.StringVar(&whom.Key, "key", "", "the key that an erasure named, to do it again after a backup was restored")
	cmd.MarkFlagsOneRequired("email", "phone", "order", "key")
	cmd.MarkFlagsMutuallyExclusive("email", "phone", "order", "key")
	_ = cmd.MarkFlagRequired("tenant") // the flag is there
	return cmd
}
