package projection

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// facetRow is all of an order's rows of order_facets, as they are or as they have to be.
type facetRow struct {
	facets        string
	first, latest int64 // placed_at of the rows, which is one time: microseconds since 1970
}

func facetRowOf(o *changed) facetRow {
	at := o.order.PlacedAt.UnixMicro()
	return facetRow{facets: fmt.Sprint(facetsOf(o.order, o.order.Tasks)), first: at, latest: at}
}

const (
	selectFacetRows = `
SELECT id::text, array_agg(facet ORDER BY facet), min(placed_at), max(placed_at) FROM order_facets`
	groupFacetRows = ` GROUP BY id`
)

func (c *comparison) facetRows(ctx context.Context, keep func(string, storedRow)) error {
	rows, err := c.v.tx.Query(ctx, selectFacetRows+inPass("id")+groupFacetRows, c.p.of, c.p.part)
	if err != nil {
		return err
	}
	var id string
	var facets []int64
	var first, latest time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &facets, &first, &latest}, func() error {
		keep(id, rowOf(0, facetRow{fmt.Sprint(facets), first.UnixMicro(), latest.UnixMicro()}, nil))
		return nil
	})
	return err
}

// facets compares an order's rows. They do not say what changed them last, so that is the order's last event.
func (c *comparison) facets(id string, want *changed) {
	if have, ok := c.stored[OrderFacets][id]; ok {
		have.position = want.position
		c.stored[OrderFacets][id] = have
	}
	c.row(OrderFacets, id, rowOf(want.position, facetRowOf(want), nil))
}
