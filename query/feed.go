package query

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// mostTold is how many events are looked through at once for the orders that they change. Behind more the cache starts over.
const mostTold = 20_000

// viewAt is where a view is, in which of its tables, on which server.
type viewAt struct {
	position   int64
	generation int64
	digest     []byte
	server     server
}

// server tells one server from another, and from itself before it was started anew or became the primary.
type server struct {
	started string
	standby bool
}

// feed tells a cache of the orders that another process changes in the read database. The timeline has every event by its position, so
// that what is new in it names the orders that changed, and a missing one shows.
type feed struct {
	pool             *pgxpool.Pool
	cache            *OrderCache
	told             int64 // the position that the cache was told of last
	orders, timeline viewAt
	live             bool
}

func newFeed(pool *pgxpool.Pool, cache *OrderCache) *feed {
	if cache == nil {
		return nil
	}
	return &feed{pool: pool, cache: cache}
}

// lost has the cache forget everything.
func (f *feed) lost() {
	if f == nil || !f.live {
		return
	}
	f.live = false
	f.cache.Lost()
}

// tell tells what changed since the last time. The cache starts over where that cannot be known.
func (f *feed) tell(ctx context.Context, orders, timeline viewAt) error {
	if f == nil {
		return nil
	}
	reached := min(orders.position, timeline.position)
	if f.live && !f.follows(orders, timeline, reached) {
		f.lost()
	}
	if f.live && reached > f.told {
		whole, err := f.changes(ctx, reached)
		if err != nil {
			return err
		}
		if !whole {
			f.lost()
		}
	}
	f.orders, f.timeline, f.told, f.live = orders, timeline, reached, true
	f.cache.Reached(reached)
	return nil
}

// follows says whether the views went on from where they were: the same tables of the same server, a few events further.
func (f *feed) follows(orders, timeline viewAt, reached int64) bool {
	return orders.from(f.orders) && timeline.from(f.timeline) && reached >= f.told && reached-f.told <= mostTold
}

// from says whether this may be a later place of the same table, with nothing else between.
func (a viewAt) from(before viewAt) bool {
	if a.server != before.server || a.generation != before.generation || a.position < before.position {
		return false
	}
	return a.position > before.position || bytes.Equal(a.digest, before.digest)
}

const selectChanged = `SELECT position, order_id FROM timeline WHERE position > $1 AND position <= $2 ORDER BY position`

// changes tells of each event up to a position. It is not whole where an event is missing: the timeline was emptied meanwhile, or it is
// another server's.
func (f *feed) changes(ctx context.Context, reached int64) (whole bool, err error) {
	rows, err := f.pool.Query(ctx, selectChanged, f.told, reached)
	if err != nil {
		return false, fmt.Errorf("read changes: %w", err)
	}
	var position int64
	var id pgtype.UUID
	next := f.told + 1
	_, err = pgx.ForEachRow(rows, []any{&position, &id}, func() error {
		if position == next {
			next++
		}
		if id.Valid {
			f.cache.Changing([][16]byte{id.Bytes}, position)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("read changes: %w", err)
	}
	return next == reached+1, nil
}
