package main

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/spf13/cobra"

	"github.com/orderstore/orderstore/client"
)

func productsCommand(c *connection) *cobra.Command {
	var p client.Product
	put := &cobra.Command{
		Use: "put SKU --tenant TENANT", Short: "Put a product into a tenant's catalog, or change it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			p.SKU = args[0]
			answer, err := store.PutProduct(cmd.Context(), p)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := put.Flags()
	f.StringVar(&p.Tenant, "tenant", "", "whose catalog")
	f.StringVar(&p.Name, "name", "", "name for people")
	f.StringVar(&p.VendorID, "vendor", "", "where it is bought")
	f.Int64Var(&p.ReorderLevel, "reorder-level", 0, "units at which it is to be ordered again")
	f.Int64Var(&p.TargetLevel, "target-level", 0, "units to order up to (default: twice the reorder level)")
	f.BoolVar(&p.Discontinued, "discontinued", false, "it is not ordered any more")
	_ = put.MarkFlagRequired("tenant") // it exists
	list, get := catalogReaders(c, "products", "SKU", (*client.Client).ListProducts, (*client.Client).GetProduct)
	return family("products", "Products: the articles of tenants' catalogs", put, list, get)
}

func vendorsCommand(c *connection) *cobra.Command {
	var v client.Vendor
	put := &cobra.Command{
		Use: "put VENDOR", Short: "Create or change a vendor", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asOperator)
			if err != nil {
				return err
			}
			v.ID = args[0]
			answer, err := store.PutVendor(cmd.Context(), v)
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), answer)
		},
	}
	f := put.Flags()
	f.StringVar(&v.Tenant, "tenant", "", "whose vendor it is (default: every tenant's)")
	f.StringVar(&v.Name, "name", "", "name for people")
	f.StringVar(&v.Email, "email", "", "where its orders go")
	list, get := catalogReaders(c, "vendors", "VENDOR", (*client.Client).ListVendors, (*client.Client).GetVendor)
	return family("vendors", "Vendors: where tenants buy their products", put, list, get)
}

// catalogReaders are the commands that list a part of the catalog and print an entry of it.
func catalogReaders[T any](
	c *connection, part, id string,
	all func(*client.Client, context.Context, client.CatalogFilter) iter.Seq2[T, error],
	one func(*client.Client, context.Context, string, client.CatalogFilter) (T, error),
) (list, get *cobra.Command) {
	filter := client.CatalogFilter{PageSize: 200}
	list = &cobra.Command{
		Use: "list", Short: "Print the tenant's " + part + ", one a line", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			lines := json.NewEncoder(cmd.OutOrStdout())
			for entry, err := range all(store, cmd.Context(), filter) {
				if err != nil {
					return err
				}
				if err := lines.Encode(entry); err != nil {
					return err
				}
			}
			return nil
		},
	}
	if part == "products" {
		list.Flags().StringVar(&filter.VendorID, "vendor", "", "of this vendor")
	}
	get = &cobra.Command{
		Use: "get " + id, Short: "Print one of the tenant's " + part, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := c.client(asUser)
			if err != nil {
				return err
			}
			entry, err := one(store, cmd.Context(), args[0], client.CatalogFilter{})
			if err != nil {
				return err
			}
			return indented(cmd.OutOrStdout(), entry)
		},
	}
	return list, get
}
