package query

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// access is how the orders of a list are found. Postgres would have to guess how many orders have a value, and how they lie in the list;
// a wrong guess walks through millions. So it is said here: every statement has one plan, whatever the planner believes.
type access struct {
	by     byFacet // whose orders are gone through; its kind is empty where none is
	status bool    // the orders of each status are gone through
	walk   bool    // all orders are gone through in the order of the list, and each is asked for its facets: most have them
	gather bool    // all orders of by are read and sorted: there are few, and they do not lie in the order of the list
}

// fewOrders is how many orders are read and sorted for one page, at most.
const fewOrders = 20_000

// accessOf decides by what the list's orders are found. Where more than one way is open, the orders of each are counted, up to fewOrders.
func (f filter) accessOf(ctx context.Context, db sqlx.QueryerContext, s sorting) (access, error) {
	facets := f.byFacets()
	placed := s.column == "placed_at"
	switch {
	case f.reference != "": // there are as many orders as channels at most
		return access{}, nil
	case len(facets) == 0:
		return access{status: placed && len(f.status) > 0}, nil
	case placed && len(facets) == 1 && len(f.status) == 0:
		return access{by: facets[0]}, nil
	}
	counts, err := f.count(ctx, db, facets)
	if err != nil {
		return access{}, err
	}
	least, status := 0, counts[len(facets)]
	for i := range facets {
		if counts[i] < counts[least] {
			least = i
		}
	}
	switch {
	case placed && len(f.status) > 0 && status < counts[least]:
		return access{status: true}, nil
	case placed:
		return access{by: facets[least]}, nil
	case counts[least] < fewOrders:
		return access{by: facets[least], gather: true}, nil
	}
	return access{walk: true}, nil
}

// count gives how many orders there are of each kind, and of the statuses last; fewOrders stands for more.
func (f filter) count(ctx context.Context, db sqlx.QueryerContext, kinds []byFacet) ([]int64, error) {
	st := &statement{}
	sql := "SELECT unnest(ARRAY["
	for _, by := range kinds {
		sql += "(SELECT count(*) FROM (SELECT FROM order_facets f WHERE f.facet = ANY (" + st.arg(by.facets) + "::bigint[]) LIMIT " + st.arg(fewOrders) + ") x), "
	}
	if len(f.status) > 0 {
		sql += "(SELECT count(*) FROM (SELECT FROM order_view v WHERE v.tenant = " + st.arg(f.tenant) + " AND v.status = ANY (" + st.arg(f.status) +
			"::text[]) LIMIT " + st.arg(fewOrders) + ") x)])"
	} else {
		sql += st.arg(fewOrders) + "::bigint])"
	}
	var counts []int64
	if err := sqlx.SelectContext(ctx, db, &counts, sql, append([]any{planned}, st.args...)...); err != nil {
		return nil, fmt.Errorf("count orders: %w", err)
	}
	return counts, nil
}

// bindPlace adds where the list goes on, for a table that has the sorted column and the id.
func (st *statement) bindPlace(table string, s sorting, after *place) {
	if after != nil {
		st.bind("("+table+"."+s.column+", "+table+".id) "+s.sign()+" (%s, %s)", s.value(after.Value), after.ID)
	}
}

// bindPlaced adds the bounds of the time of placing, for a table that has it, so that its index is read from one to the other.
func (f filter) bindPlaced(table string, st *statement) {
	if !f.from.IsZero() {
		st.bind(table+".placed_at >= %s", f.from)
	}
	if !f.before.IsZero() {
		st.bind(table+".placed_at < %s", f.before)
	}
}

// source is the SQL of the list's first orders, with some of the columns of order_view, which it calls v.
func (f filter) source(st *statement, a access, s sorting, after *place, limit int, columns string) string {
	n := st.arg(limit)
	switch {
	case a.by.kind != "" && a.gather:
		f.bindWithout(a.by.kind, st)
		st.bindPlace("v", s, after)
		return "SELECT " + columns + " FROM (SELECT DISTINCT f.id FROM order_facets f WHERE f.facet = ANY (" + st.arg(a.by.facets) + "::bigint[]) OFFSET 0) f, " +
			"LATERAL (SELECT v.* FROM order_view v WHERE v.id = f.id AND " + st.conditions() + " OFFSET 0) v" + s.by("v") + " LIMIT " + n
	case a.by.kind != "":
		f.bindWithout(a.by.kind, st)
		rest := st.conditions()
		st.bind("f.facet = k.facet")
		f.bindPlaced("f", st)
		st.bindPlace("f", s, after)
		each := "SELECT " + columns + " FROM (SELECT f.placed_at, f.id FROM order_facets f WHERE " + st.conditions() + s.by("f") + " OFFSET 0) f, " +
			"LATERAL (SELECT v.* FROM order_view v WHERE v.id = f.id AND " + rest + " OFFSET 0) v" + s.by("f") + " LIMIT " + n
		return "SELECT v.* FROM unnest(" + st.arg(a.by.facets) + "::bigint[]) AS k (facet), LATERAL (" + each + ") v" + s.by("v") + " LIMIT " + n
	case a.status:
		f.bindWithout(kindStatus, st)
		st.bind("v.status = k.status")
		st.bindPlace("v", s, after)
		each := "SELECT " + columns + " FROM order_view v WHERE " + st.conditions() + s.by("v") + " LIMIT " + n
		return "SELECT v.* FROM unnest(" + st.arg(f.status) + "::text[]) AS k (status), LATERAL (" + each + ") v" + s.by("v") + " LIMIT " + n
	}
	st.probe = a.walk
	f.bind(st, s, after)
	return "SELECT " + columns + " FROM order_view v WHERE " + st.conditions() + s.by("v") + " LIMIT " + n
}
