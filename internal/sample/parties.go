package sample

import "slices"

// Provider is a third party that can do the work of a business type. Its JSON, without the id, is the body of
// PUT /v1/admin/providers/{provider}.
type Provider struct {
	ID            string   `json:"-"`
	Name          string   `json:"name"`
	BusinessTypes []string `json:"business_types"`
	Regions       []string `json:"regions"` // none: every region
	MaxLoad       int64    `json:"max_load"`
}

// Route is how a business type is routed. Its JSON, without the business type, is the body of
// PUT /v1/admin/routes/{business_type}.
type Route struct {
	BusinessType   string   `json:"-"`
	Policy         string   `json:"policy"`
	Regions        []string `json:"regions"`
	AcceptWithin   int64    `json:"accept_within"`   // seconds
	CompleteWithin int64    `json:"complete_within"` // seconds
	MaxAttempts    int      `json:"max_attempts"`
}

// Product is an article of the catalog. Its JSON, without the SKU, is the body of PUT /v1/admin/catalog/products/{sku}; the
// tenant is left to the caller.
type Product struct {
	SKU          string `json:"-"`
	Tenant       string `json:"tenant,omitempty"`
	Name         string `json:"name"`
	VendorID     string `json:"vendor_id"`
	ReorderLevel int64  `json:"reorder_level"`
}

// Vendor is where products come from. Its JSON, without the id, is the body of PUT /v1/admin/catalog/vendors/{vendor_id}.
type Vendor struct {
	ID     string `json:"-"`
	Tenant string `json:"tenant,omitempty"`
	Name   string `json:"name"`
	Email  string `json:"email,omitempty"`
}

// BusinessTypes are all that sample orders have.
func BusinessTypes() []string {
	var names []string
	for _, b := range businesses() {
		names = append(names, b.name)
	}
	return names
}

// Regions are all that sample orders have, "default" among them.
func Regions() []string {
	names := []string{"default"}
	for _, p := range places() {
		names = append(names, p.regions...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Providers are enough for every sample order: each business type has one that serves every region, and some have a second,
// which names its regions and so comes first there.
func Providers() []Provider {
	var all []Provider
	for _, b := range businesses() {
		p := Provider{ID: b.provider, Name: b.title, BusinessTypes: []string{b.name}, Regions: []string{}}
		if b.regions != nil {
			p.Regions = b.regions
			all = append(all, Provider{ID: b.provider + "-world", Name: b.title + " World", BusinessTypes: []string{b.name}, Regions: []string{}})
		}
		all = append(all, p)
	}
	return append(all, Provider{
		ID: "east-sea-logistics", Name: "东海物流", BusinessTypes: []string{"retail.erp", "wms"}, Regions: []string{"cn-east", "cn-south"},
	})
}

// Routes are one for each business type.
func Routes() []Route {
	var all []Route
	for i, b := range businesses() {
		r := Route{BusinessType: b.name, Policy: "least_loaded", Regions: []string{}, AcceptWithin: 900, CompleteWithin: 86_400, MaxAttempts: 3}
		if i%5 == 4 {
			r.Policy = "all"
		}
		all = append(all, r)
	}
	return all
}

// Products are all that sample orders have on their lines.
func Products() []Product {
	var all []Product
	for i, p := range catalog() {
		all = append(all, Product{SKU: p.sku, Name: p.name, VendorID: p.vendor, ReorderLevel: int64(20 + i%5*20)})
	}
	return all
}

// Vendors are those of all products.
func Vendors() []Vendor { return vendors() }
