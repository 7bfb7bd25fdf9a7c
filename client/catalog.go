package client

import (
	"context"
	"fmt"
	"iter"
)

// CatalogFilter selects products or vendors; its zero value selects all of the client's own tenant.
type CatalogFilter struct {
	Tenant   string // for a client that is not of one tenant
	VendorID string // products of this vendor; vendors are not filtered by it
	PageSize int    // 1 to 200; 0: the store's default
	Position int64  // as in GetOptions
}

func (f CatalogFilter) request(part string, path ...string) request {
	r := read(append([]string{"v1", "catalog", part}, path...)...)
	for name, value := range map[string]string{"tenant": f.Tenant, "vendor_id": f.VendorID, "limit": count(f.PageSize)} {
		if value != "" {
			r.query.Set(name, value)
		}
	}
	r.atLeast(f.Position)
	return r
}

// ListProducts goes through a tenant's products by their SKUs, page by page. It ends after the first error.
func (c *Client) ListProducts(ctx context.Context, filter CatalogFilter) iter.Seq2[Product, error] {
	return listCatalog(ctx, c, filter.request("products"), func(p *Product, meta Meta) { p.Meta = meta })
}

// ListVendors goes through the vendors that a tenant sees by their ids: its own, and those that are every tenant's.
func (c *Client) ListVendors(ctx context.Context, filter CatalogFilter) iter.Seq2[Vendor, error] {
	filter.VendorID = ""
	return listCatalog(ctx, c, filter.request("vendors"), func(v *Vendor, meta Meta) { v.Meta = meta })
}

func listCatalog[T any](ctx context.Context, c *Client, r request, set func(*T, Meta)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for page, err := range pages[T](ctx, c, r) {
			if err != nil {
				var none T
				yield(none, fmt.Errorf("list catalog: %w", err))
				return
			}
			for _, entry := range page.Items {
				set(&entry, page.meta)
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}

// GetProduct reads a product. It returns a Problem with the code not_found for one that the tenant does not have.
func (c *Client) GetProduct(ctx context.Context, sku string, filter CatalogFilter) (Product, error) {
	var p Product
	meta, err := c.do(ctx, CatalogFilter{Tenant: filter.Tenant, Position: filter.Position}.request("products", sku), &p)
	p.Meta = meta
	if err != nil {
		return p, fmt.Errorf("get product %s: %w", sku, err)
	}
	return p, nil
}

// GetVendor reads a vendor. It returns a Problem with the code not_found for one that the tenant does not see.
func (c *Client) GetVendor(ctx context.Context, id string, filter CatalogFilter) (Vendor, error) {
	var v Vendor
	meta, err := c.do(ctx, CatalogFilter{Tenant: filter.Tenant, Position: filter.Position}.request("vendors", id), &v)
	v.Meta = meta
	if err != nil {
		return v, fmt.Errorf("get vendor %s: %w", id, err)
	}
	return v, nil
}

// OrderCatalog is what the catalog has of an order's lines now: products by their SKUs, vendors by their ids.
type OrderCatalog struct {
	Products map[string]Product `json:"products"`
	Vendors  map[string]Vendor  `json:"vendors"`
}
