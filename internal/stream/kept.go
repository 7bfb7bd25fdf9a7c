package stream

import (
	"context"
	"fmt"
	"time"
)

const (
	keptChunk = 20_000 // rows whose sizes are added at once
	// What the broker counts for a message beside body and subject is about 480 bytes of headers and frame. Less is reckoned with, so that
	// a stream that is filled again has what its limit allows, and drops a little at its front, rather than less.
	messageFrame = 300
)

// Half are limits that keep about half: what a stream with the whole ones surely has, whatever the broker counts and its clock says.
func (l Limits) Half() Limits {
	return Limits{MaxAge: l.MaxAge / 2, MaxBytes: l.MaxBytes / 2, Replicas: l.Replicas}
}

// Kept is the first position that a stream with these limits would still keep at a time, had it copied the log all along: 1 without
// limits, and the one after the end where it would keep none.
func (l *Log) Kept(ctx context.Context, limits Limits, now time.Time) (int64, error) {
	if limits.MaxAge <= 0 && limits.MaxBytes <= 0 {
		return 1, nil
	}
	head, _, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	first := int64(1)
	if limits.MaxAge > 0 {
		if first, err = l.since(ctx, head, now.Add(-limits.MaxAge)); err != nil {
			return 0, err
		}
	}
	if limits.MaxBytes > 0 {
		return l.within(ctx, first, head, limits.MaxBytes)
	}
	return first, nil
}

const selectRecordedAt = `SELECT recorded_at FROM order_events WHERE position = $1`

// since finds by bisection the first position recorded at a time or later: times go up with positions, but for the difference
// between the clocks of write nodes.
func (l *Log) since(ctx context.Context, head int64, t time.Time) (int64, error) {
	low, high := int64(1), head+1
	for low < high {
		middle := low + (high-low)/2
		var recorded time.Time
		if err := l.pool.QueryRow(ctx, selectRecordedAt, middle).Scan(&recorded); err != nil {
			return 0, fmt.Errorf("read time of %d: %w", middle, err)
		}
		if recorded.Before(t) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

const selectWithin = `
SELECT count(*), coalesce(max(total), 0)::bigint FROM (
	SELECT sum(octet_length(event) + octet_length(subject) + $4) OVER (ORDER BY position DESC) AS total
	FROM order_events WHERE position > $1 AND position <= $2
) AS sizes WHERE total <= $3`

// within finds the first position, not before first, from which on all messages up to head have room.
func (l *Log) within(ctx context.Context, first, head, room int64) (int64, error) {
	for head >= first {
		after := max(head-keptChunk, first-1)
		var rows, taken int64
		if err := l.pool.QueryRow(ctx, selectWithin, after, head, room, messageFrame).Scan(&rows, &taken); err != nil {
			return 0, fmt.Errorf("read sizes up to %d: %w", head, err)
		}
		if rows < head-after {
			return head - rows + 1, nil
		}
		head, room = after, room-taken
	}
	return first, nil
}
