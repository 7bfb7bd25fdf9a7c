package client_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// signed is a call of the store.
func signed(ctx context.Context, t *testing.T, position int64, headers ...string) *http.Request {
	body, err := json.Marshal(event(position))
	if err != nil {
		t.Errorf("encode event: %v", err)
	}
	id, now := strconv.FormatInt(position, 10), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, make([]byte, 24))
	_, _ = mac.Write([]byte(id + "." + now + "." + string(body)))
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/hook", strings.NewReader(string(body)))
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", now)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func TestCallIsAnsweredWhenTheLoopIsDone(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"id": "s-1", "transport": "webhook", "status": "active", "version": 1})
	})
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))}})
	require.NoError(t, err)
	receiver := client.NewWebhookReceiver(verifier)
	call := func(position int64, headers ...string) int {
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, signed(t.Context(), t, position, headers...))
		return w.Code
	}
	require.Equal(t, http.StatusUnauthorized, call(1, "Webhook-Signature", "forged"))

	type told struct {
		position int64
		attempt  int
		replay   bool
		delivery string
	}
	listen := func(n int, options ...client.EventOption) <-chan told {
		heard := make(chan told, n)
		go func() {
			defer close(heard)
			for d, err := range c.Subscribe(t.Context(), "s-1", append(options, client.ThroughWebhook(receiver))...) {
				if t.Context().Err() != nil || !assert.NoError(t, err) {
					return
				}
				heard <- told{d.Position, d.Delivery.Attempt, d.Delivery.Replay, d.Delivery.ID}
				if n--; n == 0 {
					return
				}
			}
		}()
		return heard
	}
	heard := listen(3)
	require.Equal(t, http.StatusNoContent, call(4, "Orderstore-Attempt", "2", "Orderstore-Delivery", "d-4"))
	require.Equal(t, told{4, 2, false, "d-4"}, <-heard)
	require.Equal(t, http.StatusNoContent, call(4, "Orderstore-Attempt", "3"), "it was dealt with")
	require.Equal(t, http.StatusNoContent, call(4, "Orderstore-Replay", "true"))
	require.True(t, (<-heard).replay, "a replay that was asked for is one")
	require.Equal(t, http.StatusServiceUnavailable, call(5), "the loop was left in its body")
	require.Equal(t, told{position: 5}, <-heard)

	heard = listen(2, client.ManualAck())
	ctx, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan struct{})
	go func() {
		defer close(gaveUp)
		w := httptest.NewRecorder()
		receiver.ServeHTTP(w, signed(ctx, t, 6))
		assert.Equal(t, http.StatusInternalServerError, w.Code, "nobody said that it was dealt with")
	}()
	require.Equal(t, int64(6), (<-heard).position)
	giveUp()
	<-gaveUp
}
