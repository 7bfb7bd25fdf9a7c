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

// lease lets one of many work. It is a session's advisory lock: it ends with the connection, so one that dies or is cut off from
// the database gives it up.
type lease struct {
	pool    *pgxpool.Pool
	key     int64
	conn    *pgxpool.Conn
	stuck   time.Time // since when the stream has stood still behind the log
	stuckAt int64
}

// take tries to get the lease, or to keep it.
func (l *lease) take(ctx context.Context) (bool, error) {
	if l.conn != nil && l.held(ctx) {
		return true, nil
	}
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

// held says whether the connection that holds the lease still lives. A relay without the lease (it races) holds nothing, and is
// told to try again.
func (l *lease) held(ctx context.Context) bool {
	if l.conn == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	if err := l.conn.Ping(ctx); err != nil {
		l.drop(ctx)
		return false
	}
	return true
}

func (l *lease) release(ctx context.Context) {
	if l.conn == nil {
		return
	}
	if _, err := l.conn.Exec(ctx, freeLease, l.key); err != nil {
		l.drop(ctx)
		return
	}
	l.conn.Release()
	l.conn = nil
}

// drop closes the connection, which ends the lock, instead of giving it back to the pool.
func (l *lease) drop(ctx context.Context) {
	conn := l.conn.Hijack()
	l.conn = nil
	_ = conn.Close(context.WithoutCancel(ctx)) // it is lost either way
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
