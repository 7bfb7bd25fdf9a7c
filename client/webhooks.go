package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The algorithms that webhooks are signed with.
const (
	AlgorithmHMAC    = "hmac-sha256" // with a secret that both sides have
	AlgorithmEd25519 = "ed25519"     // with a key of the store, whose public half the receiver has
)

// WebhookSettings say what the store calls, and how. What is zero is the store's own choice for a new subscription, and stays where one
// is changed.
type WebhookSettings struct {
	URL         string        // https, unless the store was set up otherwise
	Algorithm   string        // AlgorithmHMAC unless set; fixed once the subscription is made
	Concurrency int           // calls under way at a time
	Rate        float64       // calls a second at most
	Timeout     time.Duration // for one call; whole seconds
	MaxAttempts int           // to deliver one event
}

func (w *WebhookSettings) into(body map[string]any) {
	if w == nil {
		return
	}
	set := func(name string, value any, given bool) {
		if given {
			body[name] = value
		}
	}
	set("url", w.URL, w.URL != "")
	set("algorithm", w.Algorithm, w.Algorithm != "")
	set("concurrency", w.Concurrency, w.Concurrency != 0)
	set("rate", w.Rate, w.Rate != 0)
	set("timeout", int64(w.Timeout/time.Second), w.Timeout != 0)
	set("max_attempts", w.MaxAttempts, w.MaxAttempts != 0)
}

// WebhookState is what a subscription says of its webhook.
type WebhookState struct {
	URL         string  `json:"url,omitempty"`
	Algorithm   string  `json:"algorithm,omitempty"`
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"`         // 0: no limit
	Timeout     int64   `json:"timeout,omitempty"`      // seconds
	MaxAttempts int     `json:"max_attempts,omitempty"` // 0: as the store is set up
	// Secret, or PublicKey with AlgorithmEd25519, is what calls are verified with. It is told when the subscription is made and when its
	// secret changes, and never again.
	Secret    string         `json:"secret,omitempty"`
	PublicKey string         `json:"public_key,omitempty"`
	Keys      []WebhookKey   `json:"keys,omitempty"` // those that sign
	Health    *WebhookHealth `json:"health,omitempty"`
}

// WebhookKey is a key that calls are signed with, without what is secret of it.
type WebhookKey struct {
	ID        string    `json:"id"`
	Algorithm string    `json:"algorithm"`
	PublicKey string    `json:"public_key,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: it does not
}

// WebhookHealth is how a webhook's receiver does.
type WebhookHealth struct {
	Circuit        string           `json:"circuit"`                  // closed, open or half-open: open, nothing is sent
	FailingSince   time.Time        `json:"failing_since,omitzero"`   // nothing but failures since; zero: the last call succeeded
	LastSuccessAt  time.Time        `json:"last_success_at,omitzero"` // zero: none
	LastFailureAt  time.Time        `json:"last_failure_at,omitzero"` // zero: none
	LastFailure    string           `json:"last_failure,omitempty"`
	ThrottledUntil time.Time        `json:"throttled_until,omitzero"` // the receiver asked to be left alone
	Parked         map[string]int64 `json:"parked"`                   // events that were not delivered by their turn, by state
}

// Attempt is one call of a webhook, and what came of it.
type Attempt struct {
	ID         string    `json:"id"`
	DeliveryID string    `json:"delivery_id"`        // the same for all attempts of an event
	Position   int64     `json:"position,omitempty"` // 0: it was about the subscription itself
	OrderID    string    `json:"order_id,omitempty"`
	Type       string    `json:"type"`
	Number     int       `json:"attempt"` // from 1
	Replay     bool      `json:"replay"`
	At         time.Time `json:"at"`
	Outcome    string    `json:"outcome"`          // delivered, timeout, refused and others
	Status     int       `json:"status,omitempty"` // 0: no answer
	LatencyMS  float64   `json:"latency_ms"`
	Reason     string    `json:"reason,omitempty"`
	Answer     string    `json:"answer,omitempty"` // its beginning
}

// AttemptFilter selects attempts; its zero value selects all.
type AttemptFilter struct {
	Position int64
	OrderID  string
	Outcome  string
	Status   int
	From, To time.Time // the second is exclusive
}

// ListDeliveries goes through a webhook's attempts, newest first. It ends after the first error.
func (c *Client) ListDeliveries(ctx context.Context, id string, filter AttemptFilter) iter.Seq2[Attempt, error] {
	r := read("v1", "subscriptions", id, "deliveries")
	set(r.query, "position", decimal(filter.Position))
	set(r.query, "order_id", filter.OrderID)
	set(r.query, "outcome", filter.Outcome)
	set(r.query, "status", decimal(int64(filter.Status)))
	set(r.query, "from", instant(filter.From))
	set(r.query, "to", instant(filter.To))
	return listed[Attempt](ctx, c, r, "list deliveries of "+id)
}

// The states of a dead letter.
const (
	LetterRetrying = "retrying" // it is tried again
	LetterWaiting  = "waiting"  // behind one of its order that is
	LetterDead     = "dead"     // given up
	LetterReplay   = "replay"   // it was asked for again
)

// DeadLetter is an event that could not be delivered by its turn.
type DeadLetter struct {
	SubscriptionID string    `json:"subscription_id"`
	Subscription   string    `json:"subscription"` // its name
	Position       int64     `json:"position"`
	OrderID        string    `json:"order_id,omitempty"`
	Type           string    `json:"type"`
	DeliveryID     string    `json:"delivery_id"`
	State          string    `json:"state"`
	Replay         bool      `json:"replay"`
	Attempts       int       `json:"attempts"`
	NextAt         time.Time `json:"next_at,omitzero"` // zero: as soon as its turn comes, or never
	Reason         string    `json:"reason,omitempty"` // of the last failure
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

// LetterFilter selects dead letters; its zero value selects all but replays.
type LetterFilter struct {
	OrderID string
	State   string
}

// ListDeadLetters goes through what a webhook could not deliver by its turn, by position. It ends after the first error.
func (c *Client) ListDeadLetters(ctx context.Context, id string, filter LetterFilter) iter.Seq2[DeadLetter, error] {
	r := read("v1", "subscriptions", id, "dead-letters")
	set(r.query, "order_id", filter.OrderID)
	set(r.query, "state", filter.State)
	return listed[DeadLetter](ctx, c, r, "list dead letters of "+id)
}

// ReplayRequest says which events a webhook is to be sent again: by exactly one of a position, an order, all dead letters, a range of
// positions and a range of times.
type ReplayRequest struct {
	Position     int64     `json:"position,omitempty"`
	OrderID      string    `json:"order_id,omitempty"`
	DeadLetters  bool      `json:"dead_letters,omitempty"`
	FromPosition int64     `json:"from_position,omitempty"`
	ToPosition   int64     `json:"to_position,omitempty"` // included
	FromTime     time.Time `json:"from_time,omitzero"`
	ToTime       time.Time `json:"to_time,omitzero"` // excluded
	DryRun       bool      `json:"dry_run,omitempty"`
}

// ReplayAnswer is how many events were asked for.
type ReplayAnswer struct {
	Matched int64 `json:"matched"`
	DryRun  bool  `json:"dry_run"` // they were counted and are not sent

	Meta Meta `json:"-"`
}

// Replay has events sent again, each marked as a replay; a dry run counts them. Those that the subscription has not come to yet are not
// meant: they come by their turn.
func (c *Client) Replay(ctx context.Context, id string, which ReplayRequest, options ...WriteOption) (ReplayAnswer, error) {
	var answer ReplayAnswer
	var err error
	answer.Meta, err = c.webhookAction(ctx, id, "replay", which, &answer, options)
	return answer, err
}

// TestSubscription calls a webhook once, with an event that says that it is a test, and gives what came of it.
func (c *Client) TestSubscription(ctx context.Context, id string, options ...WriteOption) (Attempt, error) {
	var attempt Attempt
	_, err := c.webhookAction(ctx, id, "test", struct{}{}, &attempt, options)
	return attempt, err
}

// KeepOldSecret is a limit of RotateSecret: the store's own, which is a day.
const KeepOldSecret time.Duration = -1

// RotateSecret makes a new secret for a webhook, which the answer has this once. The old one signs beside it for as long as overlap says, in
// whole seconds.
func (c *Client) RotateSecret(ctx context.Context, id string, overlap time.Duration, options ...WriteOption) (Subscription, error) {
	body := map[string]any{}
	if overlap >= 0 {
		body["overlap"] = int64(overlap / time.Second)
	}
	return c.subscriptionAction(ctx, id, "rotate-secret", body, options)
}

func (c *Client) webhookAction(ctx context.Context, id, action string, body, answer any, options []WriteOption) (Meta, error) {
	r := write(http.MethodPost, body, "v1", "subscriptions", id, action)
	for _, option := range options {
		option(&r)
	}
	meta, err := c.do(ctx, r, answer)
	if err != nil {
		return meta, fmt.Errorf("%s subscription %s: %w", action, id, err)
	}
	return meta, nil
}

// listed goes through a list, page by page.
func listed[T any](ctx context.Context, c *Client, r request, what string) iter.Seq2[T, error] {
	r.query.Set("limit", "200")
	return func(yield func(T, error) bool) {
		for page, err := range pages[T](ctx, c, r) {
			if err != nil {
				var none T
				yield(none, fmt.Errorf("%s: %w", what, err))
				return
			}
			for _, one := range page.Items {
				if !yield(one, nil) {
					return
				}
			}
		}
	}
}

// set puts into a query what is not empty.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// decimal is empty for what is left out.
func decimal(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
