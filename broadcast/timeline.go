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

// A statement reads how far the read side is and what the party has up to there, both in one state of the database. What the order
// and the timeline both have is what can be told of and pulled.
const (
	selectReached = `
WITH c AS (SELECT coalesce(min(position), 0) AS reached FROM checkpoints WHERE view IN ('timeline', 'order_view'))
SELECT c.reached, t.position, t.event FROM c LEFT JOIN LATERAL (
	SELECT position, event FROM timeline WHERE position > $1 AND position <= c.reached`
	selectPage = ` ORDER BY position LIMIT $2) t ON true ORDER BY t.position`

	selectAll      = selectReached + selectPage
	selectTenant   = selectReached + ` AND tenant = $3` + selectPage
	selectProvider = selectReached + ` AND provider = $3` + selectPage
	selectOrders   = `SELECT id::text, document FROM order_view WHERE id = ANY ($1::text[]::uuid[])`
)

// read gives up to limit of a party's events after a position.
func (r *reader) read(ctx context.Context, who auth.Identity, after int64, limit int, withOrders bool) (*page, error) {
	p := &page{Events: []events.Notice{}}
	err := r.fill(ctx, p, partyOf(who), after, limit)
	if err == nil && withOrders {
		err = r.addOrders(ctx, p, who)
	}
	if postgres.IsUnavailable(err) {
		return nil, fault.Wrap(err, fault.Unavailable, "the read side is away")
	}
	return p, err
}

func (r *reader) fill(ctx context.Context, p *page, whose party, after int64, limit int) error {
	query, args := selectAll, []any{after, limit}
	switch {
	case whose.tenant != "":
		query, args = selectTenant, append(args, whose.tenant)
	case whose.provider != "":
		query, args = selectProvider, append(args, whose.provider)
	}
	rows, err := r.pool.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	var position *int64 // null where the party has nothing there
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&p.ScannedTo, &position, &body}, func() error {
		if position == nil {
			return nil
		}
		e, _, err := events.DecodeHeader(*position, body)
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

// addOrders puts to each event its order as it is now: at the event's version or a later one, since views only go forward.
func (r *reader) addOrders(ctx context.Context, p *page, who auth.Identity) error {
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
	rows, err := r.pool.Query(ctx, selectOrders, list)
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
