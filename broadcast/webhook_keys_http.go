package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	mostSecrets = 5 // that sign at a time

	lockSubscription = `SELECT 1 FROM subscriptions WHERE id = $1 FOR UPDATE`
	countSecrets     = `SELECT count(*) FROM subscription_secrets WHERE subscription_id = $1 AND (expires_at IS NULL OR expires_at > $2)` //nolint:gosec // G101: the name of a table
	expireSecrets    = `UPDATE subscription_secrets SET expires_at = $2 WHERE subscription_id = $1 AND (expires_at IS NULL OR expires_at > $2)`
	insertAttempt    = `INSERT INTO delivery_attempts (id, subscription_id, at, position, delivery_id, order_id, event_type, attempt, replay, outcome,
	status, latency_us, reason, answer) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`
)

// rotateSecret makes a new secret. Both sign until the old one's time is over.
func (a *api) rotateSecret(c echo.Context, s *Subscription) error {
	ctx := c.Request().Context()
	overlap, err := rotation(c)
	if err != nil {
		return err
	}
	set, err := settingsOf(s)
	if err != nil {
		return err
	}
	secret, err := webhook.NewSecret(set.Algorithm)
	if err != nil {
		return err
	}
	now := a.now().Truncate(time.Microsecond)
	err = postgres.InTx(ctx, a.log, func(tx pgx.Tx) error {
		var have int
		if _, err := tx.Exec(ctx, lockSubscription, s.ID); err != nil {
			return fmt.Errorf("lock subscription: %w", err)
		}
		if err := tx.QueryRow(ctx, countSecrets, s.ID, now).Scan(&have); err != nil {
			return fmt.Errorf("count secrets: %w", err)
		}
		if have >= mostSecrets {
			return fault.New(fault.Conflict, "%d secrets sign already: wait until one has expired", have)
		}
		if _, err := tx.Exec(ctx, expireSecrets, s.ID, now.Add(time.Duration(overlap)*time.Second)); err != nil {
			return fmt.Errorf("expire secrets: %w", err)
		}
		if err := addSecret(ctx, tx, s.ID, secret, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, touchVersion, s.ID, now); err != nil {
			return fmt.Errorf("touch subscription: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.changed()
	again, err := a.store.Get(ctx, s.Owner, s.ID)
	if err != nil {
		return err
	}
	return a.showSecret(c, http.StatusOK, again, secret)
}

func rotation(c echo.Context) (int64, error) {
	if c.Request().ContentLength == 0 {
		return defaultOverlap, nil
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return 0, err
	}
	return readRotation(body)
}

// outcomeAnswer is what came of an attempt.
type outcomeAnswer struct {
	Outcome    webhook.Kind `json:"outcome"`
	Status     int          `json:"status,omitempty"`
	LatencyMS  float64      `json:"latency_ms"`
	Reason     string       `json:"reason,omitempty"`
	Answer     string       `json:"answer,omitempty"`
	DeliveryID uuid.UUID    `json:"delivery_id"`
}

// testSubscription sends a signed event that is not of the log, once, whatever state the subscription is in.
func (a *api) testSubscription(c echo.Context, s *Subscription) error {
	if a.sender == nil {
		return fault.New(fault.Unavailable, "this node sends no webhooks")
	}
	ctx := c.Request().Context()
	set, err := settingsOf(s)
	if err != nil {
		return err
	}
	keys, err := a.keys(ctx, s.ID)
	if err != nil {
		return err
	}
	terms := make([]webhook.Term, len(keys))
	for i := range keys {
		terms[i] = keys[i].Term
	}
	id, now := uuid.New(), a.now()
	m, err := ownMessage("test-"+id.String(), "subscription.test", s, now)
	if err != nil {
		return err
	}
	m.delivery, m.number = id, 1
	row := attemptRow{id: uuid.Must(uuid.NewV7()), subscription: s.ID, at: now, delivery: id, kind: "subscription.test", number: 1}
	row.made = sendWebhook(ctx, a.sender, &set, terms, m, now)
	if row.made.Kind == webhook.Cancelled {
		return fault.Wrap(row.made.Err, fault.Unavailable, "the test was broken off")
	}
	if err := a.keep(ctx, &row); err != nil {
		return err
	}
	made := &row.made
	return c.JSON(http.StatusOK, outcomeAnswer{
		Outcome: made.Kind, Status: made.Status, LatencyMS: milliseconds(made.Latency), Reason: made.Reason, Answer: made.Answer, DeliveryID: id,
	})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// keep stores one attempt.
func (a *api) keep(ctx context.Context, row *attemptRow) error {
	if _, err := a.log.Exec(ctx, extendAttempts, row.at.UTC().Format(time.DateOnly)); err != nil {
		return fmt.Errorf("make room for attempts: %w", err)
	}
	if _, err := a.log.Exec(ctx, insertAttempt, row.values()...); err != nil {
		return fmt.Errorf("store attempt: %w", err)
	}
	return nil
}

// ownMessage is an event about a subscription itself. It has no position.
func ownMessage(id, kind string, s *Subscription, now time.Time) (message, error) {
	body, err := json.Marshal(struct {
		SpecVersion string            `json:"specversion"`
		ID          string            `json:"id"`
		Type        string            `json:"type"`
		Source      string            `json:"source"`
		Time        time.Time         `json:"time"`
		Data        map[string]string `json:"data"`
	}{
		SpecVersion: "1.0", ID: id, Type: kind, Source: events.Source, Time: now.UTC(),
		Data: map[string]string{"subscription_id": s.ID.String(), "name": s.Name},
	})
	if err != nil {
		return message{}, fmt.Errorf("encode event: %w", err)
	}
	return message{id: id, body: body}, nil
}
