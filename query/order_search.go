package query

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/orderstore/orderstore/internal/searchtext"
)

// walkLimit is how many orders are looked through one by one at first. What one order in fifty has fills a page by then, and the index
// would give a large part of all orders, to be sorted for that one page; what is rarer is what the index is for. Postgres cannot tell the
// two apart: it takes the pieces of a word for independent of each other.
const walkLimit = 2500

// longestWalk is how many are looked through at most, when the first ones let expect that they fill the page. What is met less often than
// that is in so few orders, even of five million, that the index gives them as soon.
const longestWalk = 40_000

// searchOrders gives a page of the orders that have a text.
func searchOrders(ctx context.Context, db sqlx.QueryerContext, f filter, a access, s sorting, after *place, limit int) (orderPage, error) {
	var rows []listRow
	for walk := walkLimit; walk > 0; {
		rows = nil
		sql, args := f.walk(a, s, after, limit+1, walk)
		if err := sqlx.SelectContext(ctx, db, &rows, sql, args...); err != nil {
			return orderPage{}, fmt.Errorf("look through orders: %w", err)
		}
		if len(rows) > limit || len(rows) > 0 && rows[0].Walked < walk {
			return pageOf(rows, s, limit), nil
		}
		walk = nextWalk(walk, hitsOf(rows), limit+1)
	}
	rows = nil
	sql, args := f.lookup(s, after, limit+1)
	if err := sqlx.SelectContext(ctx, db, &rows, sql, args...); err != nil {
		return orderPage{}, fmt.Errorf("search orders: %w", err)
	}
	return pageOf(rows, s, limit), nil
}

// nextWalk is how many orders to look through for a page, after so many in which there were some hits; 0: rather ask the index.
func nextWalk(walked, hits, page int) int {
	if hits == 0 {
		return 0
	}
	next := walked * page / hits * 5 / 4
	if next > longestWalk {
		return 0
	}
	return next
}

// hitsOf counts the orders among rows: where there is none, a row tells the position alone.
func hitsOf(rows []listRow) int {
	hits := 0
	for i := range rows {
		if rows[i].ID != nil {
			hits++
		}
	}
	return hits
}

// found is the rest of both statements: the documents of the hits, with the position that they reflect.
func (f filter) found(st *statement, s sorting, walked string) string {
	return " SELECT c.checkpoint, c.generation, " + walked + " AS walked, " + listedText + " FROM (" + st.selectSeen(f.views()) +
		") c LEFT JOIN (SELECT v.* FROM hits h JOIN order_view v ON v.id = h.id) v ON true" + s.by("v")
}

// walk takes so many of the list's first orders and keeps those that have the text.
func (f filter) walk(a access, s sorting, after *place, limit, walked int) (string, []any) {
	st := &statement{}
	sql := "WITH walked AS MATERIALIZED (" + f.source(st, a, s, after, walked, "v.id, v."+s.column) +
		"), hits AS MATERIALIZED (SELECT v.id FROM walked v JOIN order_search s ON s.id = v.id WHERE s.search LIKE " +
		st.arg(searchtext.Contains(f.text)) + s.by("v") + " LIMIT " + st.arg(limit) + ")" + f.found(st, s, "(SELECT count(*) FROM walked)")
	return sql, append([]any{planned}, st.args...)
}

// grams are what the index is asked for. A text of one or two letters has nothing to ask it for.
func (f filter) grams() []int32 { return searchtext.QueryGrams(f.tenant, f.text) }

// forIndex are the arguments of the functions of the database that ask the index. They are the database's, because a role that is shown
// some rows alone cannot use that index itself.
func (f filter) forIndex(st *statement) string {
	return st.arg(f.tenant) + ", " + st.arg(f.grams()) + "::int[], " + st.arg(searchtext.Contains(f.text)) + ")"
}

// lookup asks the index for all orders that have the text, and takes the list's first of them. Where there is nothing to ask it for, all of
// the tenant's orders are looked through, as long as the time for a page allows.
func (f filter) lookup(s sorting, after *place, limit int) (string, []any) {
	st := &statement{}
	with, matching := "WITH ", "matching s ON s.id = v.id"
	if len(f.grams()) > 0 {
		with += "matching AS MATERIALIZED (SELECT id FROM search_orders('order_search', " + f.forIndex(st) + " AS id), "
	} else {
		matching = "order_search s ON s.id = v.id AND s.search LIKE " + st.arg(searchtext.Contains(f.text))
	}
	f.bind(st, s, after)
	sql := with + "hits AS MATERIALIZED (SELECT v.id FROM order_view v JOIN " + matching + " WHERE " + st.conditions() + s.by("v") +
		" LIMIT " + st.arg(limit) + ")" + f.found(st, s, "0")
	return sql, append([]any{planned}, st.args...)
}
