package broadcast

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/webhook"
)

// webhookSettings are what a party says of its endpoint. Zero values are the defaults.
type webhookSettings struct {
	URL         string            `json:"url"`
	Algorithm   webhook.Algorithm `json:"algorithm"`
	Concurrency int64             `json:"concurrency,omitempty"`  // attempts under way at a time
	Rate        float64           `json:"rate,omitempty"`         // attempts a second; 0: no limit
	Timeout     int64             `json:"timeout,omitempty"`      // seconds for one attempt
	MaxAttempts int64             `json:"max_attempts,omitempty"` // of one event; 0: as many as the schedule has
}

const (
	defaultConcurrency = 16
	mostConcurrency    = 64
	mostRate           = 10_000
	defaultTimeout     = 10 // seconds
	mostTimeout        = 30 // seconds
	mostAttempts       = 20
)

func (s *webhookSettings) concurrency() int {
	if s.Concurrency == 0 {
		return defaultConcurrency
	}
	return int(s.Concurrency)
}

func (s *webhookSettings) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout * time.Second
	}
	return time.Duration(s.Timeout) * time.Second
}

// LongestAttempt is the most time that a party can give its endpoint for one attempt.
const LongestAttempt = mostTimeout * time.Second

// schedule is the node's, made shorter or longer to give as many attempts as the party wants. A longer one repeats the last pause.
func (s *webhookSettings) schedule(base webhook.Schedule) webhook.Schedule {
	if s.MaxAttempts == 0 || len(base.Delays) == 0 {
		return base
	}
	delays := make([]time.Duration, 0, s.MaxAttempts)
	for i := range int(s.MaxAttempts) - 1 {
		delays = append(delays, base.Delays[min(i, len(base.Delays)-1)])
	}
	return webhook.Schedule{Delays: delays, Jitter: base.Jitter}
}

func (s *webhookSettings) encode() (json.RawMessage, error) {
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode settings of a webhook: %w", err)
	}
	return encoded, nil
}

func settingsOf(s *Subscription) (webhookSettings, error) {
	var set webhookSettings
	if err := json.Unmarshal(s.Settings, &set); err != nil {
		return set, fmt.Errorf("read settings of subscription %s: %w", s.ID, err)
	}
	return set, nil
}

// key is a secret of a subscription, with when it ends.
type key struct {
	ID           uuid.UUID
	Subscription uuid.UUID
	CreatedAt    time.Time
	webhook.Term
}

const (
	//nolint:gosec // G101: the name of a table
	selectSecrets = `SELECT id, subscription_id, secret, created_at, expires_at FROM subscription_secrets
WHERE subscription_id = ANY ($1) AND (expires_at IS NULL OR expires_at > $2) ORDER BY subscription_id, created_at DESC, id DESC`
)

// scanKey reads a row of selectSecrets.
func scanKey(row pgx.CollectableRow) (key, error) {
	var k key
	var text string
	var until *time.Time
	if err := row.Scan(&k.ID, &k.Subscription, &text, &k.CreatedAt, &until); err != nil {
		return k, err
	}
	if until != nil {
		k.Until = *until
	}
	var err error
	k.Secret, err = webhook.ParseSecret(text)
	return k, err
}
