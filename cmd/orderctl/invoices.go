package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func invoiceCommand(c *connection) *cobra.Command {
	var pdf, html string
	var credit bool
	cmd := &cobra.Command{
		Use:   "invoice ORDER",
		Short: "Print an order's invoice or credit note, or store it as PDF or HTML",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			document, get := client.DocumentInvoice, store.GetInvoice
			if credit {
				document, get = client.DocumentCreditNote, store.GetCreditNote
			}
			if pdf == "" && html == "" {
				v, err := get(cmd.Context(), args[0], 0)
				if err != nil {
					return err
				}
				return indented(cmd.OutOrStdout(), v)
			}
			for _, to := range []struct{ file, media string }{{pdf, client.MediaPDF}, {html, client.MediaHTML}} {
				if to.file == "" {
					continue
				}
				printed, err := store.PrintDocument(cmd.Context(), args[0], document, to.media)
				if err != nil {
					return err
				}
				if err := os.WriteFile(to.file, printed, 0o600); err != nil {
					return fmt.Errorf("store %s: %w", document, err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&pdf, "pdf", "", "file to write the PDF to")
	cmd.Flags().StringVar(&html, "html", "", "file to write the page to")
	cmd.Flags().BoolVar(&credit, "credit-note", false, "the credit note instead of the invoice")
	return cmd
}

func customersCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{Use: "customers", Short: "Profiles and points of customers"}
	var by client.CustomerSearch
	find := &cobra.Command{
		Use:   "find",
		Short: "Print the customers known by an e-mail address or a telephone number",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if by.Email == "" && by.Phone == "" {
				return errors.New("customers find: --email or --phone is needed")
			}
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			found, err := store.FindCustomers(cmd.Context(), by)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), found)
		},
	}
	find.Flags().StringVar(&by.Email, "email", "", "e-mail address")
	find.Flags().StringVar(&by.Phone, "phone", "", "telephone number")
	find.Flags().StringVar(&by.Country, "country", "", "whose number it is where it has no +: DE, JP")
	get := &cobra.Command{
		Use:   "get CUSTOMER",
		Short: "Print a customer's profile",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			found, err := store.GetCustomer(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), found)
		},
	}
	cmd.AddCommand(find, get)
	return cmd
}
