package workload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/orderstore/orderstore/client"
)

// hookEndpoint is the webhook endpoint of the provider that is called.
type hookEndpoint struct {
	url    string
	server *http.Server

	mu           sync.Mutex
	subscription string
	handler      http.Handler // nil: not subscribed yet
	receive      func(ctx context.Context, e *client.Event) error
	first        func(w http.ResponseWriter, r *http.Request) bool
}

// newHookEndpoint listens. outside gives the URL by which the store reaches it.
func newHookEndpoint(outside func(listen string) (string, error)) (*hookEndpoint, error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks: %w", err)
	}
	h := &hookEndpoint{url: "http://" + listener.Addr().String() + "/hook"}
	if outside != nil {
		base, err := outside(listener.Addr().String())
		if err != nil {
			return nil, fmt.Errorf("webhook endpoint: %w", err)
		}
		h.url = base + "/hook"
	}
	h.server = &http.Server{Handler: http.HandlerFunc(h.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = h.server.Serve(listener) }() // ends with close
	return h, nil
}

func (h *hookEndpoint) close() error {
	if err := h.server.Close(); err != nil {
		return fmt.Errorf("close webhook endpoint: %w", err)
	}
	return nil
}

func (h *hookEndpoint) intercept(by func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = by
}

func (h *hookEndpoint) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handler != nil
}

func (h *hookEndpoint) subscribed(id, secret string) error {
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret}})
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscription, h.handler = id, client.WebhookHandler(verifier, h.take)
	return nil
}

// heardBy says who deals with the events from now on.
func (h *hookEndpoint) heardBy(receive func(ctx context.Context, e *client.Event) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.receive = receive
}

func (h *hookEndpoint) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	first, handler := h.first, h.handler
	h.mu.Unlock()
	if first != nil && first(w, r) {
		return
	}
	if handler == nil {
		http.Error(w, "not yet", http.StatusServiceUnavailable)
		return
	}
	handler.ServeHTTP(w, r)
}

var errNobody = errors.New("nobody hears")

func (h *hookEndpoint) take(ctx context.Context, e client.Event) error {
	h.mu.Lock()
	receive := h.receive
	h.mu.Unlock()
	if receive == nil {
		return errNobody
	}
	if e.Position == 0 { // it is about the subscription itself
		return nil
	}
	return receive(ctx, &e)
}
