package broadcast

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

// WebhookView is what a webhook's subscription shows beside what all do.
type WebhookView struct {
	URL         string            `json:"url"`
	Algorithm   webhook.Algorithm `json:"algorithm"`
	Concurrency int               `json:"concurrency"`
	Rate        float64           `json:"rate,omitempty"`
	Timeout     int64             `json:"timeout"` // seconds
	MaxAttempts int64             `json:"max_attempts,omitempty"`
	Secret      string            `json:"secret,omitempty"`     // once, when it is made
	PublicKey   string            `json:"public_key,omitempty"` // likewise, and with the keys
	Keys        []keyAnswer       `json:"keys,omitempty"`
	Health      *healthAnswer     `json:"health,omitempty"`
}

// keyAnswer is a signing key without what is secret of it.
type keyAnswer struct {
	ID        uuid.UUID         `json:"id"`
	Algorithm webhook.Algorithm `json:"algorithm"`
	PublicKey string            `json:"public_key,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt *time.Time        `json:"expires_at,omitempty"`
}

type healthAnswer struct {
	Circuit        string           `json:"circuit"`
	FailingSince   *time.Time       `json:"failing_since,omitempty"`
	LastSuccessAt  *time.Time       `json:"last_success_at,omitempty"`
	LastFailureAt  *time.Time       `json:"last_failure_at,omitempty"`
	LastFailure    string           `json:"last_failure,omitempty"`
	ThrottledUntil *time.Time       `json:"throttled_until,omitempty"`
	Parked         map[string]int64 `json:"parked"` // events by state
}

const (
	insertSecret = `INSERT INTO subscription_secrets (id, subscription_id, algorithm, secret, created_at) VALUES ($1, $2, $3, $4, $5)`
	insertHealth = `INSERT INTO subscription_health (subscription_id) VALUES ($1)`
	selectHealth = `SELECT ` + healthColumns + ` FROM subscription_health h WHERE h.subscription_id = $1`
	countParked  = `SELECT state, count(*) FROM deliveries WHERE subscription_id = $1 GROUP BY state`
	// A party that resumes a subscription has seen to its endpoint: what was wrong with it counts no more.
	forgiveHealth = `UPDATE subscription_health SET failing_since = NULL, throttled_until = NULL WHERE subscription_id = $1`
	retryNow      = `UPDATE deliveries SET next_at = NULL WHERE subscription_id = $1 AND state IN ('retrying', 'replay')`
)

func timeAnswer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func ofSettings(s *Subscription) *WebhookView {
	set, err := settingsOf(s)
	if s.Transport != TransportWebhook || err != nil {
		return nil
	}
	return &WebhookView{
		URL: set.URL, Algorithm: set.Algorithm, Concurrency: set.concurrency(), Rate: set.Rate, Timeout: int64(set.timeout() / time.Second),
		MaxAttempts: set.MaxAttempts,
	}
}

// describe adds a webhook's keys and health.
func (a *api) describe(ctx context.Context, s *Subscription, v *subscriptionAnswer) error {
	if v.WebhookView == nil {
		return nil
	}
	keys, err := a.keys(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, k := range keys {
		one := keyAnswer{ID: k.ID, Algorithm: k.Secret.Algorithm(), CreatedAt: k.CreatedAt.UTC(), ExpiresAt: timeAnswer(k.Until)}
		if one.Algorithm == webhook.Ed25519 {
			one.PublicKey = k.Secret.ForReceiver()
		}
		v.Keys = append(v.Keys, one)
	}
	v.Health, err = a.health(ctx, s.ID)
	return err
}

func (a *api) keys(ctx context.Context, id uuid.UUID) ([]key, error) {
	rows, err := a.log.Query(ctx, selectSecrets, []uuid.UUID{id}, a.now())
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	keys, err := pgx.CollectRows(rows, scanKey)
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	return keys, nil
}

func (a *api) health(ctx context.Context, id uuid.UUID) (*healthAnswer, error) {
	var h healthRow
	into, set := h.columns()
	err := a.log.QueryRow(ctx, selectHealth, id).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil // it is being deleted
	}
	if err != nil {
		return nil, fmt.Errorf("read health: %w", err)
	}
	set()
	v := &healthAnswer{
		Circuit: h.circuit, FailingSince: timeAnswer(h.failingSince), LastSuccessAt: timeAnswer(h.lastSuccess), LastFailureAt: timeAnswer(h.lastFailure),
		LastFailure: h.failure, ThrottledUntil: timeAnswer(h.throttledTill), Parked: map[string]int64{},
	}
	rows, err := a.log.Query(ctx, countParked, id)
	if err != nil {
		return nil, fmt.Errorf("count parked events: %w", err)
	}
	var state string
	var count int64
	if _, err := pgx.ForEachRow(rows, []any{&state, &count}, func() error { v.Parked[state] = count; return nil }); err != nil {
		return nil, fmt.Errorf("count parked events: %w", err)
	}
	return v, nil
}

// checkTarget looks at where a webhook is to go, when that is said.
func (a *api) checkTarget(ctx context.Context, s *Subscription, q *subscriptionRequest) error {
	if s.Transport != TransportWebhook || !q.given["url"] {
		return nil
	}
	if a.guard == nil {
		return fault.New(fault.Unavailable, "this node takes no webhooks")
	}
	target, err := a.guard.CheckURL(ctx, q.webhook.URL)
	if refusal, ok := errors.AsType[*webhook.Refusal](err); ok {
		return fault.InvalidFields([]fault.Field{{Pointer: "/url", Detail: refusal.Reason}})
	}
	if err != nil {
		return err
	}
	q.webhook.URL = target
	s.Settings, err = q.webhook.encode()
	return err
}

// createWebhook stores a subscription with its first secret, and shows that this once.
func (a *api) createWebhook(c echo.Context, s *Subscription, q *subscriptionRequest, location string) error {
	ctx := c.Request().Context()
	if q.webhook.Algorithm == "" {
		q.webhook.Algorithm = webhook.HMAC
	}
	if err := a.checkTarget(ctx, s, q); err != nil {
		return err
	}
	secret, err := webhook.NewSecret(q.webhook.Algorithm)
	if err != nil {
		return err
	}
	err = a.store.Create(ctx, s, func(tx pgx.Tx) error {
		if err := addSecret(ctx, tx, s.ID, secret, s.CreatedAt); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertHealth, s.ID); err != nil {
			return fmt.Errorf("insert health: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.changed()
	c.Response().Header().Set("Location", location)
	return a.showSecret(c, http.StatusCreated, s, secret)
}

func addSecret(ctx context.Context, tx pgx.Tx, id uuid.UUID, secret webhook.Secret, at time.Time) error {
	own, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insertSecret, own, id, secret.Algorithm(), secret.Reveal(), at); err != nil {
		return fmt.Errorf("insert secret: %w", err)
	}
	return nil
}

// showSecret answers with the subscription and what its receiver verifies with.
func (a *api) showSecret(c echo.Context, status int, s *Subscription, secret webhook.Secret) error {
	v := a.answerOf(c, s)
	if err := a.describe(c.Request().Context(), s, &v); err != nil {
		return err
	}
	if secret.Algorithm() == webhook.Ed25519 {
		v.PublicKey = secret.ForReceiver()
	} else {
		v.Secret = secret.ForReceiver()
	}
	return a.answerWith(c, status, s, &v)
}

// ofWebhook is ofSubscription for what only webhooks have.
func (a *api) ofWebhook(do func(c echo.Context, s *Subscription) error) httpapi.Handler {
	return a.ofSubscription(func(c echo.Context, s *Subscription) error {
		if s.Transport != TransportWebhook {
			return fault.New(fault.Conflict, "the subscription is delivered by %s: this is for webhooks", s.Transport)
		}
		return do(c, s)
	})
}

// forgive forgets what was wrong with the endpoint of a webhook that stood still: what is parked is tried at once.
func (a *api) forgive(ctx context.Context, s *Subscription) error {
	if s.Transport != TransportWebhook || s.Status == SubscriptionActive {
		return nil
	}
	return postgres.InTx(ctx, a.log, func(tx pgx.Tx) error {
		for _, sql := range []string{lockSubscription, forgiveHealth, retryNow} {
			if _, err := tx.Exec(ctx, sql, s.ID); err != nil {
				return fmt.Errorf("forgive failures: %w", err)
			}
		}
		return nil
	})
}

// identityOf is the party of a subscription as one who asks.
func identityOf(o Owner) auth.Identity {
	return auth.Identity{Kind: o.Kind, Tenant: o.Tenant, Provider: o.Provider, System: o.System}
}
