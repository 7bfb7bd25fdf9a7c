package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	maxCall        = 16 << 20         // bytes of one call
	callWaits      = 10 * time.Second // for a loop to take a call
	callsKnown     = 10_000           // positions that are kept in mind, to know a call that comes again
	headerID       = "Webhook-Id"
	headerAttempt  = "Orderstore-Attempt"
	headerDelivery = "Orderstore-Delivery"
	headerReplay   = "Orderstore-Replay"
	retryAfterSec  = "1"
)

// CallVerifier checks that a call comes from the store. It returns an error for any other.
type CallVerifier interface {
	Verify(body []byte, headers http.Header) error
}

// WebhookReceiver is the http.Handler that a webhook subscription calls, and what its loop hears from: see ThroughWebhook. A call is
// answered with success once the loop is done with its event; one that the loop is left in, or that no loop takes, is answered so that
// the store tries again.
type WebhookReceiver struct {
	verifier CallVerifier
	calls    chan *call
	waits    time.Duration
	known    *lru.Cache[int64, struct{}]
}

// NewWebhookReceiver makes a receiver of calls that the verifier takes.
func NewWebhookReceiver(verifier CallVerifier) *WebhookReceiver {
	known, _ := lru.New[int64, struct{}](callsKnown) // fails for sizes below 1 only
	return &WebhookReceiver{verifier: verifier, calls: make(chan *call), waits: callWaits, known: known}
}

// dealtWith says whether a call brings again what a loop is done with.
func (w *WebhookReceiver) dealtWith(d *Delivery) bool {
	return w.known.Contains(d.Position) && !d.Replay
}

// call is one request of the store.
type call struct {
	receiver *WebhookReceiver
	delivery *Delivery
	once     sync.Once
	answered chan struct{} // closed when done is set
	done     bool
}

func (c *call) answer(done bool) {
	c.once.Do(func() {
		if c.done = done; done {
			c.receiver.known.Add(c.delivery.Position, struct{}{})
		}
		close(c.answered)
	})
}

// ServeHTTP takes one call.
func (w *WebhookReceiver) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	if in.Method != http.MethodPost {
		out.Header().Set("Allow", http.MethodPost)
		http.Error(out, "POST only", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(out, in.Body, maxCall))
	if err != nil {
		http.Error(out, "the body cannot be read", http.StatusBadRequest)
		return
	}
	if err := w.verifier.Verify(body, in.Header); err != nil {
		http.Error(out, "the signature is not valid", http.StatusUnauthorized)
		return
	}
	d, err := deliveryOf(in.Header, body)
	if err != nil {
		http.Error(out, "the body is no event", http.StatusBadRequest)
		return
	}
	if d.Position == 0 || w.dealtWith(d) {
		out.WriteHeader(http.StatusNoContent) // a test, or what the loop is done with already
		return
	}
	if !w.pass(in.Context(), d) {
		out.Header().Set("Retry-After", retryAfterSec)
		http.Error(out, "not dealt with", http.StatusServiceUnavailable)
		return
	}
	out.WriteHeader(http.StatusNoContent)
}

// pass gives a delivery to the loop and says whether it is done with it.
func (w *WebhookReceiver) pass(ctx context.Context, d *Delivery) bool {
	c := &call{receiver: w, delivery: d, answered: make(chan struct{})}
	d.ack = func(context.Context) error {
		c.answer(true)
		return nil
	}
	late := time.NewTimer(w.waits)
	defer late.Stop()
	select {
	case w.calls <- c:
	case <-late.C:
		return false
	case <-ctx.Done():
		return false
	}
	select {
	case <-c.answered:
		return c.done
	case <-ctx.Done():
		return false
	}
}

func deliveryOf(h http.Header, body []byte) (*Delivery, error) {
	d := &Delivery{DeliveryID: h.Get(headerDelivery), Replay: h.Get(headerReplay) == "true"}
	if err := json.Unmarshal(body, &d.Event); err != nil {
		return nil, err
	}
	if d.ID != h.Get(headerID) {
		return nil, errors.New("the call's id is not the event's")
	}
	d.Attempt, _ = strconv.Atoi(h.Get(headerAttempt)) // absent: 0
	return d, nil
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
	if c.receiver.dealtWith(c.delivery) { // meanwhile
		c.answer(true)
		return true, nil
	}
	s.given++
	if err := s.withOrder(ctx, &c.delivery.Event); err != nil {
		c.answer(false)
		return true, err
	}
	more := s.yield(c.delivery, nil)
	switch {
	case !more:
		c.answer(false) // unless it was acknowledged
	case !s.options.manual:
		c.answer(true)
	}
	return more, nil
}
