package events

import (
	"encoding/json"
	"time"
)

// Placed is the payload of order.placed: what was submitted, with everything that was computed or resolved then.
type Placed struct {
	Channel     string          `json:"channel"`
	ExternalRef string          `json:"external_ref"`
	Region      string          `json:"region"`
	Currency    string          `json:"currency"` // ISO 4217; all amounts are in its minor units
	Lines       []PlacedLine    `json:"lines"`
	Shipping    int64           `json:"shipping"`
	Total       int64           `json:"total"`
	Customer    *Customer       `json:"customer,omitempty"`
	Attributes  json.RawMessage `json:"attributes,omitempty"`
}

// PlacedLine is a line as it was ordered.
type PlacedLine struct {
	LineID    string `json:"line_id"`
	SKU       string `json:"sku"`
	Name      string `json:"name,omitempty"`
	VendorID  string `json:"vendor_id,omitempty"` // from the catalog, when the order was placed
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount"`
	Tax       int64  `json:"tax"`
	Total     int64  `json:"total"` // quantity x unit_price - discount + tax
}

// Customer is whom the order is for. At rest it is sealed: then Key and Sealed are there and nothing else is readable. It has the
// readable members in what is submitted and answered, and in events that were written before customers were sealed.
type Customer struct {
	Name    string   `json:"name,omitempty"`
	Email   string   `json:"email,omitempty"`
	Phone   string   `json:"phone,omitempty"`
	Address *Address `json:"address,omitempty"`

	Key    string `json:"key,omitempty"`    // the id of the key that Sealed is sealed under
	Sealed string `json:"sealed,omitempty"` // base64url of nonce and AES-256-GCM of the customer's JSON
	// Found and Joined are marks, each a keyed hash, with dots between: by which orders are found, and by which orders are known to be the
	// same customer's (with e or p before it, for an e-mail address or a telephone number). Nothing can be read from them.
	Found  string `json:"found,omitempty"`
	Joined string `json:"joined,omitempty"`
}

// Erasure is the payload of customer.erased: a customer's key was destroyed, and with it all that was sealed under it.
type Erasure struct {
	ErasureID string `json:"erasure_id"`
	Key       string `json:"key"`
}

// Address is a postal address.
type Address struct {
	Line1      string `json:"line1,omitempty"`
	Line2      string `json:"line2,omitempty"`
	City       string `json:"city,omitempty"`
	Region     string `json:"region,omitempty"`
	PostalCode string `json:"postal_code,omitempty"`
	Country    string `json:"country,omitempty"`
}

// Closed is the payload of order.completed and order.rejected.
type Closed struct {
	Reason string `json:"reason,omitempty"`
}

// Offered is the payload of task.offered. Provider, business type and task id are in the event's header.
type Offered struct {
	Lines         []TaskQuantity  `json:"lines"`
	Attempt       int             `json:"attempt"`
	AcceptBy      time.Time       `json:"accept_by,omitzero"`
	CompleteBy    time.Time       `json:"complete_by,omitzero"`
	DelegatedFrom string          `json:"delegated_from,omitempty"` // the task that asks for help; the members below go with it
	Delegation    int             `json:"delegation,omitempty"`     // which delegation of that task it belongs to, from 1
	Depth         int             `json:"depth,omitempty"`          // of a delegated task, from 2
	Payload       json.RawMessage `json:"payload,omitempty"`        // what the delegator hands over
	Note          string          `json:"note,omitempty"`
	Routing       Routing         `json:"routing"`
}

// TaskQuantity is how much of a line a task was given.
type TaskQuantity struct {
	LineID   string `json:"line_id"`
	Quantity int64  `json:"quantity"`
}

// Routing says why a provider was chosen.
type Routing struct {
	Policy     Policy      `json:"policy"`
	Candidates []Candidate `json:"candidates"`     // best first
	More       int         `json:"more,omitempty"` // how many more there were than are listed
	Why        string      `json:"why"`
}

// Tier says how well a provider's regions fit an order's.
type Tier string

// The tiers, best first.
const (
	TierSameRegion  Tier = "same_region"  // it names the order's region
	TierEveryRegion Tier = "every_region" // it names none, and serves all
	TierOtherRegion Tier = "other_region" // it names others
)

// CircuitState says whether a provider is trusted with work after what became of its last tasks.
type CircuitState string

// The circuit states that are worth telling; a provider without one is trusted.
const (
	CircuitOpen     CircuitState = "open"      // it failed too often in a row, and is left alone for a while
	CircuitHalfOpen CircuitState = "half_open" // one task tells whether it does its work again
)

// Candidate is a provider that was looked at when a task was offered.
type Candidate struct {
	Provider string `json:"provider"`
	Region   string `json:"region,omitempty"` // the region by which it matched
	Tier     Tier   `json:"tier,omitempty"`
	// Load is the share of its limit that its open tasks fill, or what it reports where that is more. From 1 on it is full.
	Load     float64      `json:"load"`
	Circuit  CircuitState `json:"circuit,omitempty"`
	Chosen   bool         `json:"chosen"`
	Excluded string       `json:"excluded,omitempty"` // why it was left out
}

// Accepted is the payload of task.accepted.
type Accepted struct{}

// Rejection is the payload of task.rejected.
type Rejection struct {
	ReasonCode string `json:"reason_code"`
	Blocking   bool   `json:"blocking"` // the provider is not asked again for this order
	Message    string `json:"message,omitempty"`
}

// ResultPosted is the payload of task.result_posted.
type ResultPosted struct {
	ResultID   string          `json:"result_id"`
	Outcome    Outcome         `json:"outcome"`
	Lines      []ResultLine    `json:"lines"` // always explicit, also where the provider left them out
	Tracking   []Tracking      `json:"tracking,omitempty"`
	Payload    json.RawMessage `json:"payload,omitempty"`
	OccurredAt time.Time       `json:"occurred_at,omitzero"` // by the provider's clock
	TaskStatus TaskStatus      `json:"task_status"`          // the task's after this result
	Late       bool            `json:"late,omitempty"`       // the order was no longer waiting for it
}

// ResultLine is the outcome of a quantity of a line.
type ResultLine struct {
	LineID   string      `json:"line_id"`
	Quantity int64       `json:"quantity"`
	Outcome  LineOutcome `json:"outcome"`
}

// Tracking is one parcel's reference.
type Tracking struct {
	Carrier string `json:"carrier,omitempty"`
	Number  string `json:"number,omitempty"`
	URL     string `json:"url,omitempty"`
	// Status is empty where nothing was said of where the parcel is.
	Status      ParcelStatus `json:"status,omitempty"`
	DeliveredAt time.Time    `json:"delivered_at,omitzero"` // by the carrier's clock; of one that is delivered
}

// ParcelStatus is where a parcel is.
type ParcelStatus string

// The statuses of a parcel.
const (
	ParcelInTransit ParcelStatus = "in_transit"
	ParcelDelivered ParcelStatus = "delivered"
)

// Tenant is the payload of tenant.changed and the tenant as stored.
type Tenant struct {
	ID   string `json:"tenant"`
	Name string `json:"name,omitempty"`
	// Limits are nil where there are none.
	Limits *Limits `json:"limits,omitempty"`
}

// Limits are what a tenant may ask for, by all of its clients together; 0: no limit. Rates and streams are those of one node.
type Limits struct {
	OrdersPerSecond   int64 `json:"orders_per_second,omitempty"`
	ReadsPerSecond    int64 `json:"reads_per_second,omitempty"`
	SearchesPerSecond int64 `json:"searches_per_second,omitempty"`
	WritesPerSecond   int64 `json:"writes_per_second,omitempty"`
	Burst             int64 `json:"burst,omitempty"` // requests of a kind at once; 0: those of a second
	MaxStreams        int64 `json:"max_streams,omitempty"`
	OrdersPerDay      int64 `json:"orders_per_day,omitempty"` // in UTC, on all nodes together
}

// Provider is the payload of provider.changed and the provider as stored.
type Provider struct {
	ID            string   `json:"provider"`
	Name          string   `json:"name,omitempty"`
	BusinessTypes []string `json:"business_types"`
	Regions       []string `json:"regions"`  // empty: every region
	MaxLoad       int64    `json:"max_load"` // open tasks at most; 0: no limit
}

// Route is the payload of route.changed and the route as stored.
type Route struct {
	BusinessType string   `json:"business_type"`
	Policy       Policy   `json:"policy"`
	Regions      []string `json:"regions"`                 // empty: every region
	AcceptWithin int64    `json:"accept_within"`           // seconds; 0: no limit
	CompleteIn   int64    `json:"complete_within"`         // seconds; 0: no limit
	CancelWithin int64    `json:"cancel_within,omitempty"` // seconds a provider has to answer a cancellation; 0: an hour
	MaxAttempts  int      `json:"max_attempts"`
}

// Product is the payload of product.changed and the product as stored.
type Product struct {
	SKU          string `json:"sku"`
	Tenant       string `json:"tenant"`
	Name         string `json:"name,omitempty"`
	VendorID     string `json:"vendor_id,omitempty"`
	ReorderLevel int64  `json:"reorder_level"`
	TargetLevel  int64  `json:"target_level"` // 2 x reorder_level unless set
	Discontinued bool   `json:"discontinued"`
}

// Vendor is the payload of vendor.changed and the vendor as stored.
type Vendor struct {
	ID     string `json:"vendor_id"`
	Tenant string `json:"tenant,omitempty"` // empty: every tenant's
	Name   string `json:"name,omitempty"`
	Email  string `json:"email,omitempty"`
}

// SubscriptionEnd is the payload of subscription.disabled.
type SubscriptionEnd struct {
	NoticeID       string `json:"notice_id"`
	SubscriptionID string `json:"subscription_id"`
	Name           string `json:"name"`
	Transport      string `json:"transport"`
	System         string `json:"system,omitempty"` // the auxiliary system whose it is
	Reason         string `json:"reason"`
}
