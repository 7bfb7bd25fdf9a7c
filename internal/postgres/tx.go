package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// rollbackTimeout bounds the rollback of a transaction whose caller's context may be gone already.
const rollbackTimeout = 5 * time.Second

// Beginner begins transactions: *pgxpool.Pool, *pgxpool.Conn and *pgx.Conn do.
type Beginner interface {
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
}

// InTx runs fn in one transaction. When fn returns nil the transaction is committed even if ctx has ended by then,
// because a commit cut off by a deadline has an outcome nobody knows; otherwise, and on a panic, it is rolled back.
// A commit's error is always returned; it wraps ErrOutcomeUnknown where the transaction may have been stored.
func InTx(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	return inTx(ctx, db, pgx.TxOptions{}, fn)
}

// InSnapshot runs fn in one read-only transaction that sees a single state of the database throughout.
func InSnapshot(ctx context.Context, db Beginner, fn func(tx pgx.Tx) error) error {
	return inTx(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, fn)
}

func inTx(ctx context.Context, db Beginner, opts pgx.TxOptions, fn func(tx pgx.Tx) error) (err error) {
	if pool, ok := db.(*pgxpool.Pool); ok {
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		defer conn.Release() // not with the commit: what the server said of it is on the connection
		db = conn
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	returned := false
	defer func() {
		if returned && err == nil {
			return
		}
		// After a failed commit this is a no-op; after a panic of fn it also gives the connection back.
		rollback(ctx, tx)
	}()

	err = fn(tx)
	returned = true
	if err != nil {
		return err
	}
	if tx.Conn().IsClosed() {
		return fmt.Errorf("commit: %w", pgconn.ErrConnClosed) // not sent, so not stored
	}
	conn := tx.Conn().PgConn() // tx knows none once it is committed
	if err := commitError(tx.Commit(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return keptWaiting(conn)
}

// rollback's own error says nothing the caller could use: the server rolls back whatever was not committed, at the
// latest when it loses the connection, which pgx closes when a rollback fails.
func rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	_ = tx.Rollback(ctx)
}

func commitError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrTxCommitRollback):
		return fmt.Errorf("commit: %w", err)
	case outcomeUnknown(err):
		return fmt.Errorf("commit: %w: %w", ErrOutcomeUnknown, err)
	default:
		return fmt.Errorf("commit: %w", err)
	}
}
