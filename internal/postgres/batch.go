package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errEmptyBatch means the caller had nothing to commit, which is its mistake.
var errEmptyBatch = errors.New("batch is empty")

// BatchSender sends batches on one connection: *pgxpool.Conn and *pgx.Conn do.
type BatchSender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// CommitBatch acquires a connection under ctx and commits batch on it, see CommitBatchOn. ctx bounds only the
// acquiring: once the batch has been sent nothing but its answer, or a broken connection, ends the call.
func CommitBatch(ctx context.Context, pool *pgxpool.Pool, batch *pgx.Batch) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire connection: %w", err)
	}
	defer conn.Release()
	if err := CommitBatchOn(ctx, conn, batch); err != nil {
		return err
	}
	return keptWaiting(conn.Conn().PgConn())
}

// keptWaiting makes of a commit that was stored without the standbys one whose outcome is not known: a fail-over may lose it.
func keptWaiting(conn *pgconn.PgConn) error {
	if waitCancelled(conn) {
		return fmt.Errorf("commit: %w: the wait for the synchronous standby was cancelled", ErrOutcomeUnknown)
	}
	return nil
}

// CommitBatchOn sends all queries of batch in one round trip with one Sync, so that Postgres runs them as ONE
// implicit transaction: all of them are stored, or none. Begin and commit must not be queued.
//
// It returns the first statement's error, a callback's error, or the commit's. The error wraps ErrOutcomeUnknown where
// the batch may have been stored: the connection broke after sending, or a callback returned an error of its own.
// A callback cannot undo anything, since the server may have committed before the callback saw its result: a
// condition on which the transaction depends has to fail in SQL.
func CommitBatchOn(ctx context.Context, conn BatchSender, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return errEmptyBatch
	}
	return batchError(conn.SendBatch(context.WithoutCancel(ctx), batch).Close())
}

func batchError(err error) error {
	switch {
	case err == nil:
		return nil
	case outcomeUnknown(err):
		return fmt.Errorf("commit batch: %w: %w", ErrOutcomeUnknown, err)
	default:
		return fmt.Errorf("commit batch: %w", err)
	}
}
