package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// The transports of a subscription.
const (
	TransportFeed    = "feed"    // long polling, page by page
	TransportSSE     = "sse"     // one stream of server-sent events
	TransportNATS    = "nats"    // a consumer of the party's own on the broker
	TransportWebhook = "webhook" // the store calls an address of the party
)

// The statuses of a subscription. One that is paused or disabled goes on where it stopped when it is resumed.
const (
	SubscriptionActive   = "active"
	SubscriptionPaused   = "paused"   // by its party
	SubscriptionDisabled = "disabled" // by the store; Subscription.Reason says why
)

// SubscriptionSpec says what a new subscription is to be.
type SubscriptionSpec struct {
	Name          string   // unique within the party; empty: made up
	Transport     string   // TransportFeed and so on
	Types         []string // event types, or families of them such as "order.*"; none: all
	BusinessTypes []string // identification codes; none: all
	IncludeOrders bool     // each event comes with its order, where the transport carries one
	// Start is where its events begin; nil is now.
	Start *From
	// Webhook says what the store calls, and how; of webhooks only.
	Webhook *WebhookSettings
}

// Subscription is a party's durable interest in events. The store keeps how far its party is.
type Subscription struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Transport     string    `json:"transport"`
	Status        string    `json:"status"`
	Reason        string    `json:"reason,omitempty"` // why it is disabled
	Types         []string  `json:"types"`
	BusinessTypes []string  `json:"business_types"`
	Include       string    `json:"include,omitempty"` // "order": each event comes with its order
	Position      int64     `json:"position"`          // all up to here is dealt with
	Lag           int64     `json:"lag"`               // positions that the store is ahead
	Version       int64     `json:"version"`
	CreatedAt     time.Time `json:"created_at"`
	UpdatedAt     time.Time `json:"updated_at"`

	NATS *NATSAddress `json:"nats,omitempty"`
	WebhookState

	Meta Meta `json:"-"`
}

// NATSAddress is where a subscription is read on the broker.
type NATSAddress struct {
	Stream   string `json:"stream"`
	Consumer string `json:"consumer"`
	Inbox    string `json:"inbox,omitempty"` // what replies to the party begin with
}

// body is the specification as the store takes it.
func (s *SubscriptionSpec) body() map[string]any {
	b := map[string]any{"name": s.Name, "transport": s.Transport}
	if len(s.Types) > 0 {
		b["types"] = s.Types
	}
	if len(s.BusinessTypes) > 0 {
		b["business_types"] = s.BusinessTypes
	}
	if s.IncludeOrders {
		b["include"] = "order"
	}
	s.Webhook.into(b)
	if s.Start != nil {
		s.Start.into(b)
	}
	return b
}

// into says in a body where events begin.
func (f From) into(body map[string]any) {
	switch {
	case f.Now:
		body["start"] = "now"
	case !f.Since.IsZero():
		body["since"] = f.Since
	default:
		body["after"] = f.Position
	}
}

// CreateSubscription makes a subscription. A name that the party has already is a Problem with the code conflict; a program that makes
// its own subscription at each start uses EnsureSubscription. Of a webhook the answer has the Secret, this once.
func (c *Client) CreateSubscription(ctx context.Context, spec SubscriptionSpec, options ...WriteOption) (Subscription, error) {
	madeUp := spec.Name == ""
	if madeUp {
		// An attempt whose answer was lost is found again by it.
		spec.Name = spec.Transport + "-" + rand.Text()
	}
	s, err := c.changeSubscription(ctx, write(http.MethodPost, spec.body(), "v1", "subscriptions"), "create", spec.Name, options)
	if madeUp && HasCode(err, CodeConflict) {
		return c.namedSubscription(ctx, spec.Name, err)
	}
	return s, err
}

// EnsureSubscription gives the party's subscription of that name, or makes it. One that is there is left as it is, whatever spec says; where
// it has another transport, the error is that of CreateSubscription.
func (c *Client) EnsureSubscription(ctx context.Context, spec SubscriptionSpec, options ...WriteOption) (Subscription, error) {
	s, err := c.CreateSubscription(ctx, spec, options...)
	if !HasCode(err, CodeConflict) {
		return s, err
	}
	found, findErr := c.namedSubscription(ctx, spec.Name, err)
	if findErr != nil || found.Transport != spec.Transport {
		return s, err
	}
	return found, nil
}

// namedSubscription finds a subscription, or says why it was looked for.
func (c *Client) namedSubscription(ctx context.Context, name string, otherwise error) (Subscription, error) {
	for s, err := range c.ListSubscriptions(ctx) {
		if err != nil {
			return Subscription{}, err
		}
		if s.Name == name {
			s.Meta.Replayed = true
			return s, nil
		}
	}
	return Subscription{}, otherwise
}

// ListSubscriptions goes through the party's subscriptions, page by page. It ends after the first error.
func (c *Client) ListSubscriptions(ctx context.Context) iter.Seq2[Subscription, error] {
	return listed[Subscription](ctx, c, read("v1", "subscriptions"), "list subscriptions")
}

// GetSubscription reads a subscription. It returns a Problem with the code not_found for one that does not exist or belongs to others.
func (c *Client) GetSubscription(ctx context.Context, id string) (Subscription, error) {
	return c.changeSubscription(ctx, read("v1", "subscriptions", id), "get", id, nil)
}

// SubscriptionChange is what is to change of a subscription. What is nil stays.
type SubscriptionChange struct {
	Name          *string
	Types         *[]string // an empty list: all
	BusinessTypes *[]string // an empty list: all
	IncludeOrders *bool
	Webhook       *WebhookSettings
}

func (s *SubscriptionChange) body() map[string]any {
	b := map[string]any{}
	if s.Name != nil {
		b["name"] = *s.Name
	}
	if s.Types != nil {
		b["types"] = notNull(*s.Types)
	}
	if s.BusinessTypes != nil {
		b["business_types"] = notNull(*s.BusinessTypes)
	}
	s.Webhook.into(b)
	if s.IncludeOrders != nil {
		b["include"] = nil
		if *s.IncludeOrders {
			b["include"] = "order"
		}
	}
	return b
}

// UpdateSubscription changes a subscription; IfVersion makes sure that nobody else has meanwhile.
func (c *Client) UpdateSubscription(ctx context.Context, id string, change SubscriptionChange, options ...WriteOption) (Subscription, error) {
	r := write(http.MethodPatch, change.body(), "v1", "subscriptions", id)
	r.header.Set("Content-Type", "application/merge-patch+json")
	return c.changeSubscription(ctx, r, "update", id, options)
}

// DeleteSubscription ends a subscription for good. One that does not exist, any more or at all, is a Problem with the code not_found.
func (c *Client) DeleteSubscription(ctx context.Context, id string, options ...WriteOption) error {
	_, err := c.changeSubscription(ctx, write(http.MethodDelete, nil, "v1", "subscriptions", id), "delete", id, options)
	return err
}

// PauseSubscription stops a subscription until it is resumed. It keeps its place.
func (c *Client) PauseSubscription(ctx context.Context, id string, options ...WriteOption) (Subscription, error) {
	return c.subscriptionAction(ctx, id, "pause", struct{}{}, options)
}

// ResumeSubscription goes on with a subscription that was paused or disabled.
func (c *Client) ResumeSubscription(ctx context.Context, id string, options ...WriteOption) (Subscription, error) {
	return c.subscriptionAction(ctx, id, "resume", struct{}{}, options)
}

// SeekSubscription moves a subscription back or forth: to where a new one would begin. Whoever reads it goes on from there.
func (c *Client) SeekSubscription(ctx context.Context, id string, to From, options ...WriteOption) (Subscription, error) {
	body := map[string]any{}
	to.into(body)
	return c.subscriptionAction(ctx, id, "seek", body, options)
}

// AckSubscription stores that all events up to a position are dealt with. It never goes back. With IfVersion, a Problem with the code
// version_mismatch says that the subscription was changed or moved. Subscribe does this by itself.
func (c *Client) AckSubscription(ctx context.Context, id string, position int64, options ...WriteOption) (Subscription, error) {
	return c.subscriptionAction(ctx, id, "ack", map[string]any{"position": position}, options)
}

func (c *Client) subscriptionAction(ctx context.Context, id, action string, body any, options []WriteOption) (Subscription, error) {
	return c.changeSubscription(ctx, write(http.MethodPost, body, "v1", "subscriptions", id, action), action, id, options)
}

func (c *Client) changeSubscription(ctx context.Context, r request, what, which string, options []WriteOption) (Subscription, error) {
	for _, option := range options {
		option(&r)
	}
	var s Subscription
	meta, err := c.do(ctx, r, &s)
	s.Meta = meta
	if err != nil {
		return s, fmt.Errorf("%s subscription %s: %w", what, which, err)
	}
	return s, nil
}
