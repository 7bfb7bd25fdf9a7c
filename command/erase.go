package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// Erased is an erasure as it is answered: of whom it was is in it no more.
type Erased struct {
	ErasureID   string    `json:"erasure_id"`
	Tenant      string    `json:"tenant"`
	Key         string    `json:"key"`
	DestroyedAt time.Time `json:"destroyed_at"`
	Position    int64     `json:"position"`
	Orders      *int64    `json:"orders,omitempty"` // that still have the sealed text, which nobody can read; it is taken out of them
}

// eraseKey destroys a customer's key, and says so in the log. Once is enough.
type eraseKey struct{ tenant, key string }

func (c *eraseKey) wants(*wants) {}

func (c *eraseKey) apply(r *round) (reply, error) {
	known, err := r.registered(kindErasure, c.key)
	if err != nil {
		return reply{}, err
	}
	if known != nil {
		return reply{status: http.StatusOK, document: known, position: r.from.position, replayed: true}, nil
	}
	done := Erased{ErasureID: newUUID(), Tenant: c.tenant, Key: c.key, DestroyedAt: r.at, Position: r.next()}
	document, err := json.Marshal(done)
	if err != nil {
		return reply{}, fmt.Errorf("encode erasure: %w", err)
	}
	e := events.New(events.CustomerErased, r.at, &events.Erasure{ErasureID: done.ErasureID, Key: c.key})
	e.Tenant = c.tenant
	r.enter(e, kindErasure, c.key, document)
	r.destroyed = append(r.destroyed, c.key)
	return reply{status: http.StatusOK, document: document, position: done.Position}, nil
}

// erased says whether a key is destroyed as of this round.
func (r *round) erased(key string) bool {
	known, err := r.registered(kindErasure, key)
	return err != nil || known != nil
}

// leaveOut takes out of an order what was sealed under a destroyed key.
type leaveOut struct{ orderID, key string }

func (c *leaveOut) wants(w *wants) { w.orders = append(w.orders, c.orderID) }

func (c *leaveOut) apply(r *round) (reply, error) {
	state, ok := r.orders[c.orderID]
	if !ok {
		return reply{}, noOrder()
	}
	replayed, err := r.run(state, "", c)
	return reply{status: http.StatusOK, order: state, replayed: replayed}, err
}

func (c *leaveOut) decide(d *Decision) error {
	o := d.Order
	if customerKey(o) != c.key {
		return nil
	}
	a := &events.Amended{
		Changed: []string{events.PartCustomer}, ExternalRef: o.ExternalRef, Shipping: o.Shipping, Total: o.Total, Attributes: o.Attributes,
		Lines: make([]events.PlacedLine, len(o.Lines)),
	}
	for i := range o.Lines {
		a.Lines[i] = o.Lines[i].PlacedLine
	}
	return d.record(events.New(events.OrderAmended, d.at, a))
}

const (
	destroyKeys = `UPDATE customer_keys SET wrapped = NULL, destroyed_at = $2 WHERE id = ANY ($1::text[]::uuid[]) AND destroyed_at IS NULL`
	// A key that a restored backup brought back is destroyed again: the log remembers.
	destroyAgain = `
UPDATE customer_keys k SET wrapped = NULL, destroyed_at = now(), orders_left = true
FROM registry r WHERE r.kind = 'erasure' AND r.id = k.id::text AND k.destroyed_at IS NULL RETURNING k.id::text`
	selectUnsettled = `SELECT id::text FROM customer_keys WHERE destroyed_at IS NOT NULL AND orders_left LIMIT 100`
	selectSealed    = `SELECT id::text FROM orders WHERE customer_key = $1::text::uuid LIMIT $2`
	settleKey       = `UPDATE customer_keys SET orders_left = false WHERE id = $1::text::uuid`
	countSealed     = `SELECT count(*) FROM orders WHERE customer_key = $1::text::uuid`
	selectKeyOf     = `
SELECT k.id::text FROM customer_keys k
WHERE k.tenant = $1 AND (k.fingerprint = $2 OR k.id = nullif($3, '')::text::uuid
    OR k.id = (SELECT customer_key FROM orders WHERE id = nullif($4, '')::text::uuid AND tenant = $1))
ORDER BY k.destroyed_at DESC NULLS FIRST LIMIT 1`
)

const (
	eraseEvery = 2 * time.Second // between looks for orders that name a destroyed key
	againEvery = 15              // looks between those for keys that a backup brought back
	erasePage  = 500             // orders taken in hand at once
)

// Eraser erases customers: it destroys their keys, and takes what cannot be read any more out of their orders.
type Eraser struct {
	committer *Committer
	poked     chan struct{}
}

// NewEraser makes the worker that erases through a committer, which has to have keys.
func NewEraser(c *Committer) *Eraser { return &Eraser{committer: c, poked: make(chan struct{}, 1)} }

// Name names the worker.
func (e *Eraser) Name() string { return "eraser" }

// Whom says whose key is to be destroyed: exactly one of the members but the tenant is there.
type Whom struct{ Tenant, Email, Phone, Key, OrderID string }

// Erase destroys a customer's key. When it returns, nothing new is sealed under it, and what is can be read nowhere half a minute later.
func (e *Eraser) Erase(ctx context.Context, w Whom) (*Erased, error) {
	c := e.committer
	keys := c.seals.keys
	var fingerprint []byte
	if kind, value := identity(&events.Customer{Email: w.Email, Phone: w.Phone}); kind != "" {
		fingerprint = keys.Fingerprint(w.Tenant, kind, value)
	}
	var key string
	err := c.store.pool.QueryRow(ctx, selectKeyOf, w.Tenant, fingerprint, w.Key, w.OrderID).Scan(&key)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, fault.New(fault.NotFound, "the tenant has no such customer")
	case postgres.IsUnavailable(err):
		return nil, unavailable(err)
	case err != nil:
		return nil, fmt.Errorf("find customer key: %w", err)
	}
	answer, err := c.Submit(ctx, &eraseKey{tenant: w.Tenant, key: key}, nil)
	if err != nil {
		return nil, err
	}
	keys.Forget(key)
	done := &Erased{}
	if err := json.Unmarshal(answer.Body, done); err != nil {
		return nil, fmt.Errorf("decode erasure: %w", err)
	}
	var left int64
	if err := c.store.pool.QueryRow(ctx, countSealed, key).Scan(&left); err == nil {
		done.Orders = &left
	}
	select {
	case e.poked <- struct{}{}:
	default:
	}
	return done, nil
}

// Run works until ctx ends. Trouble is logged and tried again.
func (e *Eraser) Run(ctx context.Context) error {
	ticker := time.NewTicker(eraseEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		err := e.settle(ctx)
		if err == nil && n%againEvery == 0 {
			err = e.again(ctx)
		}
		if err != nil && ctx.Err() == nil {
			e.committer.logger.WarnContext(ctx, "erasing is put off", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-e.poked:
		}
	}
}

func (e *Eraser) again(ctx context.Context) error {
	gone, err := e.names(ctx, destroyAgain)
	if err != nil {
		return fmt.Errorf("destroy keys again: %w", err)
	}
	e.committer.seals.keys.Forget(gone...)
	return nil
}

// settle takes what was sealed under destroyed keys out of the orders that have it. No new order comes to have it: each commit is decided
// on a registry that knows of the erasure.
func (e *Eraser) settle(ctx context.Context) error {
	unsettled, err := e.names(ctx, selectUnsettled)
	if err != nil {
		return fmt.Errorf("read erasures: %w", err)
	}
	for _, key := range unsettled {
		for {
			orders, err := e.names(ctx, selectSealed, key, erasePage)
			if err != nil {
				return fmt.Errorf("read orders of an erased customer: %w", err)
			}
			if len(orders) == 0 {
				break
			}
			if err := e.leaveOut(ctx, orders, key); err != nil {
				return err
			}
		}
		if _, err := e.committer.store.pool.Exec(ctx, settleKey, key); err != nil {
			return fmt.Errorf("settle erasure: %w", err)
		}
	}
	return nil
}

// leaveOut submits many at once, so that they share commits.
func (e *Eraser) leaveOut(ctx context.Context, orders []string, key string) error {
	failed := make(chan error, len(orders))
	for _, id := range orders {
		go func() {
			_, err := e.committer.SubmitWaiting(ctx, &leaveOut{orderID: id, key: key})
			failed <- err
		}()
	}
	var all error
	for range orders {
		all = errors.Join(all, <-failed)
	}
	return all
}

func (e *Eraser) names(ctx context.Context, sql string, args ...any) ([]string, error) {
	rows, err := e.committer.store.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
