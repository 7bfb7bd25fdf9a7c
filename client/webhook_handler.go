package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// ErrWebhookGone is returned by what a WebhookHandler calls, to tell the store to send nothing more: it disables the subscription.
var ErrWebhookGone = errors.New("no more webhooks are wanted")

// WebhookRetry is returned by what a WebhookHandler calls, to ask the store to come again after a while.
type WebhookRetry struct {
	After time.Duration // rounded up to seconds
	Err   error         // why; nil is fine
}

func (r *WebhookRetry) Error() string {
	text := "webhook is wanted again in " + r.After.String()
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

func (r *WebhookRetry) Unwrap() error { return r.Err }

// WebhookHandler receives the webhooks of a subscription: it verifies each request and calls handle with its event. It answers
//
//	204 when handle returned nil: the event is dealt with and will not come again
//	400 when what is signed is no event, 401 when headers, time or signature are not right, 405 for another method than POST, 413 for a body
//	    over WebhookConfig.MaxBody
//	410 when handle returned ErrWebhookGone, 503 with Retry-After when it returned a *WebhookRetry
//	500 when handle returned another error; the store sends the event again
//
// The texts of handle's errors are not sent. The store waits 10 s for the answer, unless it is set up otherwise: handle should
// put the event somewhere safe and return. It may be called for the same event more than once, also at the same time.
func WebhookHandler(v *WebhookVerifier, handle func(context.Context, Event) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "a webhook is a POST", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, v.maxBody))
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "the body broke off", http.StatusBadRequest)
			return
		}
		event, err := v.Verify(r.Header, body)
		switch {
		case errors.Is(err, ErrWebhookBody):
			http.Error(w, ErrWebhookBody.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		default:
			answerWebhook(w, handle(r.Context(), event))
		}
	})
}

func answerWebhook(w http.ResponseWriter, err error) {
	var retry *WebhookRetry
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrWebhookGone):
		http.Error(w, ErrWebhookGone.Error(), http.StatusGone)
	case errors.As(err, &retry):
		seconds := max((retry.After+time.Second-1)/time.Second, 0)
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		http.Error(w, "the event is wanted later", http.StatusServiceUnavailable)
	default:
		http.Error(w, "the event was not dealt with", http.StatusInternalServerError)
	}
}
