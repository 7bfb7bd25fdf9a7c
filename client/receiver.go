package client

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	callWaits  = 5 * time.Second // for a loop to take a call; the store waits a little longer for its answer
	callAgain  = time.Second     // that the store is asked to wait before it tries again
	callsKnown = 10_000          // positions that are kept in mind, to know a call that comes again
)

// WebhookReceiver is the http.Handler that a webhook subscription calls, and what its loop hears from: see ThroughWebhook. A call is
// answered with success once the loop is done with its event. One that the loop is left in, or that no loop takes in time, is answered so that
// the store tries again. Everything else is as with WebhookHandler.
type WebhookReceiver struct {
	handler http.Handler
	calls   chan *call
	known   *lru.Cache[int64, struct{}]
}

// NewWebhookReceiver makes a receiver of calls that the verifier takes.
func NewWebhookReceiver(v *WebhookVerifier) *WebhookReceiver {
	known, _ := lru.New[int64, struct{}](callsKnown) // fails for sizes below 1 only
	w := &WebhookReceiver{calls: make(chan *call), known: known}
	w.handler = WebhookHandler(v, w.take)
	return w
}

// ServeHTTP takes one call.
func (w *WebhookReceiver) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	w.handler.ServeHTTP(out, in)
}

// call is one request of the store.
type call struct {
	receiver *WebhookReceiver
	event    Event
	once     sync.Once
	answered chan struct{} // closed when done is set
	done     bool
}

func (c *call) answer(done bool) {
	c.once.Do(func() {
		if c.done = done; done {
			c.receiver.known.Add(c.event.Position, struct{}{})
		}
		close(c.answered)
	})
}

// dealtWith says whether a call is another attempt for what a loop is done with: the answer to the one before was lost. A first attempt that
// comes again is meant: the subscription was moved back.
func (w *WebhookReceiver) dealtWith(e *Event) bool {
	return e.Delivery.Attempt > 1 && !e.Delivery.Replay && w.known.Contains(e.Position)
}

var errNotDealtWith = errors.New("no loop has dealt with it")

// take gives an event to the loop and waits until it is done with it.
func (w *WebhookReceiver) take(ctx context.Context, e Event) error {
	if e.Position == 0 || w.dealtWith(&e) {
		return nil // it is about the subscription itself, or came again
	}
	c := &call{receiver: w, event: e, answered: make(chan struct{})}
	late := time.NewTimer(callWaits)
	defer late.Stop()
	select {
	case w.calls <- c:
	case <-late.C:
		return &WebhookRetry{After: callAgain, Err: errNotDealtWith}
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-c.answered:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.done {
		return &WebhookRetry{After: callAgain, Err: errNotDealtWith}
	}
	return nil
}

// calls hears from the receiver.
func (s *reading) calls(ctx context.Context) (bool, error) {
	w := s.options.webhook
	if w == nil {
		return true, &lasting{errNoReceiver}
	}
	for {
		select {
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case c := <-w.calls:
			if more, err := s.called(ctx, c); !more || err != nil {
				return more, err
			}
		}
	}
}

var errNoReceiver = errors.New("a webhook is received through a WebhookReceiver: see ThroughWebhook")

func (s *reading) called(ctx context.Context, c *call) (bool, error) {
	if c.receiver.dealtWith(&c.event) { // meanwhile
		c.answer(true)
		return true, nil
	}
	s.given++
	if err := s.withOrder(ctx, &c.event); err != nil {
		c.answer(false)
		return true, err
	}
	d := &Received{Event: c.event, ack: func(context.Context) error {
		c.answer(true)
		return nil
	}}
	more := s.yield(d, nil)
	switch {
	case !more:
		c.answer(false) // unless it was acknowledged
	case !s.options.manual:
		c.answer(true)
	}
	return more, nil
}
