package client

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"time"
)

// FeedRequest asks for the events after a position.
type FeedRequest struct {
	After int64
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

// Feed asks for the events after a position, once. It answers with none after FeedRequest.Wait.
func (c *Client) Feed(ctx context.Context, f FeedRequest) (FeedPage, error) {
	r := read("v1", "feed")
	r.longer = f.Wait
	r.query.Set("after", strconv.FormatInt(f.After, 10))
	r.query.Set("wait", f.Wait.String())
	if f.IncludeOrder {
		r.query.Set("include", "order")
	}
	if f.Limit > 0 {
		r.query.Set("limit", strconv.Itoa(f.Limit))
	}
	var page FeedPage
	meta, err := c.do(ctx, r, &page)
	page.Meta = meta
	if err != nil {
		return page, fmt.Errorf("read feed after %d: %w", f.After, err)
	}
	if page.ScannedTo < f.After { // would go round in circles
		return page, fmt.Errorf("read feed after %d: it was scanned to %d only", f.After, page.ScannedTo)
	}
	return page, nil
}

// From is where events begin.
type From struct {
	// Position: the first event is the one after it; 0 is the beginning.
	Position int64
}

// EventOption changes how events are received.
type EventOption func(*eventOptions)

type eventOptions struct {
	sse     bool
	request FeedRequest
}

// WithOrders makes each event carry its order; read it with Event.Order.
func WithOrders() EventOption { return func(o *eventOptions) { o.request.IncludeOrder = true } }

// OverSSE receives the events as one stream instead of page by page: sooner each, but fewer a second.
func OverSSE() EventOption { return func(o *eventOptions) { o.sse = true } }

// WithPageSize sets how many events are asked for at a time, 1 to 500, where they come page by page.
func WithPageSize(n int) EventOption { return func(o *eventOptions) { o.request.Limit = n } }

// WithWait sets how long the store holds a page while there is nothing to tell; 20 s unless set.
func WithWait(d time.Duration) EventOption { return func(o *eventOptions) { o.request.Wait = d } }

const defaultWait = 20 * time.Second

// Events receives the party's events in the order of their positions, for as long as ctx lives. A broken connection or a
// store that is away is waited out, and the events go on where they stopped: none is missed and none comes twice. What cannot
// be waited out ends the loop with its error, and so does the end of ctx.
//
// To go on after a restart, keep the position of the last event that was dealt with and begin From it.
func (c *Client) Events(ctx context.Context, from From, options ...EventOption) iter.Seq2[Event, error] {
	o := eventOptions{request: FeedRequest{Wait: defaultWait}}
	for _, option := range options {
		option(&o)
	}
	receive := c.receivePage
	if o.sse {
		receive = c.receiveStream
	}
	return func(yield func(Event, error) bool) {
		o := o // a second loop over the same sequence begins where the first did
		o.request.After = from.Position
		for failures := 0; ; {
			before := o.request.After
			more, err := receive(ctx, &o.request, func(e Event) bool { return yield(e, nil) })
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
