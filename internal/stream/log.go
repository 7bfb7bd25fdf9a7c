package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Log reads the log in the primary Postgres. It never writes.
type Log struct {
	pool *pgxpool.Pool
	cell int16
	gate Gate // nil: what can be read is given
}

// Gate opens once what could be read from the log before the call is where a fail-over of the primary does not lose it.
type Gate interface {
	Barrier(ctx context.Context) error
}

// NewLog makes a reader of the log of cell 1.
func NewLog(pool *pgxpool.Pool) *Log { return &Log{pool: pool, cell: 1} }

// Behind gives a reader of the same log whose Read gives nothing that a fail-over may take back.
func (l *Log) Behind(gate Gate) *Log {
	gated := *l
	gated.gate = gate
	return &gated
}

const selectRecords = `
SELECT position, digest, subject, event FROM order_events
WHERE position > $1 AND position <= $1 + $2 ORDER BY position`

// Read gives up to limit records after a position, in order and without a gap; none where the log ends there.
func (l *Log) Read(ctx context.Context, after int64, limit int) ([]Record, error) {
	rows, err := l.pool.Query(ctx, selectRecords, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	records, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	for i := range records {
		if records[i].Position != after+1+int64(i) {
			return nil, fmt.Errorf("the log has no position %d: %w", after+1+int64(i), ErrDiverged)
		}
	}
	if l.gate != nil && len(records) > 0 {
		if err := l.gate.Barrier(ctx); err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
	}
	return records, nil
}

func scanRecord(row pgx.CollectableRow) (Record, error) {
	var r Record
	var digest []byte
	if err := row.Scan(&r.Position, &digest, &r.Subject, &r.Body); err != nil {
		return r, err
	}
	copy(r.Digest[:], digest)
	return r, nil
}

const selectHead = `SELECT position, digest FROM log_head WHERE cell = $1`

// Head gives the log's last position and its digest; 0 for an empty log.
func (l *Log) Head(ctx context.Context) (int64, [32]byte, error) {
	var position int64
	var raw []byte
	var digest [32]byte
	if err := l.pool.QueryRow(ctx, selectHead, l.cell).Scan(&position, &raw); err != nil {
		return 0, digest, fmt.Errorf("read log head: %w", err)
	}
	copy(digest[:], raw)
	return position, digest, nil
}

const selectDigest = `SELECT digest FROM order_events WHERE position = $1`

// Digest gives the digest at a position; the zero digest at 0. ok is false where the log has no such position.
func (l *Log) Digest(ctx context.Context, position int64) (digest [32]byte, ok bool, err error) {
	if position == 0 {
		return digest, true, nil
	}
	var raw []byte
	err = l.pool.QueryRow(ctx, selectDigest, position).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return digest, false, nil
	}
	if err != nil {
		return digest, false, fmt.Errorf("read digest at %d: %w", position, err)
	}
	copy(digest[:], raw)
	return digest, true, nil
}
