package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// StockItem is the level of one SKU. Available is OnHand - Reserved, and negative where more was sold than there is.
type StockItem struct {
	SKU          string `json:"sku"`
	Name         string `json:"name"`
	VendorID     string `json:"vendor_id"`
	OnHand       int64  `json:"on_hand"`
	Reserved     int64  `json:"reserved"`
	Available    int64  `json:"available"`
	OnOrder      int64  `json:"on_order"`
	ReorderLevel int64  `json:"reorder_level"`
	TargetLevel  int64  `json:"target_level"`
	Position     int64  `json:"position"` // of the event that last changed it

	Meta Meta `json:"-"`
}

// ReasonReturn makes an adjustment's delta goods that come back: what was sold becomes less by it.
const ReasonReturn = "return"

// StockAdjustment says what became of goods without an order. The same again under its id changes nothing; other content under it is
// a Problem with the code conflict.
type StockAdjustment struct {
	AdjustmentID string          `json:"adjustment_id"`
	Lines        []AdjustedStock `json:"lines"`
}

// AdjustedStock adjusts one SKU: by Delta, or to what was Counted. OnOrderDelta is what was bought and has not come yet, or, negative,
// what has come of it.
type AdjustedStock struct {
	SKU          string `json:"sku"`
	Delta        int64  `json:"delta,omitempty"`
	Counted      *int64 `json:"counted,omitempty"`
	OnOrderDelta int64  `json:"on_order_delta,omitempty"`
	Reason       string `json:"reason,omitempty"`
}

// StockAdjusted is the answer to an adjustment.
type StockAdjusted struct {
	AdjustmentID string `json:"adjustment_id"`
	Position     int64  `json:"position"`

	Meta Meta `json:"-"`
}

// AdjustStock adjusts levels. Read them with the answer's position to be sure to see it.
func (c *Client) AdjustStock(ctx context.Context, a StockAdjustment, options ...WriteOption) (StockAdjusted, error) {
	r := write(http.MethodPost, a, "v1", "stock", "adjustments")
	for _, option := range options {
		option(&r)
	}
	var answer StockAdjusted
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("adjust stock %s: %w", a.AdjustmentID, err)
	}
	return answer, nil
}

// Stock reads the level of an SKU, at a position or later. It returns a Problem with the code not_found for one that is neither in
// the catalog nor was ever adjusted.
func (c *Client) Stock(ctx context.Context, sku string, position int64) (StockItem, error) {
	r := read("v1", "stock", sku)
	r.atLeast(position)
	var item StockItem
	meta, err := c.do(ctx, r, &item)
	item.Meta = meta
	if err != nil {
		return item, fmt.Errorf("read stock of %s: %w", sku, err)
	}
	return item, nil
}

// StockFilter selects levels; its zero value selects all.
type StockFilter struct {
	VendorID     string
	BelowReorder bool   // what the replenishment form is made of
	Tenant       string // needed by a client that belongs to none
	PageSize     int    // 1 to 200; 0: the store's default
	Position     int64  // the answer reflects at least this
}

func (f StockFilter) query() url.Values {
	q := url.Values{}
	set(q, "vendor_id", f.VendorID)
	set(q, "tenant", f.Tenant)
	set(q, "limit", count(f.PageSize))
	if f.BelowReorder {
		q.Set("below_reorder", "true")
	}
	return q
}

// ListStock goes through all levels of a filter by SKU, page by page. It ends after the first error.
func (c *Client) ListStock(ctx context.Context, filter StockFilter) iter.Seq2[StockItem, error] {
	r := read("v1", "stock")
	r.query = filter.query()
	r.atLeast(filter.Position)
	return func(yield func(StockItem, error) bool) {
		for page, err := range pages[StockItem](ctx, c, r) {
			if err != nil {
				yield(StockItem{Meta: page.meta}, fmt.Errorf("list stock: %w", err))
				return
			}
			for _, item := range page.Items {
				item.Meta = page.meta
				if !yield(item, nil) {
					return
				}
			}
		}
	}
}

// StockWatch says which levels are followed, and from where.
type StockWatch struct {
	SKU    string // empty: all
	After  int64  // what changed after this position; 0: first how things stand
	Tenant string // needed by a client that belongs to none
}

// WatchStock follows levels as they change, for as long as ctx lives. Of changes in quick succession the last is told. A broken
// connection is waited out, and the watch goes on where it stopped.
func (c *Client) WatchStock(ctx context.Context, w StockWatch) iter.Seq2[StockItem, error] {
	return func(yield func(StockItem, error) bool) {
		at := stockSeen{position: w.After, complete: true}
		for failures := 0; ; failures++ {
			before := at.position
			more, err := c.receiveStock(ctx, w, &at, yield)
			if !more {
				return
			}
			if at.position > before {
				failures = 0
			}
			if err := c.waitOut(ctx, err, failures); err != nil {
				yield(StockItem{}, fmt.Errorf("watch stock: %w", err))
				return
			}
		}
	}
}

// stockSeen is what was handed on: everything before the position, and at it all, or some SKUs.
type stockSeen struct {
	position int64
	complete bool
	skus     map[string]bool
}

func (s *stockSeen) after() int64 {
	if s.complete {
		return s.position
	}
	return s.position - 1
}

// take says whether a level is news.
func (s *stockSeen) take(i *StockItem) bool {
	switch {
	case i.Position < s.position, i.Position == s.position && (s.complete || s.skus[i.SKU]):
		return false
	case i.Position > s.position:
		s.position, s.complete, s.skus = i.Position, false, map[string]bool{}
	}
	s.skus[i.SKU] = true
	return true
}

func (c *Client) receiveStock(ctx context.Context, w StockWatch, at *stockSeen, yield func(StockItem, error) bool) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(c.idle, func() { cancel(errSilent) })
	defer watchdog.Stop()
	resp, err := c.openStockWatch(ctx, w, at.after())
	if err != nil {
		return true, silent(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	stream := newStream(&watched{r: resp.Body, seen: func() { watchdog.Reset(c.idle) }})
	for {
		data, err := stream.data()
		if err != nil {
			return true, silent(ctx, &cutAnswer{err})
		}
		var item StockItem
		if err := json.Unmarshal(data, &item); err != nil {
			return true, fmt.Errorf("decode level: %w", err)
		}
		if at.take(&item) && !yield(item, nil) {
			return false, nil
		}
	}
}

func (c *Client) openStockWatch(ctx context.Context, w StockWatch, after int64) (*http.Response, error) {
	path := []string{"v1", "stock", "watch"}
	if w.SKU != "" {
		path = []string{"v1", "stock", w.SKU, "watch"}
	}
	request := read(path...)
	request.header.Set("Accept", "text/event-stream")
	set(request.query, "tenant", w.Tenant)
	if after > 0 {
		request.header.Set("Last-Event-ID", strconv.FormatInt(after, 10))
	}
	resp, err := c.authorized(ctx, func() (*http.Request, error) { return c.newRequest(ctx, request) })
	if err != nil {
		return nil, fmt.Errorf("open watch: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer drain(resp.Body)
		return nil, fmt.Errorf("open watch: %w", readProblem(resp, c.now()))
	}
	return resp, nil
}

// Replenishment is the form of what is to be bought, by vendor.
type Replenishment struct {
	Position int64               `json:"position"`
	Vendors  []ReplenishedVendor `json:"vendors"`

	Meta Meta `json:"-"`
}

// ReplenishedVendor is what is to be bought of one vendor.
type ReplenishedVendor struct {
	VendorID string            `json:"vendor_id"`
	Name     string            `json:"name"`
	Lines    []ReplenishedLine `json:"lines"`
}

// ReplenishedLine is one product to be bought.
type ReplenishedLine struct {
	SKU          string `json:"sku"`
	Name         string `json:"name"`
	Available    int64  `json:"available"`
	OnOrder      int64  `json:"on_order"`
	ReorderLevel int64  `json:"reorder_level"`
	TargetLevel  int64  `json:"target_level"`
	Quantity     int64  `json:"quantity"`
}

// ReplenishmentFilter selects the form's lines; its zero value selects all.
type ReplenishmentFilter struct {
	VendorID string
	Tenant   string // needed by a client that belongs to none
	Position int64  // the form reflects at least this
}

func (f ReplenishmentFilter) request() request {
	r := read("v1", "replenishment")
	set(r.query, "vendor_id", f.VendorID)
	set(r.query, "tenant", f.Tenant)
	r.atLeast(f.Position)
	return r
}

// Replenishment reads the form. Confirm what was bought with an adjustment's OnOrderDelta, and it is asked for no more.
func (c *Client) Replenishment(ctx context.Context, filter ReplenishmentFilter) (Replenishment, error) {
	var form Replenishment
	meta, err := c.do(ctx, filter.request(), &form)
	form.Meta = meta
	if err != nil {
		return form, fmt.Errorf("read replenishment: %w", err)
	}
	return form, nil
}

// The forms of the form besides JSON.
const (
	FormCSV  = "text/csv"
	FormHTML = "text/html"
)

// maxForm bounds a form, in bytes.
const maxForm = 256 << 20

// ReplenishmentAs reads the form for people: FormCSV, or FormHTML to be printed.
func (c *Client) ReplenishmentAs(ctx context.Context, filter ReplenishmentFilter, form string) ([]byte, error) {
	r := filter.request()
	r.header.Set("Accept", form)
	var body []byte
	err := c.retry(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		resp, err := c.authorized(ctx, func() (*http.Request, error) { return c.newRequest(ctx, r) }) //nolint:bodyclose // drain closes it
		if err != nil {
			return err
		}
		defer drain(resp.Body)
		if resp.StatusCode != http.StatusOK {
			return readProblem(resp, c.now())
		}
		if body, err = io.ReadAll(io.LimitReader(resp.Body, maxForm)); err != nil {
			return &cutAnswer{err}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read replenishment: %w", err)
	}
	return body, nil
}

// ReplenishmentRun is a look at a tenant's stock that found products to be bought.
type ReplenishmentRun struct {
	Tenant   string `json:"tenant"`
	RunID    string `json:"run_id"`
	Position int64  `json:"position"` // of the stock that was looked at
	Vendors  int64  `json:"vendors"`
	Lines    int64  `json:"lines"`
}

// RaiseReplenishment tells a tenant's systems, by the event replenishment.due, that products are to be bought. It is for auxiliary
// systems; the same run again tells nothing new.
func (c *Client) RaiseReplenishment(ctx context.Context, run ReplenishmentRun) (Meta, error) {
	meta, err := c.do(ctx, write(http.MethodPost, run, "v1", "replenishment", "runs"), nil)
	if err != nil {
		return meta, fmt.Errorf("raise replenishment %s: %w", run.RunID, err)
	}
	return meta, nil
}
