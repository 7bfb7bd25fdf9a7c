package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/orderstore/orderstore/bench/load"
)

// listen opens all listeners. The returned context ends when one of them fails.
func (a *audience) listen(ctx context.Context, t *target) (context.Context, func(), error) {
	listening, cancel := context.WithCancel(ctx)
	var finished sync.WaitGroup
	stop := func() { cancel(); finished.Wait() }
	var err error
	switch a.o.transport {
	case "sse", "watch":
		err = a.overSSE(listening, t, &finished)
	case "feed":
		err = a.overFeed(listening, t, &finished)
	case "webhook":
		var closing func()
		if closing, err = a.overWebhooks(listening, t); err == nil {
			return listening, func() { closing(); stop() }, nil
		}
	default:
		err = fmt.Errorf("--transport %s: must be sse, watch, feed or webhook", a.o.transport)
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return listening, stop, nil
}

// openWithin bounds the opening of all listeners.
const openWithin = time.Minute

func (a *audience) bearer(t *target) (host, bearer string, err error) {
	u, err := url.Parse(t.at.HTTP)
	if err != nil {
		return "", "", fmt.Errorf("address of the store: %w", err)
	}
	token, err := t.tokens.Token()
	if err != nil {
		return "", "", fmt.Errorf("token: %w", err)
	}
	return u.Host, "Bearer " + token.AccessToken, nil
}

// filter is the part of a listener's address that says of which kind it hears.
func (a *audience) filter(listener int) string {
	if a.o.kinds == 1 {
		return "?types=order.placed"
	}
	return "?types=order.placed&business_types=" + a.kinds[listener%a.o.kinds]
}

// stream is the address of a listener's event stream: the party's events, or the list of orders that is watched.
func (a *audience) stream(listener int) string {
	if a.o.transport != "watch" {
		return "/v1/events" + a.filter(listener)
	}
	if a.o.kinds == 1 {
		return "/v1/orders/watch?types=order.placed"
	}
	return "/v1/orders/watch?types=order.placed&business_type=" + a.kinds[listener%a.o.kinds]
}

func (a *audience) overSSE(ctx context.Context, t *target, finished *sync.WaitGroup) error {
	host, bearer, err := a.bearer(t)
	if err != nil {
		return err
	}
	open := make(chan struct{}, a.o.listeners)
	for n := range a.o.listeners {
		finished.Go(func() {
			a.fail(load.ListenSSE(ctx, host, a.stream(n), bearer, func() { open <- struct{}{} },
				func(position int64, at time.Time) { a.hear(n, position, at) }))
		})
	}
	return a.awaitOpen(ctx, open)
}

func (a *audience) awaitOpen(ctx context.Context, open <-chan struct{}) error {
	over := time.NewTimer(openWithin)
	defer over.Stop()
	for n := 0; n < a.o.listeners; n++ {
		select {
		case <-open:
		case <-over.C:
			if failed := a.failed.Load(); failed != nil {
				return *failed
			}
			return fmt.Errorf("only %d of %d listeners were open within %s", n, a.o.listeners, openWithin)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (a *audience) overFeed(ctx context.Context, t *target, finished *sync.WaitGroup) error {
	host, bearer, err := a.bearer(t)
	if err != nil {
		return err
	}
	lag, err := t.operator.Lag(ctx)
	if err != nil {
		return err
	}
	poller := load.NewPoller(host, a.o.listeners)
	for n := range a.o.listeners {
		finished.Go(func() {
			err := poller.Listen(ctx, "/v1/feed"+a.filter(n), bearer, lag.Log, func(position int64, at time.Time) { a.hear(n, position, at) })
			if ctx.Err() == nil {
				a.fail(err)
			}
		})
	}
	return a.awaitWaiting(ctx, t)
}

// awaitWaiting waits until the store holds as many long polls as there are listeners, by its own metric.
func (a *audience) awaitWaiting(ctx context.Context, t *target) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	over := time.NewTimer(openWithin)
	defer over.Stop()
	for {
		held, err := t.underWay(ctx, "stream")
		if failed := a.failed.Load(); failed != nil {
			err = *failed
		}
		if err != nil || held >= a.o.listeners {
			return err
		}
		select {
		case <-ticker.C:
		case <-over.C:
			return fmt.Errorf("only %d of %d long polls were held within %s", held, a.o.listeners, openWithin)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// overWebhooks makes a subscription for each listener, and removes them afterwards.
func (a *audience) overWebhooks(ctx context.Context, t *target) (func(), error) {
	release := make(chan struct{})
	sink, err := load.StartSink(ctx, a.o.hang, release, a.hear)
	if err != nil {
		return nil, err
	}
	var ids []string
	closing := func() {
		close(release)
		for _, id := range ids {
			a.fail(t.unsubscribe(context.WithoutCancel(ctx), id))
		}
		a.fail(sink.Close())
	}
	for n := range a.o.listeners {
		id, err := t.subscribe(ctx, map[string]any{
			"name": "bench " + t.reference() + " " + strconv.Itoa(n), "transport": "webhook", "url": sink.URL(n),
			"types": []string{"order.placed"}, "business_types": []string{a.kinds[n%a.o.kinds]},
		})
		if err != nil {
			closing()
			return nil, err
		}
		ids = append(ids, id)
	}
	return closing, nil
}
