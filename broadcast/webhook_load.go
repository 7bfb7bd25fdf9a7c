package broadcast

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	healthColumns = `h.circuit, h.failing_since, h.last_success_at, h.last_failure_at, h.last_failure, h.throttled_until`
	selectLoaded  = `SELECT ` + subscriptionColumns + `, p.moves, h.requests, ` + healthColumns + fromSubscriptions + `
JOIN subscription_health h ON h.subscription_id = s.id WHERE s.id = ANY ($1) AND s.status = 'active'`
	selectParked = `SELECT subscription_id, position, order_id, event_type, replay, attempts, next_at FROM deliveries
WHERE subscription_id = ANY ($1) AND state IN ('retrying', 'waiting') ORDER BY subscription_id, position`
)

// loaded is all that an endpoint starts with.
type loaded struct {
	delivered
	health healthRow
	parked []parkedRow
}

// columns are where healthColumns are read into; set takes them over.
func (h *healthRow) columns() (into []any, set func()) {
	var since, success, failure, throttled *time.Time
	return []any{&h.circuit, &since, &success, &failure, &h.failure, &throttled}, func() {
		for to, from := range map[*time.Time]*time.Time{
			&h.failingSince: since, &h.lastSuccess: success, &h.lastFailure: failure, &h.throttledTill: throttled,
		} {
			if from != nil {
				*to = *from
			}
		}
	}
}

// load reads subscriptions with what was stored of their delivery. One that cannot be delivered is logged and left out.
func (s *session) load(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*loaded, error) {
	all, err := s.loadSubscriptions(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Write.Query(ctx, selectSecrets, ids, s.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("read secrets of subscriptions: %w", err)
	}
	keys, err := pgx.CollectRows(rows, scanKey)
	if err != nil {
		return nil, fmt.Errorf("read secrets of subscriptions: %w", err)
	}
	for _, k := range keys {
		if one := all[k.Subscription]; one != nil {
			one.keys = append(one.keys, k.Term)
		}
	}
	if rows, err = s.cfg.Write.Query(ctx, selectParked, ids); err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	var row parkedRow
	_, err = pgx.ForEachRow(rows, []any{&row.subscription, &row.position, &row.order, &row.kind, &row.replay, &row.attempts, &row.nextAt}, func() error {
		if one := all[row.subscription]; one != nil {
			one.parked = append(one.parked, row)
		}
		row.nextAt = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read parked events: %w", err)
	}
	return all, nil
}

func (s *session) loadSubscriptions(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]*loaded, error) {
	rows, err := s.cfg.Write.Query(ctx, selectLoaded, ids)
	if err != nil {
		return nil, fmt.Errorf("read webhook subscriptions: %w", err)
	}
	defer rows.Close()
	all := map[uuid.UUID]*loaded{}
	for rows.Next() {
		one := &loaded{}
		health, set := one.health.columns()
		if err := rows.Scan(append(append(one.sub.columns(), &one.moves, &one.requests), health...)...); err != nil {
			return nil, fmt.Errorf("read webhook subscriptions: %w", err)
		}
		set()
		if one.settings, err = settingsOf(&one.sub); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "a subscription cannot be delivered", "cause", err)
			continue
		}
		one.who = identityOf(one.sub.Owner)
		one.whose = partyOf(one.who)
		one.schedule = one.settings.schedule(s.cfg.Schedule)
		all[one.sub.ID] = one
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read webhook subscriptions: %w", err)
	}
	return all, nil
}
