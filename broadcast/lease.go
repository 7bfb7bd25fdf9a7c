package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// The advisory locks of those of whom one works at a time, for one primary.
const (
	leaseKey       = 0x6f735f72656c6179 // "os_relay"
	consumersLease = 0x6f735f636f6e7375 // "os_consu"
)

const (
	tryLease  = `SELECT pg_try_advisory_lock($1)`
	freeLease = `SELECT pg_advisory_unlock($1)`
)

// Lock is a lock that ends with the session that has it: one that dies or is cut off gives it up. It is for one goroutine.
type Lock interface {
	// Try asks for it in a new session.
	Try(ctx context.Context) (got bool, err error)
	// Held says whether the session that has it still lives. One that does not is given up.
	Held(ctx context.Context) bool
	// Free gives it back, if it is had.
	Free(ctx context.Context)
}

// advisory is a session's advisory lock.
type advisory struct {
	pool *pgxpool.Pool
	key  int64
	conn *pgxpool.Conn
}

// Try implements Lock.
func (l *advisory) Try(ctx context.Context) (bool, error) {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("take lease: %w", err)
	}
	var got bool
	if err := conn.QueryRow(ctx, tryLease, l.key).Scan(&got); err != nil || !got {
		conn.Release()
		return false, err
	}
	l.conn = conn
	return true, nil
}

// Held implements Lock.
func (l *advisory) Held(ctx context.Context) bool {
	if err := l.conn.Ping(ctx); err != nil {
		l.drop(ctx)
		return false
	}
	return true
}

// Free implements Lock.
func (l *advisory) Free(ctx context.Context) {
	if _, err := l.conn.Exec(ctx, freeLease, l.key); err != nil {
		l.drop(ctx)
		return
	}
	l.conn.Release()
	l.conn = nil
}

// drop closes the connection, which ends the lock, instead of giving it back to the pool.
func (l *advisory) drop(ctx context.Context) {
	conn := l.conn.Hijack()
	l.conn = nil
	_ = conn.Close(context.WithoutCancel(ctx)) // it is lost either way
}

// lease lets one of many work.
type lease struct {
	lock    Lock
	mine    bool
	stuck   time.Time // since when the stream has stood still behind the log
	stuckAt int64
}

func newLease(pool *pgxpool.Pool, key int64) *lease {
	return &lease{lock: &advisory{pool: pool, key: key}}
}

// take tries to get the lease, or to keep it.
func (l *lease) take(ctx context.Context) (bool, error) {
	if l.mine && l.held(ctx) {
		return true, nil
	}
	var err error
	l.mine, err = l.lock.Try(ctx)
	return l.mine, err
}

// held says whether the lease still is this one's. A relay without it (it races) holds nothing, and is told to try again.
func (l *lease) held(ctx context.Context) bool {
	if !l.mine {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	l.mine = l.lock.Held(ctx)
	return l.mine
}

func (l *lease) release(ctx context.Context) {
	if l.mine {
		l.lock.Free(ctx)
		l.mine = false
	}
}

// mayWork says whether this relay is to publish: it has the lease, or whoever has it does nothing while the log grows.
func (r *Relay) mayWork(ctx context.Context, l *lease) bool {
	got, err := l.take(ctx)
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "the relay's lease cannot be asked for", "cause", err)
		return false
	}
	if got {
		l.stuck = time.Time{}
		return true
	}
	return r.standsStill(ctx, l)
}

func (r *Relay) standsStill(ctx context.Context, l *lease) bool {
	head, last, err := r.ends(ctx)
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "the relay that waits cannot compare log and stream", "cause", err)
		return false
	}
	r.published.Set(last)
	if last >= head || last != l.stuckAt {
		l.stuck, l.stuckAt = time.Now(), last
		return false
	}
	return time.Since(l.stuck) > raceAfter
}

func (r *Relay) ends(ctx context.Context) (head, last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	if head, _, err = r.log.Head(ctx); err != nil {
		return 0, 0, err
	}
	last, err = r.last(ctx)
	return head, last, err
}
