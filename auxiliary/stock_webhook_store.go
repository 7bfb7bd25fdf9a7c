package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	// A batch that failed, or whose process was lost, goes out again as it is.
	claimToldAgain = `
UPDATE stock_webhooks SET claimed_until = $3, attempts = attempts + 1
WHERE tenant = $1 AND disabled = '' AND batch IS NOT NULL AND (claimed_until IS NULL OR claimed_until <= $2) AND (next_at IS NULL OR next_at <= $2)
RETURNING ` + stockWebhookColumns

	claimTold = `
UPDATE stock_webhooks SET claimed_until = $2, attempts = 1, next_at = NULL, batch = $3, batch_id = $4, batch_position = $5, batch_sku = $6
WHERE tenant = $1 AND disabled = '' AND batch IS NULL AND position = $7 AND sku = $8 AND updated_at = $9
RETURNING ` + stockWebhookColumns

	settleTold = `
UPDATE stock_webhooks SET position = batch_position, sku = batch_sku, batch = NULL, batch_id = '', attempts = 0, next_at = NULL,
    claimed_until = NULL, failing_since = NULL, failure = ''
WHERE tenant = $1 AND batch_id = $2
RETURNING ` + stockWebhookColumns

	settleNotTold = `
UPDATE stock_webhooks SET claimed_until = NULL, next_at = $3, failing_since = $4, failure = $5, disabled = $6
WHERE tenant = $1 AND batch_id = $2
RETURNING ` + stockWebhookColumns
)

// claim takes a tenant's batch in hand, and makes one where there is none. It gives nil where another process is at it, or where the
// webhook is not as it was known. The commit is flushed: what is sent under an id is never another thing after a crash.
func (w *telling) claim(ctx context.Context, one *tenantLevels) (*stockWebhook, error) {
	now := w.now().UTC()
	until := now.Add(tellClaim)
	args := []any{one.hook.tenant, now, until}
	sql := claimToldAgain
	if one.hook.batch == nil {
		id := "stock_" + uuid.NewString()
		body, to, err := w.batchOf(one, id)
		if err != nil {
			return nil, err
		}
		sql = claimTold
		args = []any{
			one.hook.tenant, until, body, id, to.position, to.sku, one.hook.told.position, one.hook.told.sku, one.hook.updatedAt,
		}
	}
	return w.store(ctx, sql, args...)
}

// store changes a webhook and gives it as it is then; nil where there was nothing to change.
func (w *telling) store(ctx context.Context, sql string, args ...any) (*stockWebhook, error) {
	var hook *stockWebhook
	err := postgres.InTx(ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, flushCommit); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		hook, err = pgx.CollectExactlyOneRow(rows, scanStockWebhook)
		if errors.Is(err, pgx.ErrNoRows) {
			hook, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store what is told: %w", err)
	}
	return hook, nil
}

// settle notes what became of an attempt. An endpoint that wants no more, or has not worked for days, is left alone until its tenant
// says otherwise.
func (w *telling) settle(ctx context.Context, hook *stockWebhook, attempt *webhook.Attempt) (*stockWebhook, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if attempt.Kind == webhook.Delivered {
		return w.store(ctx, settleTold, hook.tenant, hook.batchID)
	}
	now := w.now().UTC()
	since, reason, disabled := now, reasonOf(errors.New(attempt.Reason)), ""
	if hook.failingSince != nil {
		since = *hook.failingSince
	}
	switch {
	case attempt.Kind == webhook.Gone, attempt.Kind == webhook.Unsendable:
		disabled = reason
	case now.Sub(since) > tellGivingUp:
		disabled = "it has not worked for five days: " + reason
	}
	return w.store(ctx, settleNotTold, hook.tenant, hook.batchID, hook.failed(now, attempt), since, reason, disabled)
}

// batchOf makes the next call: the levels that changed first, so that what is told has an end.
func (w *telling) batchOf(one *tenantLevels, id string) (body []byte, to mark, err error) {
	w.mu.Lock()
	items := make([]*stockItem, 0, len(one.waiting))
	for _, item := range one.waiting {
		items = append(items, item)
	}
	w.mu.Unlock()
	slices.SortFunc(items, func(a, b *stockItem) int { return mark{a.position, a.sku}.compare(mark{b.position, b.sku}) })
	items = items[:min(len(items), tellBatch)]
	last := items[len(items)-1]
	call := levelsCall{ID: id, Type: StockLevelChanged, Tenant: last.tenant, Position: last.position, Levels: make([]*stockLevel, len(items))}
	for i, item := range items {
		call.Levels[i] = levelOf(item)
	}
	if body, err = json.Marshal(call); err != nil {
		return nil, mark{}, fmt.Errorf("encode levels: %w", err)
	}
	return body, mark{last.position, last.sku}, nil
}

// failed says when a webhook is tried again.
func (h *stockWebhook) failed(now time.Time, attempt *webhook.Attempt) time.Time {
	wait := tellRetry
	for i := 1; i < h.attempts && wait < tellLongest; i++ {
		wait *= 2
	}
	return now.Add(max(jittered(min(wait, tellLongest)), attempt.RetryAfter))
}
