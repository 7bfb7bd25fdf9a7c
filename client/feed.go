package client

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FeedRequest asks for the events after a position.
type FeedRequest struct {
	After int64
	// Start, where set, is asked for instead of After.
	Start *From
	// Subscription is the id of a feed or SSE subscription whose filter counts; Types and BusinessTypes must be empty then.
	Subscription string
	// Types are event types, or families of them such as "order.*"; none: all.
	Types []string
	// BusinessTypes are the identification codes that are wanted; none: all.
	BusinessTypes []string
	// Wait is how long the store may hold the answer while there is nothing to tell; 0: not at all. The store caps it at 30 s.
	Wait time.Duration
	// IncludeOrder adds each event's order as its data.
	IncludeOrder bool
	Limit        int // up to 500; 0: the store's default
}

// FeedPage is one answer of the feed. Nothing of this party's is missing up to ScannedTo, which is where to go on.
type FeedPage struct {
	Events    []Event `json:"events"`
	ScannedTo int64   `json:"scanned_to"`

	Meta Meta `json:"-"`
}

// filter puts into a query what is wanted to be heard.
func (f *FeedRequest) filter(q url.Values) {
	set(q, "subscription", f.Subscription)
	set(q, "types", strings.Join(f.Types, ","))
	set(q, "business_types", strings.Join(f.BusinessTypes, ","))
	if f.IncludeOrder {
		q.Set("include", "order")
	}
}

// Feed asks for the events after a position, once. It answers with none after FeedRequest.Wait.
func (c *Client) Feed(ctx context.Context, f FeedRequest) (FeedPage, error) {
	r := read("v1", "feed")
	r.longer = f.Wait
	from := From{Position: f.After}
	if f.Start != nil {
		from = *f.Start
	}
	from.query(r.query)
	f.filter(r.query)
	r.query.Set("wait", f.Wait.String())
	if f.Limit > 0 {
		r.query.Set("limit", strconv.Itoa(f.Limit))
	}
	var page FeedPage
	meta, err := c.do(ctx, r, &page)
	page.Meta = meta
	if err != nil {
		return page, fmt.Errorf("read feed after %s: %w", from, err)
	}
	for i := range page.Events {
		c.saw(page.Events[i].Position)
	}
	if page.ScannedTo < from.Position { // would go round in circles
		return page, fmt.Errorf("read feed after %s: it was scanned to %d only", from, page.ScannedTo)
	}
	return page, nil
}

// From is where events begin: after a position, at a time, or now. Its zero value is the beginning.
type From struct {
	// Position: the first event is the one after it; 0 is the beginning.
	Position int64
	// Since, where set, begins with the first event that was recorded at that time or later.
	Since time.Time
	// Now, where set, begins with what happens from now on.
	Now bool
}

// String says it in words.
func (f From) String() string {
	switch {
	case f.Now:
		return "now"
	case !f.Since.IsZero():
		return instant(f.Since)
	}
	return strconv.FormatInt(f.Position, 10)
}

func (f From) query(q url.Values) {
	switch {
	case f.Now:
		q.Set("start", "now")
	case !f.Since.IsZero():
		q.Set("since", instant(f.Since))
	default:
		q.Set("after", strconv.FormatInt(f.Position, 10))
	}
}

// begin finds the position after which events begin, so that they can be asked for again from there.
func (c *Client) begin(ctx context.Context, from From, r FeedRequest) (int64, error) {
	if !from.Now && from.Since.IsZero() {
		return from.Position, nil
	}
	r.Start, r.Wait, r.Limit, r.IncludeOrder = &from, 0, 1, false
	page, err := c.Feed(ctx, r)
	if err != nil {
		return 0, err
	}
	if len(page.Events) > 0 {
		return page.Events[0].Position - 1, nil
	}
	return page.ScannedTo, nil
}

// EventOption changes how events are received.
type EventOption func(*eventOptions)

type eventOptions struct {
	sse     bool
	request FeedRequest

	// Of subscriptions.
	manual    bool
	ackEvery  int
	ackWithin time.Duration
	webhook   *WebhookReceiver
}

// WithOrders makes each event carry its order; read it with Event.Order.
func WithOrders() EventOption { return func(o *eventOptions) { o.request.IncludeOrder = true } }

// OverSSE receives the events as one stream instead of page by page: sooner each, but fewer a second.
func OverSSE() EventOption { return func(o *eventOptions) { o.sse = true } }

// WithPageSize sets how many events are asked for at a time, 1 to 500, where they come page by page.
func WithPageSize(n int) EventOption { return func(o *eventOptions) { o.request.Limit = n } }

// WithWait sets how long the store holds a page while there is nothing to tell; 20 s unless set.
func WithWait(d time.Duration) EventOption { return func(o *eventOptions) { o.request.Wait = d } }

// WithTypes asks for events of these types only, or of families of them such as "order.*".
func WithTypes(types ...string) EventOption {
	return func(o *eventOptions) { o.request.Types = append(o.request.Types, types...) }
}

// WithBusinessTypes asks for events of orders of these identification codes only.
func WithBusinessTypes(types ...string) EventOption {
	return func(o *eventOptions) { o.request.BusinessTypes = append(o.request.BusinessTypes, types...) }
}

const defaultWait = 20 * time.Second

func newEventOptions(options []EventOption) eventOptions {
	o := eventOptions{request: FeedRequest{Wait: defaultWait}, ackEvery: defaultAckEvery, ackWithin: defaultAckWithin}
	for _, option := range options {
		option(&o)
	}
	return o
}

// Events receives the party's events in the order of their positions, for as long as ctx lives. A broken connection or a
// store that is away is waited out, and the events go on where they stopped: none is missed and none comes twice. What cannot
// be waited out ends the loop with its error, and so does the end of ctx.
//
// To go on after a restart, keep the position of the last event that was dealt with and begin From it; or have the store keep it, by a
// subscription: see Subscribe.
func (c *Client) Events(ctx context.Context, from From, options ...EventOption) iter.Seq2[Event, error] {
	o := newEventOptions(options)
	receive := c.receivePage
	if o.sse {
		receive = c.receiveStream
	}
	return func(yield func(Event, error) bool) {
		o, from := o, from // a second loop over the same sequence begins where the first did
		for failures := 0; ; {
			before := o.request.After
			more, err := true, error(nil)
			if o.request.After, err = c.begin(ctx, from, o.request); err == nil {
				more, err = receive(ctx, &o.request, func(e Event) bool { return yield(e, nil) })
				from = From{Position: o.request.After}
			}
			if !more {
				return
			}
			if o.request.After > before {
				failures = 0
			}
			if err == nil {
				continue
			}
			if err := c.waitOut(ctx, err, failures); err != nil {
				yield(Event{}, err)
				return
			}
			failures++
		}
	}
}

// waitOut pauses after an error that may pass by itself, and returns any other.
func (c *Client) waitOut(ctx context.Context, err error, failures int) error {
	if ctx.Err() != nil {
		return ended(ctx.Err(), err)
	}
	if !passing(err) {
		return err
	}
	d := pause(failures, askedPause(err))
	c.log.WarnContext(ctx, "events are asked for again", slog.Duration("after", d), slog.Any("cause", err))
	if stopped := c.wait(ctx, d); stopped != nil {
		return ended(stopped, err)
	}
	return nil
}

// receivePage hands on one page of the feed and moves r.After behind what was handed on. It returns false when the caller
// wants no more.
func (c *Client) receivePage(ctx context.Context, r *FeedRequest, hand func(Event) bool) (bool, error) {
	page, err := c.Feed(ctx, *r)
	if err != nil {
		return true, err
	}
	for _, event := range page.Events {
		if event.Position <= r.After {
			continue
		}
		r.After = event.Position
		if !hand(event) {
			return false, nil
		}
	}
	r.After = page.ScannedTo
	return true, nil
}
