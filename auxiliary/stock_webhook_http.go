package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	stockWebhookPath    = "/v1/stock/webhook"
	maxStockWebhookBody = 256 << 10
	maxToldSKUs         = 1000
	maxToldSKU          = 128 // characters
	maxUnits            = 1<<53 - 1
)

// stockWebhookRoutes are the routes by which a tenant says where it hears of levels that changed.
func stockWebhookRoutes(deps RouteDeps) []httpapi.Route {
	routes := []httpapi.Route{
		{Method: http.MethodGet, Path: stockWebhookPath, Handler: deps.getStockWebhook},
		{Method: http.MethodPut, Path: stockWebhookPath, Handler: deps.putStockWebhook},
		{Method: http.MethodDelete, Path: stockWebhookPath, Handler: deps.deleteStockWebhook},
	}
	for i := range routes {
		routes[i].Scope, routes[i].Kinds, routes[i].MaxBody = auth.ScopeSubscriptionsWrite, []auth.Kind{auth.KindUser}, maxStockWebhookBody
		routes[i].Handler = ofTenants(routes[i].Handler)
	}
	return routes
}

// ofTenants keeps out a client of an outside issuer that names no tenant.
func ofTenants(handle httpapi.Handler) httpapi.Handler {
	return func(c echo.Context, who auth.Identity) error {
		if who.Tenant == "" {
			return fault.New(fault.Forbidden, "the client belongs to nobody")
		}
		return handle(c, who)
	}
}

// stockWebhookDocument is a stock webhook as it is answered.
type stockWebhookDocument struct {
	URL          string     `json:"url"`
	SKUs         []string   `json:"skus"`
	MaxAvailable *int64     `json:"max_available,omitempty"`
	Status       string     `json:"status"`           // active or disabled
	Reason       string     `json:"reason,omitempty"` // why it is disabled
	Position     int64      `json:"position"`         // up to which changes were told
	Attempts     int        `json:"attempts"`         // at what is being told
	Failure      string     `json:"failure,omitempty"`
	NextAt       *time.Time `json:"next_at,omitempty"`
	UpdatedAt    time.Time  `json:"updated_at"`
	Secret       string     `json:"secret,omitempty"` // shown when it is made
}

func (h *stockWebhook) document(secret bool) stockWebhookDocument {
	d := stockWebhookDocument{
		URL: h.url, SKUs: h.skus, MaxAvailable: h.maxAvailable, Status: "active", Position: h.told.position, Attempts: h.attempts,
		Failure: h.failure, UpdatedAt: h.updatedAt.UTC(),
	}
	if h.disabled != "" {
		d.Status, d.Reason = "disabled", h.disabled
	}
	if h.nextAt != nil && h.disabled == "" {
		at := h.nextAt.UTC()
		d.NextAt = &at
	}
	if secret {
		d.Secret = h.secret
	}
	return d
}

const selectStockWebhook = `SELECT ` + stockWebhookColumns + ` FROM stock_webhooks WHERE tenant = $1`

// readStockWebhook finds a tenant's webhook; nil where there is none.
func readStockWebhook(ctx context.Context, from querier, tenant, lock string) (*stockWebhook, error) {
	rows, err := from.Query(ctx, selectStockWebhook+lock, tenant)
	if err != nil {
		return nil, fmt.Errorf("read stock webhook: %w", err)
	}
	h, err := pgx.CollectExactlyOneRow(rows, scanStockWebhook)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read stock webhook: %w", err)
	}
	return h, nil
}

func noStockWebhook() error { return fault.New(fault.NotFound, "there is no stock webhook") }

func (d RouteDeps) getStockWebhook(c echo.Context, who auth.Identity) error {
	h, err := readStockWebhook(c.Request().Context(), d.Pool, who.Tenant, "")
	switch {
	case err != nil:
		return storeFault(err)
	case h == nil:
		return noStockWebhook()
	}
	return c.JSON(http.StatusOK, h.document(false))
}

const deleteStockWebhookSQL = `DELETE FROM stock_webhooks WHERE tenant = $1`

func (d RouteDeps) deleteStockWebhook(c echo.Context, who auth.Identity) error {
	tag, err := d.Pool.Exec(c.Request().Context(), deleteStockWebhookSQL, who.Tenant)
	switch {
	case err != nil:
		return storeFault(fmt.Errorf("delete stock webhook: %w", err))
	case tag.RowsAffected() == 0:
		return noStockWebhook()
	}
	return c.NoContent(http.StatusNoContent)
}

// A new webhook tells what changes from now on. Where the stock is just rebuilt, that is what comes after what it had before.
const selectToldFrom = `SELECT coalesce((SELECT greatest(position, quiet_to) FROM checkpoints WHERE system = $1), 0)`

// What is being told is dropped: it may hold levels that are not wanted any more. Those that are go out again.
const upsertStockWebhook = `
INSERT INTO stock_webhooks (tenant, url, secret, skus, max_available, position, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant) DO UPDATE SET url = excluded.url, secret = excluded.secret, skus = excluded.skus, max_available = excluded.max_available,
    updated_at = excluded.updated_at, batch = NULL, batch_id = '', attempts = 0, next_at = NULL, claimed_until = NULL, failing_since = NULL,
    failure = '', disabled = ''
RETURNING ` + stockWebhookColumns

func (d RouteDeps) putStockWebhook(c echo.Context, who auth.Identity) error {
	ctx := c.Request().Context()
	want, rotate, err := d.wantedStockWebhook(c)
	if err != nil {
		return err
	}
	var before, h *stockWebhook
	made := false
	err = postgres.InTx(ctx, d.Pool, func(tx pgx.Tx) error {
		if before, err = readStockWebhook(ctx, tx, who.Tenant, " FOR UPDATE"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, selectToldFrom, StockName).Scan(&want.told.position); err != nil {
			return fmt.Errorf("read position: %w", err)
		}
		if made = before == nil || rotate || before.url != want.url; made {
			fresh, err := webhook.NewSecret(webhook.HMAC)
			if err != nil {
				return fmt.Errorf("make secret: %w", err)
			}
			want.secret = fresh.Reveal()
		} else {
			want.secret = before.secret
		}
		rows, err := tx.Query(ctx, upsertStockWebhook, who.Tenant, want.url, want.secret, want.skus, want.maxAvailable, want.told.position,
			d.Now().UTC().Truncate(time.Microsecond))
		if err != nil {
			return fmt.Errorf("store stock webhook: %w", err)
		}
		if h, err = pgx.CollectExactlyOneRow(rows, scanStockWebhook); err != nil {
			return fmt.Errorf("store stock webhook: %w", err)
		}
		return nil
	})
	if err != nil {
		return storeFault(err)
	}
	status := http.StatusOK
	if before == nil {
		status = http.StatusCreated
	}
	return c.JSON(status, h.document(made))
}

func (d RouteDeps) wantedStockWebhook(c echo.Context) (want stockWebhook, rotate bool, err error) {
	want.skus = []string{}
	body, err := httpapi.ReadJSON(c, maxStockWebhookBody)
	if err != nil {
		return want, false, err
	}
	r := httpapi.NewReader(body)
	given := map[string]bool{}
	r.Object(func(name string) {
		given[name] = true
		switch name {
		case "url":
			r.String(&want.url, 1, maxWebhookURL)
		case "skus":
			r.Array(maxToldSKUs, func(int) {
				var sku string
				if r.String(&sku, 1, maxToldSKU); r.OK() && !slices.Contains(want.skus, sku) {
					want.skus = append(want.skus, sku)
				}
			})
		case "max_available":
			if !r.Null() {
				want.maxAvailable = new(int64)
				r.Int(want.maxAvailable, -maxUnits, maxUnits)
			}
		case "rotate_secret":
			r.Bool(&rotate)
		default:
			r.Unknown()
		}
	})
	r.Require("url", given["url"])
	if err := r.Finish(); err != nil {
		return want, false, err
	}
	want.url, err = d.Guard.CheckURL(c.Request().Context(), want.url)
	if refusal, ok := errors.AsType[*webhook.Refusal](err); ok {
		return want, false, invalid("/url", refusal.Reason)
	}
	return want, rotate, err
}
