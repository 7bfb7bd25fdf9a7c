package command

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

// headLock holds the row of the log's head, so that nobody else appends until it is released. A node that stands still while it has it
// loses it: the server ends its session.
type headLock struct {
	conn *pgxpool.Conn
	hold Hold // of a ledger, in place of the connection
	head head
}

const (
	beginLocked = `BEGIN; SET LOCAL idle_in_transaction_session_timeout = '3s'`
	lockHead    = `SELECT position, digest FROM log_head WHERE cell = $1 FOR UPDATE`
	rollback    = `ROLLBACK`
)

// lock waits until nobody else has it.
func (s *store) lock(ctx context.Context) (*headLock, error) {
	if s.ledger != nil {
		return s.ledgerLock(ctx)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock log head: %w", err)
	}
	l := &headLock{conn: conn}
	if l.head, err = l.take(ctx, s.cell); err != nil {
		l.release(ctx)
		return nil, fmt.Errorf("lock log head: %w", err)
	}
	return l, nil
}

func (l *headLock) take(ctx context.Context, cell int16) (h head, err error) {
	if _, err := l.conn.Exec(ctx, beginLocked, pgx.QueryExecModeSimpleProtocol); err != nil {
		return h, err
	}
	var digest []byte
	if err := l.conn.QueryRow(ctx, lockHead, cell).Scan(&h.position, &digest); err != nil {
		return h, err
	}
	h.digest = events.Digest(digest)
	return h, nil
}

// commit stores what the lock was taken for, and gives it back with that.
func (l *headLock) commit(ctx context.Context, bulk *postgres.Bulk) error {
	_, err := bulk.CommitIn(ctx, l.conn.Conn())
	return err
}

// release gives the lock back. It may be nil, and may be called after commit.
func (l *headLock) release(ctx context.Context) {
	if l != nil && l.hold != nil {
		l.hold.Release(ctx)
		l.hold = nil
	}
	if l == nil || l.conn == nil {
		return
	}
	if l.conn.Conn().PgConn().TxStatus() != 'I' {
		_, _ = l.conn.Exec(ctx, rollback) // a connection on which it fails is closed, and the server rolls back
	}
	l.conn.Release()
	l.conn = nil
}
