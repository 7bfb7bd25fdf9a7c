package auxiliary

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// StockLevelChanged is the type of the message that a tenant's stock webhook is sent.
const StockLevelChanged = "stock.level_changed"

const (
	tellRows     = 1000                  // levels read at a time
	tellBatch    = 500                   // levels in one request, at most
	tellPause    = 40 * time.Millisecond // between looks for levels that changed
	tellLook     = 500 * time.Millisecond
	tellAtOnce   = 16                    // tenants that are being told
	tellBreath   = 80 * time.Millisecond // between calls of one tenant: what changes meanwhile goes out together
	tellClaim    = 2 * hookTimeout
	tellRetry    = time.Second     // after the first failure, then twice as long each time
	tellLongest  = 5 * time.Minute // between attempts
	tellGivingUp = 5 * 24 * time.Hour
)

// levelsCall is the body of a stock webhook. Of several changes of an SKU since the last call it has the newest.
type levelsCall struct {
	ID       string        `json:"id"` // as in the header webhook-id
	Type     string        `json:"type"`
	Tenant   string        `json:"tenant"`
	Position int64         `json:"position"` // of the last change in it
	Levels   []*stockLevel `json:"levels"`
}

// mark is a place in the order in which levels change: everything before the position, and at it up to the SKU.
type mark struct {
	position int64
	sku      string
}

func (m mark) compare(other mark) int {
	return cmp.Or(cmp.Compare(m.position, other.position), cmp.Compare(m.sku, other.sku))
}

// stockWebhook is where a tenant hears of levels.
type stockWebhook struct {
	tenant       string
	url, secret  string
	skus         []string
	maxAvailable *int64
	told         mark
	batch        []byte // nil: nothing is being told
	batchID      string
	batchTo      mark
	attempts     int
	nextAt       *time.Time
	failingSince *time.Time
	failure      string
	disabled     string
	updatedAt    time.Time
}

// wants tells whether a level is one that the tenant asked for.
func (h *stockWebhook) wants(item *stockItem) bool {
	if h.maxAvailable != nil && item.onHand-item.reserved > *h.maxAvailable {
		return false
	}
	return len(h.skus) == 0 || slices.Contains(h.skus, item.sku)
}

// teller tells tenants of levels after they are committed. What is told follows from the stock's table and from how far each tenant
// was told, so that nothing is queued, and of an SKU that changes often the newest level goes out.
type teller struct {
	pool   *pgxpool.Pool
	hooks  *Hooks
	logger *slog.Logger
	now    func() time.Time
}

// tenantLevels is what a tenant is to be told.
type tenantLevels struct {
	hook    *stockWebhook
	waiting map[string]*stockItem // by SKU
	busy    bool                  // somebody is telling
}

// telling is the work since the webhooks were first read.
type telling struct {
	teller
	mu      sync.Mutex
	tenants map[string]*tenantLevels
	places  chan struct{} // tenants that may be told at once
	changed chan struct{} // a tenant is told
	looked  time.Time
	// What was read: all changes before the position, and those at it up to tenant and SKU.
	at       mark
	atTenant string
}

// run tells until ctx ends. What fails is tried again.
func (t *teller) run(ctx context.Context) {
	away := false
	for ctx.Err() == nil {
		err := t.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if !away {
			t.logger.WarnContext(ctx, "stock levels cannot be told", "cause", err)
		}
		away = true
		pause(ctx, tellRetry)
	}
}

// serve reads what changed and has the tenants told, beside each other. It ends with the database's fault.
func (t *teller) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var senders sync.WaitGroup
	defer senders.Wait()
	defer cancel()
	w := &telling{
		teller: *t, tenants: map[string]*tenantLevels{}, places: make(chan struct{}, tellAtOnce), changed: make(chan struct{}, 1),
	}
	for ctx.Err() == nil {
		if time.Since(w.looked) > tellLook {
			if err := w.look(ctx); err != nil {
				return err
			}
		}
		if len(w.tenants) == 0 {
			pause(ctx, tellLook)
			continue
		}
		n, err := w.read(ctx)
		if err != nil {
			return err
		}
		for _, one := range w.ready() {
			senders.Go(func() { w.tell(ctx, one) })
		}
		if n < tellRows {
			wait(ctx, w.changed, tellPause)
		}
	}
	return ctx.Err()
}

const stockWebhookColumns = `tenant, url, secret, skus, max_available, position, sku, batch, batch_id, batch_position, batch_sku, attempts, next_at,
    failing_since, failure, disabled, updated_at`

func scanStockWebhook(row pgx.CollectableRow) (*stockWebhook, error) {
	h := new(stockWebhook)
	err := row.Scan(&h.tenant, &h.url, &h.secret, &h.skus, &h.maxAvailable, &h.told.position, &h.told.sku, &h.batch, &h.batchID,
		&h.batchTo.position, &h.batchTo.sku, &h.attempts, &h.nextAt, &h.failingSince, &h.failure, &h.disabled, &h.updatedAt)
	return h, err
}

const selectToldTenants = `SELECT ` + stockWebhookColumns + ` FROM stock_webhooks WHERE disabled = ''`

// look reads the webhooks. For one that is new, or wants other levels than before, what it has not been told is read again.
func (w *telling) look(ctx context.Context) error {
	rows, err := w.pool.Query(ctx, selectToldTenants)
	if err != nil {
		return fmt.Errorf("read stock webhooks: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanStockWebhook)
	if err != nil {
		return fmt.Errorf("read stock webhooks: %w", err)
	}
	w.looked = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	known := map[string]bool{}
	for _, h := range found {
		known[h.tenant] = true
		one := w.tenants[h.tenant]
		switch {
		case one == nil:
			w.tenants[h.tenant] = &tenantLevels{hook: h, waiting: map[string]*stockItem{}}
			w.readAgain(h.told)
		case one.busy: // what it tells is of before; the next look finds the change
		case !one.hook.updatedAt.Equal(h.updatedAt):
			one.hook, one.waiting = h, map[string]*stockItem{}
			w.readAgain(h.told)
		default:
			if next := one.hook.nextAt; h.nextAt == nil {
				h.nextAt = next
			}
			one.take(h) // another process may have told
		}
	}
	for tenant, one := range w.tenants {
		if !known[tenant] && !one.busy {
			delete(w.tenants, tenant)
		}
	}
	return nil
}

// readAgain goes back to where somebody was told.
func (w *telling) readAgain(from mark) {
	if len(w.tenants) == 1 || from.position <= w.at.position {
		// All SKUs at the position are read: which tenant's was last is another tenant's matter.
		w.at, w.atTenant = mark{position: max(from.position-1, 0)}, ""
	}
}

// read takes levels that changed, and says how many those were.
func (w *telling) read(ctx context.Context) (int, error) {
	rows, err := w.pool.Query(ctx, selectMovedStock, w.at.position, w.atTenant, w.at.sku, tellRows)
	if err != nil {
		return 0, fmt.Errorf("read stock: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanStock)
	if err != nil {
		return 0, fmt.Errorf("read stock: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, item := range found {
		w.at, w.atTenant = mark{item.position, item.sku}, item.tenant
		one := w.tenants[item.tenant]
		if one == nil || one.hook.told.compare(mark{item.position, item.sku}) >= 0 {
			continue
		}
		if one.hook.wants(item) {
			one.waiting[item.sku] = item
		} else {
			delete(one.waiting, item.sku) // it was wanted as it was before
		}
	}
	return len(found), nil
}

// ready takes in hand the tenants that can be told now.
func (w *telling) ready() []*tenantLevels {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*tenantLevels
	now := w.now()
	for _, one := range w.tenants {
		if one.busy || one.hook.disabled != "" || one.hook.batch == nil && len(one.waiting) == 0 || one.hook.nextAt != nil && now.Before(*one.hook.nextAt) {
			continue
		}
		select {
		case w.places <- struct{}{}:
			one.busy = true
			all = append(all, one)
		default:
			return all
		}
	}
	return all
}

// tell makes one attempt at one tenant. A call that has begun is not cut off: whether it arrived would not be known.
func (w *telling) tell(ctx context.Context, one *tenantLevels) {
	hook, err := w.claim(ctx, one)
	if err == nil && hook != nil {
		whole := context.WithoutCancel(ctx)
		attempt := w.hooks.attempt(whole, Call{URL: hook.url, Secret: hook.secret, ID: hook.batchID, At: w.now().UTC(), Body: hook.batch})
		hook, err = w.settle(whole, hook, &attempt)
	}
	if err != nil && ctx.Err() == nil {
		w.logger.WarnContext(ctx, "a stock webhook waits for the database", "tenant", one.hook.tenant, "cause", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.now().Add(tellRetry) // another process is at it, or the database is away
	if hook != nil {
		if next = w.now().Add(tellBreath); hook.nextAt != nil {
			next = *hook.nextAt
		}
		hook.updatedAt = one.hook.updatedAt // of what is waiting: the next look sees that it has changed
		one.take(hook)
	}
	one.hook.nextAt, one.busy = &next, false
	<-w.places
	signal(w.changed)
}

// take goes on with a webhook as it is stored now: what it was told waits no more.
func (one *tenantLevels) take(hook *stockWebhook) {
	one.hook = hook
	for sku, item := range one.waiting {
		if hook.told.compare(mark{item.position, sku}) >= 0 {
			delete(one.waiting, sku)
		}
	}
}
