package broadcast

import (
	"fmt"
	"time"

	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/webhook"
)

const longestURL = 2048

// endpoint reads the members of a webhook. null is the default again.
func (q *subscriptionRequest) endpoint(r *httpapi.Reader, name string) bool {
	w := &q.webhook
	switch name {
	case "url":
		r.String(&w.URL, 1, longestURL)
	case "algorithm":
		if !q.s.CreatedAt.IsZero() { // it is made already
			r.ReadOnly()
			return true
		}
		var text string
		if r.String(&text, 1, maxName); text != "" && text != string(webhook.HMAC) && text != string(webhook.Ed25519) {
			r.Invalid(fmt.Sprintf("must be %q or %q", webhook.HMAC, webhook.Ed25519))
		}
		w.Algorithm = webhook.Algorithm(text)
	case "concurrency":
		if w.Concurrency = 0; !r.Null() {
			r.Int(&w.Concurrency, 1, mostConcurrency)
		}
	case "rate":
		if w.Rate = 0; !r.Null() {
			r.Float(&w.Rate, 0.01, mostRate)
		}
	case "timeout":
		if w.Timeout = 0; !r.Null() {
			readSeconds(r, &w.Timeout, 1, mostTimeout)
		}
	case "max_attempts":
		if w.MaxAttempts = 0; !r.Null() {
			r.Int(&w.MaxAttempts, 1, mostAttempts)
		}
	default:
		return false
	}
	return true
}

// checkEndpoint says what is missing of a webhook, and what only a webhook has.
func (q *subscriptionRequest) checkEndpoint(r *httpapi.Reader, creating bool) {
	if q.s.Transport == TransportWebhook {
		if creating {
			r.Require("url", q.given["url"])
		}
		return
	}
	for _, name := range []string{"url", "algorithm", "concurrency", "rate", "timeout", "max_attempts"} {
		if q.given[name] {
			r.InvalidAt("/"+name, "is for webhooks only")
		}
	}
}

// readSeconds reads a length of time: whole seconds as a number, or text such as "15m".
func readSeconds(r *httpapi.Reader, dst *int64, min, max int64) {
	if !r.Text() {
		r.Int(dst, min, max)
		return
	}
	var text string
	if r.String(&text, 1, 32); text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil || d < 0 || d%time.Second != 0:
		r.Invalid(`must be whole seconds, or a time such as "15m"`)
	case d < time.Duration(min)*time.Second || d > time.Duration(max)*time.Second:
		r.Invalid(fmt.Sprintf("must be from %v to %v", time.Duration(min)*time.Second, time.Duration(max)*time.Second))
	default:
		*dst = int64(d / time.Second)
	}
}

const (
	defaultOverlap = 24 * 3600     // seconds
	mostOverlap    = 7 * 24 * 3600 // seconds
)

// readRotation reads for how many seconds the old secret goes on signing.
func readRotation(body []byte) (overlap int64, err error) {
	overlap = defaultOverlap
	if len(body) == 0 {
		return overlap, nil
	}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		if name != "overlap" {
			r.Unknown()
			return
		}
		readSeconds(r, &overlap, 0, mostOverlap)
	})
	return overlap, r.Finish()
}
