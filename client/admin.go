package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Tenant is a user's account.
type Tenant struct {
	ID   string `json:"tenant"`
	Name string `json:"name,omitempty"`
	// Limits hold for all clients of the tenant together; nil: none.
	Limits *Limits `json:"limits,omitempty"`

	Meta Meta `json:"-"`
}

// Limits are what a tenant or a client may ask for; 0: no limit for a tenant, the installation's for a client. Rates and streams are
// those of one node.
type Limits struct {
	OrdersPerSecond   int64 `json:"orders_per_second,omitempty"` // the lines of batches too
	ReadsPerSecond    int64 `json:"reads_per_second,omitempty"`
	SearchesPerSecond int64 `json:"searches_per_second,omitempty"` // pages of lists and exports
	WritesPerSecond   int64 `json:"writes_per_second,omitempty"`
	Burst             int64 `json:"burst,omitempty"`          // requests of a kind at once; 0: those of a second
	MaxStreams        int64 `json:"max_streams,omitempty"`    // event streams and long polls
	OrdersPerDay      int64 `json:"orders_per_day,omitempty"` // in UTC, on all nodes together; of tenants alone
}

// Provider is a third party that can do the work of some business types.
type Provider struct {
	ID            string   `json:"provider"`
	Name          string   `json:"name,omitempty"`
	BusinessTypes []string `json:"business_types"`
	Regions       []string `json:"regions"`  // none: every region
	MaxLoad       int64    `json:"max_load"` // open tasks at most; 0: no limit

	Meta Meta `json:"-"`
}

// The policies of a route.
const (
	PolicyAll         = "all"          // every matching provider gets a task
	PolicyLeastLoaded = "least_loaded" // one does: with room, without failures in a row, near, the least loaded, in this order
)

// Route says how the orders of a business type find their providers.
type Route struct {
	BusinessType   string   `json:"business_type"`
	Policy         string   `json:"policy,omitempty"`        // least_loaded when left out
	Regions        []string `json:"regions"`                 // none: every region
	AcceptWithin   int64    `json:"accept_within"`           // seconds; 0: no limit
	CompleteWithin int64    `json:"complete_within"`         // seconds; 0: no limit
	CancelWithin   int64    `json:"cancel_within,omitempty"` // seconds to answer a cancellation; 0: an hour
	MaxAttempts    int      `json:"max_attempts"`

	Meta Meta `json:"-"`
}

// Product is an article of a tenant's catalog.
type Product struct {
	SKU          string `json:"sku"`
	Tenant       string `json:"tenant"`
	Name         string `json:"name,omitempty"`
	VendorID     string `json:"vendor_id,omitempty"`
	ReorderLevel int64  `json:"reorder_level"`
	TargetLevel  int64  `json:"target_level,omitempty"` // 0: twice the reorder level
	Discontinued bool   `json:"discontinued"`

	Meta Meta `json:"-"`
}

// Vendor is where a tenant buys products.
type Vendor struct {
	ID     string `json:"vendor_id"`
	Tenant string `json:"tenant,omitempty"` // empty: of every tenant
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`

	Meta Meta `json:"-"`
}

// The kinds of clients.
const (
	KindUser      = "user"
	KindProvider  = "provider"
	KindAuxiliary = "auxiliary"
	KindOperator  = "operator"
)

// ClientSpec says what a new client may do, and for whom: a tenant, provider or system, by its kind.
type ClientSpec struct {
	Kind     string   `json:"kind"`
	Tenant   string   `json:"tenant,omitempty"`
	Provider string   `json:"provider,omitempty"`
	System   string   `json:"system,omitempty"`
	Scopes   []string `json:"scopes,omitempty"` // none: all that the kind may have
}

// Credentials are a new client's. The secret is shown this once.
type Credentials struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`

	Meta Meta `json:"-"`
}

// PutTenant creates or changes a tenant.
func (c *Client) PutTenant(ctx context.Context, t Tenant) (Tenant, error) {
	meta, err := c.put(ctx, t, "tenant", t.ID, &t, "tenants", t.ID)
	t.Meta = meta
	return t, err
}

// PutProvider registers or changes a provider. It takes effect everywhere within a second; orders that nobody could take
// before are then offered.
func (c *Client) PutProvider(ctx context.Context, p Provider) (Provider, error) {
	p.BusinessTypes, p.Regions = notNull(p.BusinessTypes), notNull(p.Regions)
	meta, err := c.put(ctx, p, "provider", p.ID, &p, "providers", p.ID)
	p.Meta = meta
	return p, err
}

// PutRoute sets how orders of a business type are routed.
func (c *Client) PutRoute(ctx context.Context, r Route) (Route, error) {
	r.Regions = notNull(r.Regions)
	meta, err := c.put(ctx, r, "business_type", r.BusinessType, &r, "routes", r.BusinessType)
	r.Meta = meta
	return r, err
}

// PutProduct puts a product into its tenant's catalog.
func (c *Client) PutProduct(ctx context.Context, p Product) (Product, error) {
	meta, err := c.put(ctx, p, "sku", p.SKU, &p, "catalog", "products", p.SKU)
	p.Meta = meta
	return p, err
}

// PutVendor puts a vendor into its tenant's catalog.
func (c *Client) PutVendor(ctx context.Context, v Vendor) (Vendor, error) {
	meta, err := c.put(ctx, v, "vendor_id", v.ID, &v, "catalog", "vendors", v.ID)
	v.Meta = meta
	return v, err
}

// notNull makes JSON write no names as an empty list, which is what the store takes.
func notNull(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// put sends a document to its address, without the member that the address has already.
func (c *Client) put(ctx context.Context, document any, idName, id string, answer any, path ...string) (Meta, error) {
	body, err := without(document, idName)
	if err != nil {
		return Meta{}, fmt.Errorf("put %s %s: %w", idName, id, err)
	}
	meta, err := c.do(ctx, write(http.MethodPut, body, append([]string{"v1", "admin"}, path...)...), answer)
	if err != nil {
		return meta, fmt.Errorf("put %s %s: %w", idName, id, err)
	}
	return meta, nil
}

func without(document any, name string) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, err
	}
	delete(members, name)
	return members, nil
}

// CreateClient makes credentials for a party.
func (c *Client) CreateClient(ctx context.Context, spec ClientSpec) (Credentials, error) {
	var credentials Credentials
	meta, err := c.do(ctx, write(http.MethodPost, spec, "v1", "admin", "clients"), &credentials)
	credentials.Meta = meta
	if err != nil {
		return credentials, fmt.Errorf("create %s client: %w", spec.Kind, err)
	}
	return credentials, nil
}

// DisableClient ends a client for ever: it gets no more tokens, and those it has are refused within a second.
func (c *Client) DisableClient(ctx context.Context, id string) error {
	if _, err := c.do(ctx, write(http.MethodPost, nil, "v1", "admin", "clients", id, "disable"), nil); err != nil {
		return fmt.Errorf("disable client %s: %w", id, err)
	}
	return nil
}

// PutClientLimits sets what a client may ask for. It takes effect on every node within a second.
func (c *Client) PutClientLimits(ctx context.Context, id string, l Limits) (Limits, error) {
	var answer Limits
	if _, err := c.do(ctx, write(http.MethodPut, l, "v1", "admin", "clients", id, "limits"), &answer); err != nil {
		return answer, fmt.Errorf("set limits of client %s: %w", id, err)
	}
	return answer, nil
}

// RotateClientSecret gives a client a new secret. The old one ends at once; tokens it has stay valid until they expire.
func (c *Client) RotateClientSecret(ctx context.Context, id string) (Credentials, error) {
	var credentials Credentials
	meta, err := c.do(ctx, write(http.MethodPost, nil, "v1", "admin", "clients", id, "rotate-secret"), &credentials)
	credentials.Meta = meta
	if err != nil {
		return credentials, fmt.Errorf("rotate secret of client %s: %w", id, err)
	}
	return credentials, nil
}

// Lag is how far each stage of the store is.
type Lag struct {
	Log       int64      `json:"log"` // the position that all else is measured against
	Stream    *StageLag  `json:"stream,omitempty"`
	Views     []StageLag `json:"views"`
	Auxiliary []StageLag `json:"auxiliary"`

	Meta Meta `json:"-"`
}

// StageLag is how far one stage is, and how many positions behind the log.
type StageLag struct {
	Name     string `json:"name"`
	Position int64  `json:"position"`
	Lag      int64  `json:"lag"`
	Stopped  string `json:"stopped,omitempty"` // why it goes no further

	// The rest is told of the stream alone, by a process with the role relay.
	First  int64    `json:"first,omitempty"`  // position that it begins with
	Holes  int64    `json:"holes,omitempty"`  // positions that it lacks after that
	Drift  []string `json:"drift,omitempty"`  // settings that are not as wanted and that the broker does not change
	Health string   `json:"health,omitempty"` // what the last comparison with the log came to
}

// Lag asks how far each stage is.
func (c *Client) Lag(ctx context.Context) (Lag, error) {
	var lag Lag
	meta, err := c.do(ctx, read("v1", "admin", "lag"), &lag)
	lag.Meta = meta
	if err != nil {
		return lag, fmt.Errorf("get lag: %w", err)
	}
	return lag, nil
}
