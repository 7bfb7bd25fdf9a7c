package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/seeded"
)

// page is a stretch of a party's events.
type page struct {
	told      []*told
	data      []json.RawMessage // of each event its order; nil where none were asked for
	listed    []bool            // of each event, whether its order is in the list that is watched; nil where none is
	scannedTo int64             // up to here nothing of the party's is missing
	more      bool              // the read side goes on behind it
}

// event is one of the events in JSON.
func (p *page) event(i int) []byte {
	whole := p.told[i].json
	var data json.RawMessage
	if p.data != nil {
		data = p.data[i]
	}
	if data == nil && p.listed == nil {
		return whole
	}
	b := make([]byte, 0, len(whole)+len(data)+32)
	b = append(b, whole[:len(whole)-1]...)
	if p.listed != nil {
		b = strconv.AppendBool(append(b, `,"listed":`...), p.listed[i])
	}
	if data != nil {
		b = append(append(b, `,"data":`...), data...)
	}
	return append(b, '}')
}

// body is the page as the feed answers it. It puts together what was encoded once for all listeners.
func (p *page) body() []byte {
	size := 64
	for i := range p.told {
		size += len(p.told[i].json) + 1
	}
	b := append(make([]byte, 0, size), `{"events":[`...)
	for i := range p.told {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, p.event(i)...)
	}
	b = append(b, `],"scanned_to":`...)
	return append(strconv.AppendInt(b, p.scannedTo, 10), '}')
}

// interest is what somebody wants to hear.
type interest struct {
	who    auth.Identity // as whom orders are seen
	whose  party
	filter Filter
	orders bool // with each event's order
	after  int64
}

// reader reads parties' events from the read side, so that nothing is told before it can be read.
type reader struct {
	pool *pgxpool.Pool
	live *Live
}

const (
	scanBatch  = 500 // events read from the database in one query, before those that nobody asked for are left out
	scanAtMost = 20  // queries for one page, where next to nothing is wanted
)

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
	selectOfOrder  = selectReached + ` AND order_id = $3::text::uuid AND ($4 = '' OR tenant = $4) AND ($5 = '' OR provider = $5)` + selectPage
	selectOrders   = `SELECT id::text, document FROM order_view WHERE id = ANY ($1::text[]::uuid[])`
)

// read gives up to limit of the events that somebody who has joined is interested in: from memory where it has them, else from the
// database. all asks for what the read side has at this moment, not only for what has come into memory.
func (r *reader) read(ctx context.Context, w *waiter, in interest, limit int, all bool) (*page, error) {
	p := &page{scannedTo: in.after}
	err := r.fill(ctx, w, p, in, limit, all)
	if err == nil && in.orders {
		err = r.addOrders(ctx, p, in.who)
	}
	if err != nil {
		return nil, away(err)
	}
	return p, nil
}

func (r *reader) fill(ctx context.Context, w *waiter, p *page, in interest, limit int, all bool) error {
	var found []*told
	var scanned int64
	var ok bool
	if all {
		found, scanned, ok = r.live.after(in.whose, in.filter, in.after, limit, true)
	} else {
		found, scanned, ok = r.live.next(w, in.whose, in.after, limit)
	}
	if ok {
		if seeded.On(seeded.ScannedAhead) {
			scanned = r.live.tip.Position()
		}
		p.add(found, scanned)
		p.more = len(found) == limit
		return nil
	}
	for range scanAtMost {
		batch, reached, err := r.scan(ctx, in.whose, p.scannedTo)
		if err != nil {
			return err
		}
		p.more = len(batch) == scanBatch
		wanted := batch[:0]
		for _, one := range batch {
			if in.filter.Matches(one.notice.Type, one.notice.BusinessType) {
				wanted = append(wanted, one)
			}
		}
		if len(p.told)+len(wanted) >= limit {
			wanted = wanted[:limit-len(p.told)]
			p.more, reached = true, wanted[len(wanted)-1].notice.Position
		}
		p.add(wanted, reached)
		if !p.more || len(p.told) > 0 {
			return nil
		}
	}
	return nil
}

func (p *page) add(found []*told, scanned int64) {
	if p.told == nil {
		p.told = found
	} else {
		p.told = append(p.told, found...)
	}
	// A party that comes from a read node that was further keeps its place until this one is there too.
	p.scannedTo = max(p.scannedTo, scanned)
}

// scan reads a stretch of a party's events from the database, and up to where it goes.
func (r *reader) scan(ctx context.Context, whose party, after int64) (found []*told, reached int64, err error) {
	query, args := selectAll, []any{after, scanBatch}
	switch {
	case whose.order != "":
		query, args = selectOfOrder, append(args, whose.order, whose.tenant, whose.provider)
	case whose.tenant != "":
		query, args = selectTenant, append(args, whose.tenant)
	case whose.provider != "":
		query, args = selectProvider, append(args, whose.provider)
	}
	return readTold(ctx, r.pool, scanBatch, query, args...)
}

// readTold runs a statement of the form of selectAll. The second value is up to where nothing is missing.
func readTold(ctx context.Context, pool *pgxpool.Pool, limit int, query string, args ...any) (found []*told, reached int64, err error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("read timeline: %w", err)
	}
	var position *int64 // null where there is nothing
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&reached, &position, &body}, func() error {
		if position == nil {
			return nil
		}
		one, err := tell(*position, body)
		found = append(found, one)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read timeline: %w", err)
	}
	if len(found) == limit {
		reached = found[limit-1].notice.Position
	}
	return found, reached, nil
}

// addOrders puts to each event its order as it is now: at the event's version or a later one, since views only go forward.
func (r *reader) addOrders(ctx context.Context, p *page, who auth.Identity) error {
	ids := map[string]json.RawMessage{}
	for _, one := range p.told {
		if id := one.notice.Subject; id != "" {
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
	r.live.opened(ctx, ids)
	p.data = make([]json.RawMessage, len(p.told))
	for i, one := range p.told {
		p.data[i] = ids[one.notice.Subject]
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

const selectEvents = `SELECT position, event FROM timeline WHERE position = ANY ($1) ORDER BY position`

// readEvents reads events by their positions. Those that the read side does not have are left out.
func readEvents(ctx context.Context, pool *pgxpool.Pool, at []int64) ([]*told, error) {
	return tellRows(ctx, pool, selectEvents, at)
}

// tellRows reads events by a statement that gives their positions and bodies.
func tellRows(ctx context.Context, pool *pgxpool.Pool, query string, args ...any) ([]*told, error) {
	rows, err := pool.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var found []*told
	var position int64
	var body []byte
	_, err = pgx.ForEachRow(rows, []any{&position, &body}, func() error {
		one, err := tell(position, body)
		found = append(found, one)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return found, nil
}
