package command

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
)

// head is the end of the log.
type head struct {
	position int64
	digest   events.Digest
}

// store is the write database as the committer uses it.
type store struct {
	pool   *pgxpool.Pool
	ledger Ledger // in place of the pool; nil: none
	cell   int16
	now    func() time.Time
	keys   *customerkeys.Keys // made here, and stored with what is sealed under them
}

const selectHead = `SELECT position, digest FROM log_head WHERE cell = $1`

func (s *store) head(ctx context.Context) (head, error) {
	if s.ledger != nil {
		return s.ledgerHead(ctx)
	}
	var h head
	var digest []byte
	if err := s.pool.QueryRow(ctx, selectHead, s.cell).Scan(&h.position, &digest); err != nil {
		return h, fmt.Errorf("read log head: %w", err)
	}
	copy(h.digest[:], digest)
	return h, nil
}

const selectDigest = `SELECT digest FROM order_events WHERE position = $1`

// holds says whether the log has this very row at its position.
func (s *store) holds(ctx context.Context, h head) (bool, error) {
	if s.ledger != nil {
		return s.ledgerHolds(ctx, h)
	}
	rows, err := s.pool.Query(ctx, selectDigest, h.position)
	if err != nil {
		return false, fmt.Errorf("read digest: %w", err)
	}
	digests, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return false, fmt.Errorf("read digest: %w", err)
	}
	return len(digests) == 1 && string(digests[0]) == string(h.digest[:]), nil
}

const (
	selectRegistry = `SELECT kind, id, position, document FROM registry WHERE position > $1 ORDER BY position`
	selectLoads    = `SELECT provider, open, failures, trips, open_until, probing FROM provider_load`
)

// registry brings a registry up to date with what was changed after a position.
func (s *store) registry(ctx context.Context, r *Registry, after int64) error {
	if s.ledger != nil {
		return nil
	}
	rows, err := s.pool.Query(ctx, selectRegistry, after)
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[entry])
	if err != nil {
		return fmt.Errorf("read registry: %w", err)
	}
	for _, e := range entries {
		if err := r.put(e); err != nil {
			return err
		}
	}
	return s.loads(ctx, r)
}

func (s *store) loads(ctx context.Context, r *Registry) error {
	rows, err := s.pool.Query(ctx, selectLoads)
	if err != nil {
		return fmt.Errorf("read provider load: %w", err)
	}
	var provider string
	var open int64
	var c circuit
	var until *time.Time
	clear(r.open)
	clear(r.circuits)
	_, err = pgx.ForEachRow(rows, []any{&provider, &open, &c.failures, &c.trips, &until, &c.probing}, func() error {
		r.open[provider] = open
		if c.openUntil = (time.Time{}); until != nil {
			c.openUntil = until.UTC()
		}
		r.setCircuit(provider, c)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read provider load: %w", err)
	}
	return nil
}

const (
	selectByRef = `
SELECT o.content_hash, o.position, o.state
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant, channel, external_ref)
JOIN orders o USING (tenant, channel, external_ref)`
	selectByID   = `SELECT content_hash, position, state FROM orders WHERE id = ANY ($1::text[]::uuid[])`
	selectByTask = `
SELECT content_hash, position, state FROM orders
WHERE id IN (SELECT order_id FROM tasks WHERE id = ANY ($1::text[]::uuid[]))`
	selectResults = `
SELECT r.provider, r.result_id, r.content_hash
FROM unnest($1::text[], $2::text[]) AS k (provider, result_id) JOIN results r USING (provider, result_id)`
)

// load fetches what the commands of a round want, in one round trip.
func (s *store) load(ctx context.Context, w *wants, r *round) error {
	if s.ledger != nil {
		return s.ledgerLoad(ctx, w, r)
	}
	batch := &pgx.Batch{}
	take := func(rows pgx.Rows) error { return takeOrders(rows, r) }
	if len(w.refs) > 0 {
		tenants, channels, refs := splitRefs(w.refs)
		batch.Queue(selectByRef, tenants, channels, refs).Query(take)
	}
	if len(w.orders) > 0 {
		batch.Queue(selectByID, w.orders).Query(take)
	}
	if len(w.tasks) > 0 {
		batch.Queue(selectByTask, w.tasks).Query(take)
	}
	if len(w.results) > 0 {
		providers, ids := splitResults(w.results)
		batch.Queue(selectResults, providers, ids).Query(func(rows pgx.Rows) error { return takeResults(rows, r) })
	}
	if len(w.keys) > 0 {
		clients, keys := splitKeys(w.keys)
		batch.Queue(selectAnswers, clients, keys).Query(func(rows pgx.Rows) error { return takeAnswers(rows, r) })
	}
	queueFacts(batch, w.facts, r)
	if batch.Len() == 0 {
		return nil
	}
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("load orders: %w", err)
	}
	return nil
}

func splitRefs(refs []orderRef) (tenants, channels, external []string) {
	for _, ref := range refs {
		tenants, channels, external = append(tenants, ref.tenant), append(channels, ref.channel), append(external, ref.externalRef)
	}
	return tenants, channels, external
}

func splitResults(refs []resultRef) (providers, ids []string) {
	for _, ref := range refs {
		providers, ids = append(providers, ref.provider), append(ids, ref.resultID)
	}
	return providers, ids
}

func takeOrders(rows pgx.Rows, r *round) error {
	var hash, state []byte
	var position int64
	_, err := pgx.ForEachRow(rows, []any{&hash, &position, &state}, func() error {
		order, err := events.DecodeOrder(state)
		if err != nil {
			return err
		}
		if _, known := r.orders[order.ID]; known {
			return nil
		}
		loaded := &orderState{order: order, encoded: append([]byte(nil), state...), position: position, stored: true}
		copy(loaded.hash[:], hash)
		r.know(loaded)
		return nil
	})
	return err
}

func takeResults(rows pgx.Rows, r *round) error {
	var ref resultRef
	var hash []byte
	_, err := pgx.ForEachRow(rows, []any{&ref.provider, &ref.resultID, &hash}, func() error {
		var fixed [sha256.Size]byte
		copy(fixed[:], hash)
		r.results[ref] = fixed
		return nil
	})
	return err
}

const selectWaiting = `
SELECT id::text, position FROM orders
WHERE status IN ('unrouted', 'action_required', 'expired') AND position > $1 ORDER BY position LIMIT $2`

type waitingOrder struct {
	id       string
	position int64
}

// waiting lists orders that may have units which no provider has in hand, oldest first, after a position.
func (s *store) waiting(ctx context.Context, after int64, limit int) ([]waitingOrder, error) {
	rows, err := s.pool.Query(ctx, selectWaiting, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list waiting orders: %w", err)
	}
	orders, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o waitingOrder, err error) {
		return o, row.Scan(&o.id, &o.position)
	})
	if err != nil {
		return nil, fmt.Errorf("list waiting orders: %w", err)
	}
	return orders, nil
}

const extendLog = `SELECT extend_log($1)`

// extend makes room in the log up to a position.
func (s *store) extend(ctx context.Context, to int64) error {
	if _, err := s.pool.Exec(ctx, extendLog, to); err != nil {
		return fmt.Errorf("extend the log: %w", err)
	}
	return nil
}
