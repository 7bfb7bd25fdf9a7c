package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/stream"
)

const (
	tipPoll  = 10 * time.Millisecond
	tipRetry = time.Second
)

// tipPoller tells how far the views are on a node that has no projector of its own: another one fills the read database, or it
// is a standby.
type tipPoller struct {
	pool *pgxpool.Pool
	log  *slog.Logger
	tips map[string]*stream.Tip
}

func newTipPoller(pool *pgxpool.Pool, views []string, log *slog.Logger) *tipPoller {
	p := &tipPoller{pool: pool, log: log, tips: map[string]*stream.Tip{}}
	for _, view := range views {
		p.tips[view] = &stream.Tip{}
	}
	return p
}

func (p *tipPoller) Name() string { return "checkpoint poller" }

const selectCheckpoints = `SELECT view, position FROM checkpoints`

func (p *tipPoller) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := tipPoll
		if err := p.look(ctx); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "the views' checkpoints cannot be read", "cause", err)
			wait = tipRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (p *tipPoller) look(ctx context.Context) error {
	rows, err := p.pool.Query(ctx, selectCheckpoints)
	if err != nil {
		return err
	}
	var view string
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&view, &position}, func() error {
		if tip := p.tips[view]; tip != nil {
			tip.Set(position)
		}
		return nil
	})
	return err
}
