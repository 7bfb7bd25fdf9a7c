package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// WriteOption changes how one call that writes is made.
type WriteOption func(*request)

// WithIdempotencyKey makes a call carry this key instead of a random one, so that it stays the same over restarts of the program: the
// store then gives the first answer again instead of doing it again. An order submitted twice is stored once in any case, by its
// channel and external_ref.
func WithIdempotencyKey(key string) WriteOption {
	return func(r *request) { r.key = key }
}

// SubmitOrder submits an order. While the store is overloaded, restarting or out of reach it tries again under the same
// Idempotency-Key, until ctx ends (Config.RetryFor where it has no deadline). Meta.Replayed says that the order had been
// submitted before; its status is then today's. Other content under the same reference is a Problem with the code
// order_conflict.
func (c *Client) SubmitOrder(ctx context.Context, order OrderSubmission, options ...WriteOption) (Order, error) {
	r := write(http.MethodPost, order, "v1", "orders")
	for _, option := range options {
		option(&r)
	}
	var answer Order
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("submit order %s: %w", order.ExternalRef, err)
	}
	return answer, nil
}

// What GetOptions.Include may hold.
const (
	IncludeAuxiliary = "auxiliary"
	IncludeTimeline  = "timeline"
	IncludeCatalog   = "catalog"
)

// GetOptions are what one order is asked with; the zero value asks for the order as it is.
type GetOptions struct {
	Include []string
	// Fields leaves out all else of the order: "id", "lines.sku". None: everything comes.
	Fields []string
	// Position makes the answer reflect at least this position of the log; the store waits for it.
	Position int64
	// IfNoneMatch is the ETag of a version that is known; GetOrder then returns ErrNotModified where it is still the newest.
	IfNoneMatch string
}

// GetOrder reads an order. It returns a Problem with the code not_found for one that does not exist or belongs to others.
func (c *Client) GetOrder(ctx context.Context, id string, options GetOptions) (Order, error) {
	r := read("v1", "orders", id)
	r.atLeast(options.Position)
	if len(options.Include) > 0 {
		r.query.Set("include", strings.Join(options.Include, ","))
	}
	if len(options.Fields) > 0 {
		r.query.Set("fields", strings.Join(options.Fields, ","))
	}
	if options.IfNoneMatch != "" {
		r.header.Set("If-None-Match", options.IfNoneMatch)
	}
	var order Order
	meta, err := c.do(ctx, r, &order)
	order.Meta = meta
	if err != nil {
		return order, fmt.Errorf("get order %s: %w", id, err)
	}
	return order, nil
}

// PullOrder reads the order that an event is about, at the event's position or later.
func (c *Client) PullOrder(ctx context.Context, e *Event) (Order, error) {
	return c.GetOrder(ctx, e.Subject, GetOptions{Position: e.Position})
}

// pull is PullOrder for what is not looked into.
func (c *Client) pull(ctx context.Context, e *Event) (json.RawMessage, error) {
	r := read("v1", "orders", e.Subject)
	r.atLeast(e.Position)
	var document json.RawMessage
	if _, err := c.do(ctx, r, &document); err != nil {
		return nil, fmt.Errorf("pull order of event %d: %w", e.Position, err)
	}
	return document, nil
}

// OrderFilter selects orders; its zero value selects all.
type OrderFilter struct {
	Tenant        string   // for a client that is not of one tenant
	Status        []string // any of them
	Channel       string
	Channels      []string // any of them, or Channel
	BusinessType  string
	BusinessTypes []string // any of them, or BusinessType
	Region        string
	Regions       []string // any of them, or Region
	Provider      string   // that has, or had, a task of the order
	SKU           string   // of one of the lines
	Customer      string   // name, email address or telephone number
	Currency      string
	TotalMin      *int64 // inclusive, in minor units of Currency, which has to be given
	TotalMax      *int64 // inclusive
	ExternalRef   string
	CreatedAfter  time.Time // inclusive
	CreatedBefore time.Time // exclusive
	UpdatedAfter  time.Time // inclusive
	UpdatedBefore time.Time // exclusive
	Text          string
	Fields        []string // as in GetOptions
	Sort          string   // placed_at, updated_at or total, with a - before it for the last first; empty: -placed_at
	PageSize      int      // 1 to 200; 0: the store's default
	Position      int64    // as in GetOptions
}

func (f OrderFilter) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(f.Status) > 0 {
		q["status"] = f.Status
	}
	for _, in := range []struct {
		name, one string
		more      []string
	}{{"channel", f.Channel, f.Channels}, {"business_type", f.BusinessType, f.BusinessTypes}, {"region", f.Region, f.Regions}} {
		set(in.name, in.one)
		for _, value := range in.more {
			q.Add(in.name, value)
		}
	}
	set("tenant", f.Tenant)
	set("provider", f.Provider)
	set("sku", f.SKU)
	set("customer", f.Customer)
	set("currency", f.Currency)
	set("total_min", minorUnits(f.TotalMin))
	set("total_max", minorUnits(f.TotalMax))
	set("updated_after", instant(f.UpdatedAfter))
	set("updated_before", instant(f.UpdatedBefore))
	set("fields", strings.Join(f.Fields, ","))
	set("external_ref", f.ExternalRef)
	set("text", f.Text)
	set("sort", f.Sort)
	set("created_after", instant(f.CreatedAfter))
	set("created_before", instant(f.CreatedBefore))
	set("limit", count(f.PageSize))
	return q
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func minorUnits(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func count(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// ListOrders goes through all orders of a filter, page by page. It ends after the first error.
func (c *Client) ListOrders(ctx context.Context, filter OrderFilter) iter.Seq2[Order, error] {
	r := read("v1", "orders")
	r.query = filter.query()
	r.atLeast(filter.Position)
	return func(yield func(Order, error) bool) {
		for page, err := range pages[Order](ctx, c, r) {
			if err != nil {
				yield(Order{Meta: page.meta}, fmt.Errorf("list orders: %w", err))
				return
			}
			for _, order := range page.Items {
				order.Meta = page.meta
				if !yield(order, nil) {
					return
				}
			}
		}
	}
}

// EstimateOrders tells about how many orders a filter selects. The store guesses from its statistics, and counts nothing.
func (c *Client) EstimateOrders(ctx context.Context, filter OrderFilter) (int64, error) {
	filter.Fields, filter.PageSize = []string{"id"}, 1
	r := read("v1", "orders")
	r.query = filter.query()
	r.query.Set("estimate", "true")
	r.atLeast(filter.Position)
	var answer struct {
		EstimatedTotal int64 `json:"estimated_total"`
	}
	if _, err := c.do(ctx, r, &answer); err != nil {
		return 0, fmt.Errorf("estimate orders: %w", err)
	}
	return answer.EstimatedTotal, nil
}

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
	meta  Meta
}

// pages reads a list from its first page to its last.
func pages[T any](ctx context.Context, c *Client, r request) iter.Seq2[page[T], error] {
	return func(yield func(page[T], error) bool) {
		query := r.query
		for next := ""; ; {
			r.query = url.Values{}
			for name, values := range query {
				r.query[name] = values
			}
			if next != "" {
				r.query.Set("cursor", next)
			}
			var p page[T]
			meta, err := c.do(ctx, r, &p)
			p.meta = meta
			if !yield(p, err) || err != nil || p.Next == "" {
				return
			}
			next = p.Next
		}
	}
}
