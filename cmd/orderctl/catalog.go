package main

import (
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
	return family("products", "Products: the articles of tenants' catalogs", put)
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
	return family("vendors", "Vendors: where tenants buy their products", put)
}
