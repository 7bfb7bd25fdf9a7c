package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Object is a JSON object. Numbers read into it keep all their digits, as json.Number.
type Object map[string]any

// UnmarshalJSON reads an object without turning its numbers into floating point.
func (o *Object) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return err
	}
	*o = m
	return nil
}

// OrderSubmission is an order as it is submitted. All amounts are in the currency's minor units. The order's total is
// computed by the store: the sum of its lines and the shipping.
type OrderSubmission struct {
	Channel      string           `json:"channel"`          // where it comes from: "web", "pos", a marketplace
	ExternalRef  string           `json:"external_ref"`     // the client's own number, unique for ever within the channel
	BusinessType string           `json:"business_type"`    // what kind of work it is: "hotel", "retail.erp"
	Region       string           `json:"region,omitempty"` // "default" when left out
	Currency     string           `json:"currency"`         // ISO 4217
	Lines        []LineSubmission `json:"lines"`            // 1 to 1,000
	Shipping     int64            `json:"shipping,omitempty"`
	Customer     *Customer        `json:"customer,omitempty"`
	Attributes   Object           `json:"attributes,omitempty"`
	// Total, when set, must equal what the store computes.
	Total *int64 `json:"total,omitempty"`
}

// LineSubmission is a line as it is submitted. Its total is quantity x unit price - discount + tax.
type LineSubmission struct {
	LineID    string `json:"line_id,omitempty"` // "1", "2", … when left out
	SKU       string `json:"sku"`
	Name      string `json:"name,omitempty"`
	Quantity  int64  `json:"quantity"` // 1 to 1,000,000
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount,omitempty"` // of the whole line
	Tax       int64  `json:"tax,omitempty"`      // of the whole line
}

// Customer is whom an order is for.
type Customer struct {
	Name    string   `json:"name,omitempty"`
	Email   string   `json:"email,omitempty"`
	Phone   string   `json:"phone,omitempty"`
	Address *Address `json:"address,omitempty"`
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

// Order is an order as the store answers it.
type Order struct {
	ID                string    `json:"id"`
	Tenant            string    `json:"tenant"`
	Channel           string    `json:"channel"`
	ExternalRef       string    `json:"external_ref"`
	BusinessType      string    `json:"business_type"`
	Region            string    `json:"region"`
	Version           int64     `json:"version"`
	Status            string    `json:"status"` // OrderRouted and so on
	FulfillmentStatus string    `json:"fulfillment_status"`
	Currency          string    `json:"currency"`
	Total             int64     `json:"total"`
	Shipping          int64     `json:"shipping"`
	PlacedAt          time.Time `json:"placed_at"`
	UpdatedAt         time.Time `json:"updated_at"`
	Customer          *Customer `json:"customer,omitempty"`
	Attributes        Object    `json:"attributes,omitempty"`
	// Cancellation is there once the order was to be cancelled.
	Cancellation *Cancellation `json:"cancellation,omitempty"`
	Lines        []Line        `json:"lines"`
	SyncStatus   []SyncStatus  `json:"sync_status"`
	Tasks        []Task        `json:"tasks"`
	Results      []Result      `json:"results"`
	Returns      []OrderReturn `json:"returns,omitempty"`

	Timeline  []Event           `json:"timeline,omitempty"`  // with include=timeline
	Auxiliary []AuxiliaryRecord `json:"auxiliary,omitempty"` // with include=auxiliary
	// Catalog is there when it was included.
	Catalog *OrderCatalog `json:"catalog,omitempty"`
	// Degraded names what could not be asked for this answer.
	Degraded []string `json:"degraded,omitempty"`

	Meta Meta `json:"-"`
}

// Task finds the order's task of this id.
func (o *Order) Task(id string) (Task, bool) {
	for _, t := range o.Tasks {
		if t.ID == id {
			return t, true
		}
	}
	return Task{}, false
}

// Line is a line of an order.
type Line struct {
	LineID     string     `json:"line_id"`
	SKU        string     `json:"sku"`
	Name       string     `json:"name,omitempty"`
	VendorID   string     `json:"vendor_id,omitempty"`
	Quantity   int64      `json:"quantity"`
	UnitPrice  int64      `json:"unit_price"`
	Discount   int64      `json:"discount"`
	Tax        int64      `json:"tax"`
	Total      int64      `json:"total"`
	Quantities Quantities `json:"quantities"`
}

// Quantities are a line's counters; fulfilled, rejected and cancelled together never exceed what was ordered.
type Quantities struct {
	Ordered   int64 `json:"ordered"`
	Assigned  int64 `json:"assigned"`
	Accepted  int64 `json:"accepted"`
	Fulfilled int64 `json:"fulfilled"`
	Rejected  int64 `json:"rejected"`
	Cancelled int64 `json:"cancelled"`
	Returned  int64 `json:"returned"`
}

// SyncStatus is how far one provider or auxiliary system is with an order.
type SyncStatus struct {
	Party    string    `json:"party"`
	Kind     string    `json:"kind"`   // provider or auxiliary
	Status   string    `json:"status"` // pending, syncing, synced, failed
	Since    time.Time `json:"since"`
	Position int64     `json:"position"`
}

// AuxiliaryRecord is what an auxiliary system stored about an order. One system is the only writer of its records.
type AuxiliaryRecord struct {
	OrderID       string          `json:"order_id"`
	System        string          `json:"system"`
	Kind          string          `json:"kind"`
	RecordID      string          `json:"record_id"`
	Revision      int64           `json:"revision"` // a lower one than stored is refused with stale_revision
	SchemaVersion int64           `json:"schema_version"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	// Position is how far in the log the record reflects, and UpdatedAt when it was stored; the store sets both.
	Position  int64     `json:"position,omitempty"`
	UpdatedAt time.Time `json:"updated_at,omitzero"`
	AgeMS     int64     `json:"age_ms,omitempty"` // since it was stored, when the order was read

	Meta Meta `json:"-"`
}

// Event tells that something happened: a CloudEvent. It carries no order data unless the feed was asked for it.
type Event struct {
	SpecVersion  string          `json:"specversion"`
	ID           string          `json:"id"` // the position: the same event heard twice has the same id
	Type         string          `json:"type"`
	Source       string          `json:"source"`
	Subject      string          `json:"subject,omitempty"` // the order's id
	Time         time.Time       `json:"time"`
	Position     int64           `json:"position"`
	Tenant       string          `json:"tenant,omitempty"`
	BusinessType string          `json:"businesstype,omitempty"`
	TaskID       string          `json:"taskid,omitempty"`
	Provider     string          `json:"provider,omitempty"`
	OrderVersion int64           `json:"orderversion,omitempty"`
	Traceparent  string          `json:"traceparent,omitempty"`
	DataRef      string          `json:"dataref,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	// Listed says, of an event from WatchOrders, whether its order is in the list that is watched.
	Listed *bool `json:"listed,omitempty"`

	Delivery Delivery `json:"-"` // how it came, if by webhook
}

// ErrNoData says that an event came without the order.
var ErrNoData = errors.New("the event carries no order")

// Order reads the order that came with the event, which is at the event's position or later. It returns ErrNoData when none
// came; pull it with Client.GetOrder, giving the event's position.
func (e *Event) Order() (Order, error) {
	var o Order
	if len(e.Data) == 0 {
		return o, ErrNoData
	}
	err := json.Unmarshal(e.Data, &o)
	o.Meta.Position = e.Position
	return o, err
}
