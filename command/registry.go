package command

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/orderstore/orderstore/events"
)

// The kinds of registry entries.
const (
	kindTenant   = "tenant"
	kindProvider = "provider"
	kindRoute    = "route"
	kindProduct  = "product"
	kindVendor   = "vendor"
	kindNotice   = "notice"  // that a party was told of once
	kindErasure  = "erasure" // of a customer, by the key
)

// Registry is what routing and placing look up: tenants, providers, routes, the catalog, and how many tasks each provider has
// open and how its circuit stands. It is the state of one position of the log and belongs to the committer; nobody else reads it.
type Registry struct {
	tenants   map[string]*events.Tenant
	providers map[string]*events.Provider
	routes    map[string]*events.Route
	products  map[string]*events.Product
	vendors   map[string]*events.Vendor
	notices   map[string]*events.SubscriptionEnd
	erasures  map[string]*Erased

	capable  map[string][]*events.Provider // by business type
	open     map[string]int64              // open tasks by provider
	circuits map[string]circuit            // by provider; those that are not there are closed
	reports  map[string]loadReport         // by provider; shared and never changed

	last    int64 // position of the latest entry
	routing int64 // position of the latest entry that routes are made of
}

func newRegistry() *Registry {
	return &Registry{
		tenants: map[string]*events.Tenant{}, providers: map[string]*events.Provider{}, routes: map[string]*events.Route{},
		products: map[string]*events.Product{}, vendors: map[string]*events.Vendor{}, notices: map[string]*events.SubscriptionEnd{},
		erasures: map[string]*Erased{},
		capable:  map[string][]*events.Provider{}, open: map[string]int64{}, circuits: map[string]circuit{},
	}
}

// entry is one row of the registry table.
type entry struct {
	Kind     string
	ID       string
	Position int64
	Document []byte
}

// put takes over an entry as it is stored.
func (r *Registry) put(e entry) error {
	var err error
	r.last = max(r.last, e.Position)
	if e.Kind == kindProvider || e.Kind == kindRoute {
		r.routing = max(r.routing, e.Position)
	}
	switch e.Kind {
	case kindTenant:
		err = putInto(r.tenants, e)
	case kindProvider:
		if err = putInto(r.providers, e); err == nil {
			r.index()
		}
	case kindRoute:
		err = putInto(r.routes, e)
	case kindProduct:
		err = putInto(r.products, e)
	case kindVendor:
		err = putInto(r.vendors, e)
	case kindNotice:
		err = putInto(r.notices, e)
	case kindErasure:
		err = putInto(r.erasures, e)
	default:
		err = fmt.Errorf("registry entry of unknown kind %q", e.Kind)
	}
	return err
}

func putInto[T any](m map[string]*T, e entry) error {
	v := new(T)
	if err := json.Unmarshal(e.Document, v); err != nil {
		return fmt.Errorf("decode %s %s: %w", e.Kind, e.ID, err)
	}
	m[e.ID] = v
	return nil
}

// index rebuilds the list of providers by business type.
func (r *Registry) index() {
	clear(r.capable)
	for _, p := range r.providers {
		for i, businessType := range p.BusinessTypes {
			if !slices.Contains(p.BusinessTypes[:i], businessType) {
				r.capable[businessType] = append(r.capable[businessType], p)
			}
		}
	}
}

// route gives the route for a business type in a region. Without one, one of the matching providers gets the order.
func (r *Registry) route(businessType, region string) events.Route {
	if route, ok := r.routes[businessType]; ok {
		if len(route.Regions) == 0 || slices.Contains(route.Regions, region) {
			return *route
		}
	}
	return events.Route{BusinessType: businessType, Policy: events.PolicyLeastLoaded}
}

// catalogID keys a tenant's product or vendor. Tenant ids hold no slash.
func catalogID(tenant, id string) string { return tenant + "/" + id }

func (r *Registry) product(tenant, sku string) *events.Product {
	return r.products[catalogID(tenant, sku)]
}

// get gives an entry's document, nil where there is none.
func (r *Registry) get(kind, id string) any {
	switch kind {
	case kindTenant:
		return orNil(r.tenants[id])
	case kindProvider:
		return orNil(r.providers[id])
	case kindRoute:
		return orNil(r.routes[id])
	case kindProduct:
		return orNil(r.products[id])
	case kindVendor:
		return orNil(r.vendors[id])
	case kindNotice:
		return orNil(r.notices[id])
	case kindErasure:
		return orNil(r.erasures[id])
	}
	return nil
}

func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return v
}
