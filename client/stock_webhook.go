package client

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// StockWebhook is where the tenant hears of levels that changed. It is sent StockLevels messages, signed as Standard Webhooks says, which a
// WebhookVerifier checks.
type StockWebhook struct {
	URL          string    `json:"url"`
	SKUs         []string  `json:"skus,omitempty"`          // of these alone; none: of all
	MaxAvailable *int64    `json:"max_available,omitempty"` // levels with so much available at most; nil: all
	RotateSecret bool      `json:"rotate_secret,omitempty"` // when it is set: makes a new secret, as another URL does
	Secret       string    `json:"secret,omitempty"`        // told once, when it is made
	Status       string    `json:"status,omitempty"`        // active or disabled; what follows is the store's to say
	Reason       string    `json:"reason,omitempty"`        // why it is disabled
	Position     int64     `json:"position,omitempty"`      // up to which changes were told
	Attempts     int64     `json:"attempts,omitempty"`      // at what is being told
	Failure      string    `json:"failure,omitempty"`       // of the last attempt
	NextAt       time.Time `json:"next_at,omitzero"`
	UpdatedAt    time.Time `json:"updated_at,omitzero"`

	Meta Meta `json:"-"`
}

// StockLevels is a message of a stock webhook. Of several changes of an SKU since the last one it has the newest; compare positions where
// messages overtake each other.
type StockLevels struct {
	ID       string      `json:"id"` // the same message again has the same
	Type     string      `json:"type"`
	Tenant   string      `json:"tenant"`
	Position int64       `json:"position"` // of the last change in it
	Levels   []StockItem `json:"levels"`
}

// SetStockWebhook makes or changes the tenant's stock webhook. A new one tells what changes from then on; one that is disabled goes on
// where it stopped.
func (c *Client) SetStockWebhook(ctx context.Context, w StockWebhook, options ...WriteOption) (StockWebhook, error) {
	wanted := struct {
		URL          string   `json:"url"`
		SKUs         []string `json:"skus,omitempty"`
		MaxAvailable *int64   `json:"max_available,omitempty"`
		RotateSecret bool     `json:"rotate_secret,omitempty"`
	}{w.URL, w.SKUs, w.MaxAvailable, w.RotateSecret}
	return c.stockWebhook(ctx, "set", write(http.MethodPut, wanted, "v1", "stock", "webhook"), options)
}

// GetStockWebhook reads the tenant's stock webhook. Where there is none it is a Problem with the code not_found.
func (c *Client) GetStockWebhook(ctx context.Context) (StockWebhook, error) {
	return c.stockWebhook(ctx, "get", read("v1", "stock", "webhook"), nil)
}

// DeleteStockWebhook ends what it tells.
func (c *Client) DeleteStockWebhook(ctx context.Context, options ...WriteOption) error {
	r := write(http.MethodDelete, nil, "v1", "stock", "webhook")
	for _, option := range options {
		option(&r)
	}
	if _, err := c.do(ctx, r, nil); err != nil {
		return fmt.Errorf("delete stock webhook: %w", err)
	}
	return nil
}

func (c *Client) stockWebhook(ctx context.Context, what string, r request, options []WriteOption) (StockWebhook, error) {
	for _, option := range options {
		option(&r)
	}
	var answer StockWebhook
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("%s stock webhook: %w", what, err)
	}
	return answer, nil
}

// ReplenishmentSchedule is how often it is looked for products to be bought.
type ReplenishmentSchedule struct {
	Every     string    `json:"every"` // as time.ParseDuration reads it; 0s: never
	UpdatedAt time.Time `json:"updated_at"`

	Meta Meta `json:"-"`
}

// GetReplenishmentSchedule reads the tenant's own schedule. A Problem with the code not_found says that the installation's holds.
func (c *Client) GetReplenishmentSchedule(ctx context.Context) (ReplenishmentSchedule, error) {
	return c.schedule(ctx, "get", read("v1", "replenishment", "schedule"))
}

// SetReplenishmentSchedule has it looked for products to be bought so often, in whole seconds; 0 is never.
func (c *Client) SetReplenishmentSchedule(ctx context.Context, every time.Duration) (ReplenishmentSchedule, error) {
	body := struct {
		Every string `json:"every"`
	}{every.String()}
	return c.schedule(ctx, "set", write(http.MethodPut, body, "v1", "replenishment", "schedule"))
}

// DeleteReplenishmentSchedule has the installation's schedule hold again.
func (c *Client) DeleteReplenishmentSchedule(ctx context.Context) error {
	if _, err := c.do(ctx, write(http.MethodDelete, nil, "v1", "replenishment", "schedule"), nil); err != nil {
		return fmt.Errorf("delete replenishment schedule: %w", err)
	}
	return nil
}

func (c *Client) schedule(ctx context.Context, what string, r request) (ReplenishmentSchedule, error) {
	var answer ReplenishmentSchedule
	meta, err := c.do(ctx, r, &answer)
	answer.Meta = meta
	if err != nil {
		return answer, fmt.Errorf("%s replenishment schedule: %w", what, err)
	}
	return answer, nil
}
