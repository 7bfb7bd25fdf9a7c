package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// The forms in which a document can be asked for.
const (
	MediaHTML = "text/html"
	MediaPDF  = "application/pdf"
)

// Invoice is an order's invoice or credit note. Amounts are in minor units of the currency; a credit note's are given back.
type Invoice struct {
	Number      string        `json:"number"` // without gaps within the tenant
	Kind        string        `json:"kind"`   // invoice or credit_note
	Date        time.Time     `json:"date"`
	Seller      Seller        `json:"seller"`
	OrderID     string        `json:"order_id"`
	Channel     string        `json:"channel"`
	ExternalRef string        `json:"external_ref"`
	Currency    string        `json:"currency"`
	MinorDigits int           `json:"minor_digits"` // of the currency: 2 for USD, 0 for JPY
	Customer    *Customer     `json:"customer,omitempty"`
	Lines       []InvoiceLine `json:"lines"` // of what was delivered
	Shipping    int64         `json:"shipping"`
	Net         int64         `json:"net"`
	Tax         int64         `json:"tax"`
	Total       int64         `json:"total"`
	Invoice     string        `json:"invoice,omitempty"` // whose a credit note is
	Reason      string        `json:"reason,omitempty"`  // of a credit note
	Links       struct {
		Order   string `json:"order"`
		Invoice string `json:"invoice,omitempty"`
		Self    string `json:"self"`
	} `json:"links"`

	Meta Meta `json:"-"`
}

// Seller is whose invoice it is.
type Seller struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name,omitempty"`
}

// InvoiceLine is a line of which something was delivered.
type InvoiceLine struct {
	LineID    string `json:"line_id"`
	SKU       string `json:"sku"`
	Name      string `json:"name,omitempty"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount"`
	Net       int64  `json:"net"`
	Tax       int64  `json:"tax"`
	Total     int64  `json:"total"`
}

// The documents that an order may have.
const (
	DocumentInvoice    = "invoice"
	DocumentCreditNote = "credit-note"
)

// GetInvoice reads an order's invoice, reflecting at least a position of the log; 0 asks for what there is. A Problem with the
// code not_found says that there is none: the order does not exist, belongs to others, or is not completed.
func (c *Client) GetInvoice(ctx context.Context, orderID string, position int64) (Invoice, error) {
	return c.document(ctx, orderID, DocumentInvoice, position)
}

// GetCreditNote reads the credit note of an order that was cancelled or returned after its invoice. Not found is as in GetInvoice.
func (c *Client) GetCreditNote(ctx context.Context, orderID string, position int64) (Invoice, error) {
	return c.document(ctx, orderID, DocumentCreditNote, position)
}

func (c *Client) document(ctx context.Context, orderID, document string, position int64) (Invoice, error) {
	r := read("v1", "orders", orderID, document)
	r.atLeast(position)
	var v Invoice
	meta, err := c.do(ctx, r, &v)
	v.Meta = meta
	if err != nil {
		return v, fmt.Errorf("get %s of order %s: %w", document, orderID, err)
	}
	return v, nil
}

// PrintDocument gives DocumentInvoice or DocumentCreditNote of an order as MediaHTML or MediaPDF.
func (c *Client) PrintDocument(ctx context.Context, orderID, document, media string) ([]byte, error) {
	r := read("v1", "orders", orderID, document)
	r.header.Set("Accept", media+", application/problem+json;q=0.1")
	var out []byte
	if _, err := c.do(ctx, r, &out); err != nil {
		return nil, fmt.Errorf("print %s of order %s: %w", document, orderID, err)
	}
	return out, nil
}

// CustomerProfile is what the store knows of a customer over all channels. Orders that were cancelled, rejected or returned count
// in Orders alone.
type CustomerProfile struct {
	ID         string           `json:"customer_id"`
	Merged     []string         `json:"merged"` // ids of customers who turned out to be this one; they lead here
	Orders     map[string]int64 `json:"orders"` // by open, completed, cancelled, rejected, returned, and all
	Totals     []CustomerTotal  `json:"totals"`
	FirstOrder *CustomerOrder   `json:"first_order,omitempty"`
	LastOrder  *CustomerOrder   `json:"last_order,omitempty"`
	Channels   []ChannelCount   `json:"channels"`
	Favourites []SKUCount       `json:"favourites"` // the most bought first
	Segment    CustomerSegment  `json:"segment"`
	Loyalty    LoyaltyBalance   `json:"loyalty"`
	Position   int64            `json:"position"` // how far in the log the profile reflects

	Meta Meta `json:"-"`
}

// CustomerTotal is what a customer ordered in one currency, in its minor units.
type CustomerTotal struct {
	Currency    string `json:"currency"`
	MinorDigits int    `json:"minor_digits"`
	Orders      int64  `json:"orders"`
	Total       int64  `json:"total"`
}

// CustomerOrder names one of a customer's orders.
type CustomerOrder struct {
	OrderID  string    `json:"order_id"`
	Channel  string    `json:"channel"`
	PlacedAt time.Time `json:"placed_at"`
}

// ChannelCount is how many of a customer's orders came by a channel.
type ChannelCount struct {
	Channel string `json:"channel"`
	Orders  int64  `json:"orders"`
}

// SKUCount is how many units of a product a customer ordered.
type SKUCount struct {
	SKU      string `json:"sku"`
	Quantity int64  `json:"quantity"`
}

// CustomerSegment says how a customer buys: scores from 1 to 5 of how lately, how often and for how much.
type CustomerSegment struct {
	Name      string `json:"name"` // champion, loyal, regular, new, at_risk, lost or none
	AsOf      string `json:"as_of"`
	Days      int64  `json:"days"` // since the last order
	Recency   int    `json:"recency"`
	Frequency int    `json:"frequency"`
	Value     int    `json:"value"`
}

// LoyaltyBalance is a customer's points: one for each whole unit of currency of completed orders.
type LoyaltyBalance struct {
	Points   int64 `json:"points"`
	Earned   int64 `json:"earned"` // also those that were taken back
	Position int64 `json:"position"`
}

// CustomerSearch names a customer. A telephone number without a + is one of the country, an ISO 3166 code.
type CustomerSearch struct {
	Email   string `json:"email,omitempty"`
	Phone   string `json:"phone,omitempty"`
	Country string `json:"country,omitempty"`
}

// FindCustomers gives the customers known by an address or number: none, one, or two where each names another.
func (c *Client) FindCustomers(ctx context.Context, by CustomerSearch) ([]CustomerProfile, error) {
	var answer struct {
		Items []CustomerProfile `json:"items"`
	}
	if _, err := c.do(ctx, write(http.MethodPost, by, "v1", "customers", "search"), &answer); err != nil {
		return nil, fmt.Errorf("find customers: %w", err)
	}
	return answer.Items, nil
}

// GetCustomer reads a profile. It returns a Problem with the code not_found for a customer of nobody's or another's.
func (c *Client) GetCustomer(ctx context.Context, id string) (CustomerProfile, error) {
	var found CustomerProfile
	meta, err := c.do(ctx, read("v1", "customers", id), &found)
	found.Meta = meta
	if err != nil {
		return found, fmt.Errorf("get customer %s: %w", id, err)
	}
	return found, nil
}
