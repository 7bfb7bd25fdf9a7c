package workload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/client"
)

// selectAddressed counts what each party has to hear: a provider what is addressed to it, a tenant's feed all of its tenant.
const selectAddressed = `
SELECT split_part(subject, '.', 2), split_part(subject, '.', 4), count(*), max(position)
FROM order_events WHERE position > $1 GROUP BY 1, 2`

// addressed is how many events each party has to have heard by now, and the last of all.
func (l *Load) addressed(ctx context.Context) (map[string]int, int64, error) {
	conn, err := pgx.Connect(ctx, *l.primary.Load())
	if err != nil {
		return nil, 0, fmt.Errorf("connect to the log: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, selectAddressed, l.world.Start)
	if err != nil {
		return nil, 0, fmt.Errorf("count events: %w", err)
	}
	all := map[string]int{}
	var tenant, provider string
	var n int
	var last, upTo int64
	_, err = pgx.ForEachRow(rows, []any{&tenant, &provider, &n, &last}, func() error {
		upTo = max(upTo, last)
		all[tenant] += n
		all[provider] += n
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("count events: %w", err)
	}
	return all, upTo, nil
}

// Settle waits, after StopUsers, until every party has heard all that is addressed to it and nothing more comes of that. The error, when ctx
// ends before, names who has not. What the store itself tells of later is not asked for by the checker.
func (l *Load) Settle(ctx context.Context) error {
	err := l.settle(ctx)
	return errors.Join(err, l.log.Flush(), l.keepWorld())
}

func (l *Load) settle(ctx context.Context) error {
	var behind error
	for quiet := 0; quiet < 2; {
		wanted, last, err := l.addressed(ctx)
		if err == nil {
			l.world.Settled = last
		}
		if err == nil {
			err = l.behind(wanted)
		}
		if err == nil {
			quiet++
		} else {
			quiet = 0
			if ctx.Err() == nil {
				behind = err
			}
		}
		if !rest(ctx, 300*time.Millisecond) {
			return errors.Join(behind, ctx.Err())
		}
	}
	return nil
}

func (l *Load) behind(wanted map[string]int) error {
	var errs []error
	for _, p := range l.parties {
		p.mu.Lock()
		has := p.receipts.Len()
		p.mu.Unlock()
		if has < wanted[p.name] {
			errs = append(errs, fmt.Errorf("%s has heard %d of %d events", p.name, has, wanted[p.name]))
		}
	}
	return errors.Join(errs...)
}

// rewind forgets the last receipts and, where the store keeps the party's position, has it go back too.
func (p *party) rewind(ctx context.Context, events int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	forgotten, lowest, err := p.receipts.Forget(events)
	if err != nil || forgotten == 0 {
		return forgotten, err
	}
	if p.halted != nil && p.transport != client.TransportWebhook { // which is called, and has nothing to begin anew
		p.halted()
	}
	if p.transport == client.TransportFeed || p.transport == client.TransportSSE {
		return forgotten, nil
	}
	c, err := p.load.clientOf(p.who, p.load.cfg.At.Broadcast[0])
	if err != nil {
		return forgotten, err
	}
	for s, err := range c.ListSubscriptions(ctx) {
		if err != nil {
			return forgotten, fmt.Errorf("find subscription: %w", err)
		}
		if s.Transport != p.transport {
			continue
		}
		if _, err := c.SeekSubscription(ctx, s.ID, client.From{Position: lowest - 1}); err != nil {
			return forgotten, fmt.Errorf("go back: %w", err)
		}
	}
	return forgotten, nil
}
