package client

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// AnyVersion is for where a version is asked for: it makes a change whatever version the order or task has by then.
const AnyVersion int64 = -1

// IfVersion makes a change of a task only where it still has this version; otherwise the Problem has the code version_mismatch.
func IfVersion(version int64) WriteOption {
	return func(r *request) { r.ifMatch(version) }
}

// ifMatch says for which version the request is meant.
func (r *request) ifMatch(version int64) {
	tag := `"` + strconv.FormatInt(version, 10) + `"`
	if version == AnyVersion {
		tag = "*"
	}
	r.header.Set("If-Match", tag)
}

// Amendment is what is to change of an order: a JSON merge patch (RFC 7396). What is left out stays.
type Amendment struct {
	// Customer and Attributes are patches of their own: a member that is nil is removed, and new(Object) removes all.
	Customer   *Object `json:"customer,omitempty"`
	Attributes *Object `json:"attributes,omitempty"`
	Shipping   *int64  `json:"shipping,omitempty"`
	// Lines are all lines as they shall be, each with its LineID: one that the order has keeps its SKU, one that it has not is
	// new, one that is left out here is removed. They may change until a provider has accepted.
	Lines []LineSubmission `json:"lines,omitempty"`
	// Total, when set, must equal what the order comes to with the changes.
	Total *int64 `json:"total,omitempty"`
}

// AmendOrder changes an order that has this version (Order.Version); AnyVersion does not ask. It returns the order as it is then,
// or a Problem: version_mismatch where the order has moved on (Problem.Version says to where), order_state where it is at its end or
// where a provider has accepted its lines, invalid where the order would not be a valid one.
func (c *Client) AmendOrder(ctx context.Context, id string, version int64, change Amendment, options ...WriteOption) (Order, error) {
	r := write(http.MethodPatch, change, "v1", "orders", id)
	r.header.Set("Content-Type", "application/merge-patch+json")
	return c.changeOrder(ctx, "amend", id, version, r, options)
}

// CancelReason is why an order is cancelled. All of it may be left out.
type CancelReason struct {
	Reason  string `json:"reason,omitempty"`  // 128 characters at most
	Message string `json:"message,omitempty"` // for people
}

// CancelOrder says that the order is not wanted any more, if it has this version (Order.Version); AnyVersion does not ask. What nobody
// has accepted is taken back at once; a provider that has accepted is asked, and Order.Cancellation says how far that is. A Problem
// is version_mismatch where the order has moved on, and order_state where it is at its end.
func (c *Client) CancelOrder(ctx context.Context, id string, version int64, why CancelReason, options ...WriteOption) (Order, error) {
	return c.changeOrder(ctx, "cancel", id, version, write(http.MethodPost, why, "v1", "orders", id, "cancel"), options)
}

// OrderReturn says that goods of an order came back. Its ReturnID is the user's own, unique within the order.
type OrderReturn struct {
	ReturnID   string         `json:"return_id"`
	Lines      []ReturnedLine `json:"lines"` // each line once
	Reason     string         `json:"reason,omitempty"`
	OccurredAt time.Time      `json:"occurred_at,omitzero"`
	ReturnedAt time.Time      `json:"returned_at,omitzero"` // set by the store
}

// ReturnedLine is how much of a line came back.
type ReturnedLine struct {
	LineID   string `json:"line_id"`
	Quantity int64  `json:"quantity"`
	// Restock false writes the goods off; nil and true put them on the shelf again.
	Restock *bool  `json:"restock,omitempty"`
	SKU     string `json:"sku,omitempty"`   // set by the store
	Total   int64  `json:"total,omitempty"` // set by the store: the units' share of the line's total, in minor units
}

// ReturnOrder says that goods came back, and returns the order as it is then. The same again under its id changes nothing. A Problem is
// invalid where a line has less out than that, and conflict where the id was used with other content.
func (c *Client) ReturnOrder(ctx context.Context, id string, back OrderReturn, options ...WriteOption) (Order, error) {
	return c.changeOrder(ctx, "return", id, AnyVersion, write(http.MethodPost, back, "v1", "orders", id, "returns"), options)
}

func (c *Client) changeOrder(ctx context.Context, what, id string, version int64, r request, options []WriteOption) (Order, error) {
	r.ifMatch(version)
	for _, option := range options {
		option(&r)
	}
	var order Order
	meta, err := c.do(ctx, r, &order)
	order.Meta = meta
	if err != nil {
		return order, fmt.Errorf("%s order %s: %w", what, id, err)
	}
	return order, nil
}

// The statuses of a cancellation.
const (
	CancellationRequested = "requested" // a provider that had accepted has to answer
	CancellationRefused   = "refused"   // work goes on
	CancellationDone      = "done"      // nothing is open any more
)

// Cancellation is a user's wish to cancel an order, and what became of it.
type Cancellation struct {
	Status      string    `json:"status"`
	Reason      string    `json:"reason,omitempty"`
	Message     string    `json:"message,omitempty"`
	RequestedAt time.Time `json:"requested_at"`
	AnswerBy    time.Time `json:"answer_by,omitzero"` // silence is taken for yes then; zero: nobody was asked
}
