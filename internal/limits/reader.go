package limits

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	pollEvery  = 500 * time.Millisecond // what the operator sets counts within twice that
	readWithin = 5 * time.Second
)

// Reader keeps a limiter's settings as they are in the write database.
type Reader struct {
	pool    *pgxpool.Pool
	limiter *Limiter
	log     *slog.Logger
	every   time.Duration
	tenants map[string]Limits // as of after; never changed once it was handed over
	after   int64             // position of the latest tenant that was read
}

// NewReader makes the reader of a limiter. It reads nothing until it is run.
func NewReader(pool *pgxpool.Pool, l *Limiter, log *slog.Logger) *Reader {
	return &Reader{pool: pool, limiter: l, log: log, every: pollEvery, tenants: map[string]Limits{}}
}

// Name is the worker's name in logs and health.
func (r *Reader) Name() string { return "limits" }

// Run reads until ctx ends. With the database away the limits stay as they were; that is said once.
func (r *Reader) Run(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for away := false; ; {
		err := r.read(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !away:
			r.log.LogAttrs(ctx, slog.LevelWarn, "limits cannot be read, going on with those known", slog.Any("error", err))
		}
		away = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Positions come in the order of commits, so no tenant is committed later behind one that was read. Clients with limits of their own are
// few and read whole.
const (
	readTenants = `SELECT id, position, document FROM registry WHERE kind = 'tenant' AND position > $1 ORDER BY position`
	readClients = `SELECT client_id, limits FROM clients WHERE limits IS NOT NULL AND disabled_at IS NULL`
)

func (r *Reader) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	next := &Settings{Clients: map[string]Limits{}, Tenants: maps.Clone(r.tenants)}
	after := r.after
	batch := &pgx.Batch{}
	batch.Queue(readTenants, r.after).Query(func(rows pgx.Rows) error {
		return scan(rows, func(id string, position int64, document []byte) error {
			var tenant struct{ Limits Limits }
			if err := json.Unmarshal(document, &tenant); err != nil {
				return fmt.Errorf("decode tenant %s: %w", id, err)
			}
			next.Tenants[id], after = tenant.Limits, position
			return nil
		})
	})
	batch.Queue(readClients).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id string
			var of Limits
			if err := rows.Scan(&id, &of); err != nil {
				return fmt.Errorf("scan limits of a client: %w", err)
			}
			next.Clients[id] = of
		}
		return rows.Err()
	})
	if err := r.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	r.tenants, r.after = next.Tenants, after
	r.limiter.Set(next)
	return nil
}

func scan(rows pgx.Rows, take func(id string, position int64, document []byte) error) error {
	for rows.Next() {
		var id string
		var position int64
		var document []byte
		if err := rows.Scan(&id, &position, &document); err != nil {
			return fmt.Errorf("scan tenant: %w", err)
		}
		if err := take(id, position, document); err != nil {
			return err
		}
	}
	return rows.Err()
}
