package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/stream"
)

// start is where a listener begins: after a position, at a time, or now.
type start struct {
	now   bool
	after int64
	since time.Time // zero: not by time
}

// clockSkew is by how much the clocks of write nodes may differ: rows stand in the order of their commits, and their times in
// nearly that order.
const clockSkew = time.Minute

const (
	logEnds     = `SELECT coalesce(min(position), 0), coalesce(max(position), 0) FROM order_events`
	recordedAt  = `SELECT recorded_at FROM order_events WHERE position = $1`
	firstSince  = `SELECT position FROM order_events WHERE position >= $1 AND recorded_at >= $2 ORDER BY position LIMIT 1`
	noneMissing = 1 // positions are counted from here
)

// resolve gives the position after which the listener's events begin.
func (s start) resolve(ctx context.Context, log *pgxpool.Pool) (int64, error) {
	switch {
	case !s.since.IsZero():
		return positionBefore(ctx, log, s.since)
	case s.now:
		head, _, err := stream.NewLog(log).Head(ctx)
		return head, err
	}
	return s.after, nil
}

// positionBefore is the position before the first event that was recorded at a time or later. The log has no index by time: its
// primary key is bisected.
func positionBefore(ctx context.Context, log *pgxpool.Pool, at time.Time) (int64, error) {
	var first, last int64
	if err := log.QueryRow(ctx, logEnds).Scan(&first, &last); err != nil {
		return 0, fmt.Errorf("find the log's ends: %w", err)
	}
	low, high := max(first, noneMissing), last+1
	for low < high {
		middle := low + (high-low)/2
		var recorded time.Time
		if err := log.QueryRow(ctx, recordedAt, middle).Scan(&recorded); err != nil {
			return 0, fmt.Errorf("read when %d was recorded: %w", middle, err)
		}
		if recorded.Before(at.Add(-clockSkew)) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	var position int64
	err := log.QueryRow(ctx, firstSince, low, at).Scan(&position)
	if errors.Is(err, pgx.ErrNoRows) {
		return last, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the first event since %s: %w", at.Format(time.RFC3339), err)
	}
	return position - 1, nil
}
