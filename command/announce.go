package command

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

const (
	announceEvery = 2 * time.Second
	announcePage  = 100
)

// What delivery has to tell a party of stands in a table of its own; that it was told, in the registry, in the transaction that tells
// it. So it is told once, whichever node does it and whatever dies meanwhile.
const selectNotices = `
SELECT n.id::text, s.id::text, s.tenant, s.provider, s.system, s.name, s.transport, n.reason
FROM subscription_notices n JOIN subscriptions s ON s.id = n.subscription_id
WHERE n.kind = 'disabled' AND NOT EXISTS (SELECT FROM registry r WHERE r.kind = 'notice' AND r.id = n.id::text)
ORDER BY n.created_at LIMIT $1`

// Announcer tells parties, by an event in the log, what happened to their subscriptions: who hears no more on one way may still listen
// on another.
type Announcer struct {
	committer *Committer
	logger    *slog.Logger
}

// NewAnnouncer makes the worker that tells through a committer.
func NewAnnouncer(c *Committer) *Announcer { return &Announcer{committer: c, logger: c.logger} }

// Name names the worker.
func (w *Announcer) Name() string { return "announcer" }

// Run works until ctx ends. Trouble is logged and tried again.
func (w *Announcer) Run(ctx context.Context) error {
	ticker := time.NewTicker(announceEvery)
	defer ticker.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.logger.WarnContext(ctx, "notices are put off", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *Announcer) look(ctx context.Context) error {
	notices, err := w.committer.store.notices(ctx)
	if err != nil {
		return err
	}
	for _, n := range notices {
		if _, err := w.committer.Submit(ctx, n, nil); err != nil {
			return fmt.Errorf("announce %s: %w", n.ID, err)
		}
	}
	return nil
}

// notices lists what was not told yet, the oldest first.
func (s *store) notices(ctx context.Context) ([]*Register, error) {
	rows, err := s.pool.Query(ctx, selectNotices, announcePage)
	if err != nil {
		return nil, fmt.Errorf("list notices: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*Register, error) {
		end := &events.SubscriptionEnd{}
		r := &Register{Kind: kindNotice, Type: events.SubscriptionDisabled, Document: end}
		err := row.Scan(&end.NoticeID, &end.SubscriptionID, &r.Tenant, &r.Provider, &end.System, &end.Name, &end.Transport, &end.Reason)
		r.ID = end.NoticeID
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("list notices: %w", err)
	}
	return all, nil
}
