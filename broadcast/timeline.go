package broadcast

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

// page is a stretch of a party's events.
type page struct {
	Events    []events.Notice `json:"events"`
	ScannedTo int64           `json:"scanned_to"` // up to here nothing of the party's is missing
}

// reader reads parties' events from the read side, so that nothing is told before it can be read.
type reader struct{ pool *pgxpool.Pool }

const (
	// What the order and the timeline both have is what can be told of and pulled.
	selectReached = `SELECT coalesce(min(position), 0) FROM checkpoints WHERE view IN ('timeline', 'order_view')`

	selectAll      = `SELECT position, event FROM timeline WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3`
	selectTenant   = `SELECT position, event FROM timeline WHERE tenant = $4 AND position > $1 AND position <= $2 ORDER BY position LIMIT $3`
	selectProvider = `SELECT position, event FROM timeline WHERE provider = $4 AND position > $1 AND position <= $2 ORDER BY position LIMIT $3`
	selectOrders   = `SELECT id::text, document FROM order_view WHERE id = ANY ($1::text[]::uuid[])`
)

// read gives up to limit of a party's events after a position, all from one snapshot of the read database.
func (r *reader) read(ctx context.Context, who auth.Identity, after int64, limit int, withOrders bool) (*page, error) {
	p := &page{Events: []events.Notice{}}
	err := postgres.InSnapshot(ctx, r.pool, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, selectReached).Scan(&p.ScannedTo); err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		if err := r.fill(ctx, tx, p, partyOf(who), after, limit); err != nil {
			return err
		}
		if !withOrders {
			return nil
		}
		return r.addOrders(ctx, tx, p, who)
	})
	if postgres.IsUnavailable(err) {
		return nil, fault.Wrap(err, fault.Unavailable, "the read side is away")
	}
	return p, err
}

func (r *reader) fill(ctx context.Context, tx pgx.Tx, p *page, whose party, after int64, limit int) error {
	query, args := selectAll, []any{after, p.ScannedTo, limit}
	switch {
	case whose.tenant != "":
		query, args = selectTenant, append(args, whose.tenant)
	case whose.provider != "":
		query, args = selectProvider, append(args, whose.provider)
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	var position int64
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&position, &body}, func() error {
		e, _, err := events.DecodeHeader(position, body)
		if err != nil {
			return err
		}
		p.Events = append(p.Events, events.NoticeOf(&e))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	if len(p.Events) == limit {
		p.ScannedTo = p.Events[limit-1].Position
	}
	// A party that comes from a read node that was further keeps its place until this one is there too.
	p.ScannedTo = max(p.ScannedTo, after)
	return nil
}

// addOrders puts to each event its order as it is now: at the event's version or a later one.
func (r *reader) addOrders(ctx context.Context, tx pgx.Tx, p *page, who auth.Identity) error {
	ids := map[string]json.RawMessage{}
	for i := range p.Events {
		if id := p.Events[i].Subject; id != "" {
			ids[id] = nil
		}
	}
	if len(ids) == 0 {
		return nil
	}
	list := make([]string, 0, len(ids))
	for id := range ids {
		list = append(list, id)
	}
	rows, err := tx.Query(ctx, selectOrders, list)
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	var id string
	var document []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &document}, func() error {
		seen, err := visible(append([]byte(nil), document...), who)
		ids[id] = seen
		return err
	})
	if err != nil {
		return fmt.Errorf("read orders: %w", err)
	}
	for i := range p.Events {
		p.Events[i].Data = ids[p.Events[i].Subject]
	}
	return nil
}

// visible is the part of an order document that a party may see; nil for none of it.
func visible(document []byte, who auth.Identity) ([]byte, error) {
	if who.Kind != auth.KindProvider {
		return document, nil
	}
	cut, ok, err := disclose.Order(document, who.Provider)
	if !ok {
		return nil, err
	}
	return cut, err
}
