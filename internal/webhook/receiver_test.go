package webhook_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/webhook"
)

// What is sent is what the public client takes: by each algorithm, during rotation from one to the other, and after it.
func TestClientVerifiesWhatIsSent(t *testing.T) {
	t.Parallel()
	old, fresh, stranger := draw(t, webhook.HMAC), draw(t, webhook.Ed25519), draw(t, webhook.Ed25519)
	for _, c := range []struct {
		signs    []webhook.Secret
		verifies string
		kind     webhook.Kind
	}{
		{[]webhook.Secret{old}, old.ForReceiver(), webhook.Delivered},
		{[]webhook.Secret{fresh, old}, old.ForReceiver(), webhook.Delivered},
		{[]webhook.Secret{fresh, old}, fresh.ForReceiver(), webhook.Delivered},
		{[]webhook.Secret{fresh}, fresh.ForReceiver(), webhook.Delivered},
		{[]webhook.Secret{fresh}, old.ForReceiver(), webhook.Rejected},
		{[]webhook.Secret{fresh, old}, stranger.ForReceiver(), webhook.Rejected},
	} {
		verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{c.verifies}})
		require.NoError(t, err)
		heard := make(chan client.Event, 1)
		server := receiver(t, client.WebhookHandler(verifier, func(_ context.Context, e client.Event) error {
			heard <- e
			return nil
		}).ServeHTTP)
		message := request(t, server.URL)
		message.Body = []byte(`{"id":"42","position":42,"type":"order.placed"}`)
		message.Secrets = c.signs
		message.Headers["orderstore-replay"] = "true"
		attempt := sender(t, loopback(), webhook.SenderConfig{}).Send(t.Context(), message)
		require.Equal(t, c.kind, attempt.Kind, "%v", attempt.Answer)
		if c.kind == webhook.Delivered {
			event := <-heard
			require.Equal(t, int64(42), event.Position)
			require.Equal(t, client.Delivery{ID: "d-1", Attempt: 3, Replay: true}, event.Delivery)
		}
	}
}

// What a receiver's handler asks for arrives here.
func TestClientsWishesAreUnderstood(t *testing.T) {
	t.Parallel()
	secret := draw(t, webhook.HMAC)
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret.ForReceiver()}})
	require.NoError(t, err)
	wishes := []error{&client.WebhookRetry{After: time.Minute}, context.DeadlineExceeded, client.ErrWebhookGone}
	var next atomic.Int64
	server := receiver(t, client.WebhookHandler(verifier, func(context.Context, client.Event) error { return wishes[next.Add(1)-1] }).ServeHTTP)
	s := sender(t, loopback(), webhook.SenderConfig{})
	for _, want := range []webhook.Attempt{
		{Kind: webhook.Throttled, Status: 503, RetryAfter: time.Minute}, {Kind: webhook.Failed, Status: 500}, {Kind: webhook.Gone, Status: 410},
	} {
		message := request(t, server.URL)
		message.Body = []byte(`{"id":"42"}`)
		message.Secrets = []webhook.Secret{secret}
		got := s.Send(t.Context(), message)
		require.Equal(t, want, webhook.Attempt{Kind: got.Kind, Status: got.Status, RetryAfter: got.RetryAfter})
	}
}
