package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// WatchOrder receives every event of an order, from its beginning or from a position on, and then each as it happens, for as long as ctx
// lives. Broken connections are waited out as in Events: none is missed and none comes twice. Of the options, WithOrders and WithTypes count.
// An order that does not exist or belongs to others ends the loop with a Problem of the code not_found.
func (c *Client) WatchOrder(ctx context.Context, id string, after int64, options ...EventOption) iter.Seq2[Event, error] {
	return c.watch(ctx, func(context.Context) (int64, error) { return after, nil }, func(o *eventOptions) request {
		r := read("v1", "orders", id, "watch")
		o.request.filter(r.query)
		return r
	}, options)
}

// ErrNoTime says that a list cannot be watched from a time on: give a position, or From.Now.
var ErrNoTime = errors.New("a list is watched from a position on, or from now")

// WatchOrders receives what happens to the orders of a filter, as Events does. Event.Listed says whether the order is in the list then; when
// it is not, it may have been until now. For a list that stays as the store has it: read the list, and watch from the Meta.Position of its first
// page. Sort, PageSize and Position of the filter do not count; of the options, WithOrders and WithTypes do.
func (c *Client) WatchOrders(ctx context.Context, filter OrderFilter, from From, options ...EventOption) iter.Seq2[Event, error] {
	begin := func(ctx context.Context) (int64, error) {
		switch {
		case from.Now:
			return c.listPosition(ctx, filter)
		case !from.Since.IsZero():
			return 0, ErrNoTime
		}
		return from.Position, nil
	}
	return c.watch(ctx, begin, func(o *eventOptions) request {
		r := read("v1", "orders", "watch")
		o.request.filter(r.query)
		for name, values := range filter.query() {
			if name != "sort" && name != "limit" {
				r.query[name] = values
			}
		}
		return r
	}, options)
}

// listPosition is how far the list is now, so that it can be watched from there over broken connections.
func (c *Client) listPosition(ctx context.Context, filter OrderFilter) (int64, error) {
	r := read("v1", "orders")
	filter.PageSize = 1
	r.query = filter.query()
	meta, err := c.do(ctx, r, nil)
	if err != nil {
		return 0, fmt.Errorf("list orders: %w", err)
	}
	return meta.Position, nil
}

func (c *Client) watch(
	ctx context.Context, begin func(context.Context) (int64, error), build func(*eventOptions) request, options []EventOption,
) iter.Seq2[Event, error] {
	o := newEventOptions(options)
	return func(yield func(Event, error) bool) {
		after, err := begin(ctx)
		if err != nil {
			yield(Event{}, err)
			return
		}
		for failures := 0; ; failures++ {
			before := after
			more, err := c.receiveSSE(ctx, build(&o), &after, func(e Event) bool { return yield(e, nil) })
			if !more {
				return
			}
			if after > before {
				failures = 0
			}
			if err := c.waitOut(ctx, err, failures); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}
