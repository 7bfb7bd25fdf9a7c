package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	hookTimeout  = 5 * time.Second
	hookFailures = 3 // in a row, after which an endpoint is left alone for a while
	hookResting  = 15 * time.Second
	maxCircuits  = 1000
)

// HooksConfig says where calls may go.
type HooksConfig struct {
	Guard webhook.GuardConfig
	Now   func() time.Time // nil: time.Now
}

// Hooks calls tenants' endpoints, signed as Standard Webhooks says. Endpoints inside are refused and redirects are not followed.
// It is safe for concurrent use.
type Hooks struct {
	guard  *webhook.Guard
	sender *webhook.Sender

	mu       sync.Mutex
	circuits map[string]*webhook.Circuit // by URL
}

// NewHooks makes one. Close it after use.
func NewHooks(cfg HooksConfig) (*Hooks, error) {
	guard, err := webhook.NewGuard(cfg.Guard)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	sender, err := webhook.NewSender(guard, webhook.SenderConfig{Timeout: hookTimeout, Now: cfg.Now})
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	return &Hooks{guard: guard, sender: sender, circuits: map[string]*webhook.Circuit{}}, nil
}

// Call is one message to one endpoint.
type Call struct {
	URL    string
	Secret string // as webhook.ParseSecret reads it
	ID     string // the same each time the message is sent; no full stop in it
	At     time.Time
	Body   []byte // JSON
}

// Send makes one attempt. Its errors say what Outward.Send's do: Undeliverable where trying again cannot help. An endpoint that does
// not work is no reason to hold others back, so the target is never away.
func (h *Hooks) Send(ctx context.Context, c Call) error {
	done, pause := h.circuit(c.URL).Allow()
	if done == nil {
		return fmt.Errorf("the endpoint failed again and again and is left alone for %s", pause.Round(time.Second))
	}
	attempt := h.attempt(ctx, c)
	done(&attempt)
	switch attempt.Kind {
	case webhook.Delivered:
		return nil
	case webhook.Gone, webhook.Blocked, webhook.Unsendable:
		return Undeliverable(errors.New(attempt.Reason))
	}
	return fmt.Errorf("webhook: %s: %s", attempt.Kind, attempt.Reason)
}

// attempt makes one attempt, whatever became of the ones before.
func (h *Hooks) attempt(ctx context.Context, c Call) webhook.Attempt {
	secret, err := webhook.ParseSecret(c.Secret)
	if err != nil {
		return webhook.Attempt{Kind: webhook.Unsendable, Reason: err.Error(), Err: err}
	}
	return h.sender.Send(ctx, &webhook.Request{URL: c.URL, ID: c.ID, Timestamp: c.At, Body: c.Body, Secrets: []webhook.Secret{secret}})
}

func (h *Hooks) circuit(url string) *webhook.Circuit {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, ok := h.circuits[url]; ok {
		return c
	}
	if len(h.circuits) >= maxCircuits {
		clear(h.circuits)
	}
	c := webhook.NewCircuit(webhook.CircuitConfig{Failures: hookFailures, OpenFor: hookResting})
	h.circuits[url] = c
	return c
}

// Close gives up the connections that are not in use.
func (h *Hooks) Close() { h.sender.Close() }
