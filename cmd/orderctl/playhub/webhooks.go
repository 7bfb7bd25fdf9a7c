package playhub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

// webhooks delivers notices to the provider, one after the other, signed as the store signs them.
type webhooks struct {
	hub    *hub
	url    string
	secret webhook.Secret
	forger webhook.Secret // somebody else's
	sender *webhook.Sender

	// Under the hub's lock:
	held      bool // nothing is delivered by itself
	delivered int64
}

// How often a notice is delivered that is not taken, and how long the kit waits after the first time; then twice as long each time.
const (
	webhookAttempts = 4
	webhookPause    = 500 * time.Millisecond
)

// newWebhooks makes the sender. It may go to any address: who runs the kit has named it.
func newWebhooks(h *hub, url string, secret webhook.Secret) (*webhooks, error) {
	everywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	guard, err := webhook.NewGuard(webhook.GuardConfig{AllowedNetworks: everywhere, AllowHTTP: true})
	if err != nil {
		return nil, fmt.Errorf("make webhook sender: %w", err)
	}
	w := &webhooks{hub: h, url: url, secret: secret}
	if w.sender, err = webhook.NewSender(guard, webhook.SenderConfig{}); err != nil {
		return nil, fmt.Errorf("make webhook sender: %w", err)
	}
	if w.forger, err = webhook.NewSecret(webhook.HMAC); err != nil {
		return nil, fmt.Errorf("make webhook sender: %w", err)
	}
	return w, nil
}

// run delivers what is addressed to the provider until ctx ends.
func (w *webhooks) run(ctx context.Context) {
	for ctx.Err() == nil {
		var next *events.Notice
		if !w.hub.until(ctx, func() bool { next = w.next(); return next != nil }) {
			return
		}
		w.deliver(ctx, *next)
	}
}

// next takes the next notice that is to be delivered by itself. The lock is held.
func (w *webhooks) next() *events.Notice {
	if w.held {
		return nil
	}
	for _, n := range w.hub.notices {
		if n.Position <= w.delivered {
			continue
		}
		if n, mine := w.hub.notice(n); mine {
			w.delivered = n.Position
			return &n
		}
	}
	return nil
}

// deliver sends a notice until it is taken, some times at most, and gives what came of the last attempt.
func (w *webhooks) deliver(ctx context.Context, n events.Notice) webhook.Attempt {
	id, last, pause := uuid.NewString(), webhook.Attempt{}, webhookPause
	for attempt := 1; attempt <= webhookAttempts && ctx.Err() == nil; attempt++ {
		if last = w.send(ctx, n, w.secret, id, attempt); last.Kind == webhook.Delivered {
			break
		}
		rest(ctx, max(pause, last.RetryAfter))
		pause *= 2
	}
	w.hub.look(func() {
		if last.Kind == webhook.Delivered {
			w.hub.told[n.Position]++
		}
		w.hub.change()
	})
	return last
}

// forge sends a notice once, with a signature that is not right.
func (w *webhooks) forge(ctx context.Context, n events.Notice) webhook.Attempt {
	return w.send(ctx, n, w.forger, uuid.NewString(), 1)
}

func (w *webhooks) send(ctx context.Context, n events.Notice, secret webhook.Secret, id string, attempt int) webhook.Attempt {
	body, err := json.Marshal(&n)
	if err != nil {
		return webhook.Attempt{Kind: webhook.Failed, Err: err, Reason: "the notice cannot be encoded"}
	}
	return w.sender.Send(ctx, &webhook.Request{
		URL: w.url, ID: n.ID, Timestamp: w.hub.now(), Body: w.hub.dress(body), ContentType: "application/cloudevents+json",
		Secrets: []webhook.Secret{secret},
		Headers: map[string]string{"Orderstore-Delivery": id, "Orderstore-Attempt": strconv.Itoa(attempt)},
	})
}

// answeredBy is an attempt's answer in a word.
func answeredBy(a webhook.Attempt) string {
	if a.Status == 0 {
		return a.Reason
	}
	return strconv.Itoa(a.Status)
}

// hold stops what is delivered by itself, and release goes on behind what there is by then.
func (w *webhooks) hold() { w.hub.look(func() { w.held = true }) }

func (w *webhooks) release() {
	w.hub.look(func() {
		w.held, w.delivered = false, w.hub.position
		w.hub.change()
	})
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
