package query

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// sorting is an order in which a list can be had; the id decides between equals, in the same direction.
type sorting struct {
	column string
	down   bool
}

// sortingOf reads ?sort=: the only names that become part of a statement, and they are ours.
func sortingOf(c echo.Context) (sorting, error) {
	switch value := c.QueryParam("sort"); value {
	case "", "-placed_at":
		return sorting{"placed_at", true}, nil
	case "placed_at":
		return sorting{"placed_at", false}, nil
	case "-updated_at":
		return sorting{"updated_at", true}, nil
	case "updated_at":
		return sorting{"updated_at", false}, nil
	case "-total":
		return sorting{"total", true}, nil
	case "total":
		return sorting{"total", false}, nil
	}
	return sorting{}, fault.New(fault.BadParameter, "sort must be one of placed_at, updated_at, total, each also with - before it")
}

func (s sorting) direction() string {
	if s.down {
		return "DESC"
	}
	return "ASC"
}

func (s sorting) sign() string {
	if s.down {
		return "<"
	}
	return ">"
}

// by is the ORDER BY of the list, for a table that has its columns.
func (s sorting) by(table string) string {
	return " ORDER BY " + table + "." + s.column + " " + s.direction() + ", " + table + ".id " + s.direction()
}

// listed is what is read of each order of a list.
const listed = "v.id, v.placed_at, v.updated_at, v.total, v.document"

func (f filter) statement(a access, s sorting, after *place, limit int) (string, []any) {
	st := &statement{}
	orders := f.source(st, a, s, after, limit, listed)
	sql := "SELECT c.checkpoint, c.generation, " + listedText + " FROM (" + st.selectSeen(f.views()) + ") c LEFT JOIN LATERAL (" + orders + ") v ON true" + s.by("v")
	return sql, append([]any{planned}, st.args...)
}

// listedText is listed as it is answered.
const listedText = "v.id::text, v.placed_at, v.updated_at, v.total, v.document"

// listRow is an order of a list, or the lack of one, with the position at which that was so.
type listRow struct {
	Checkpoint *int64     `db:"checkpoint"`
	Generation int64      `db:"generation"`
	Walked     int        `db:"walked"` // orders that were looked through for a text
	ID         *string    `db:"id"`
	PlacedAt   *time.Time `db:"placed_at"`
	UpdatedAt  *time.Time `db:"updated_at"`
	Total      *int64     `db:"total"`
	Document   []byte     `db:"document"`
}

func (r listRow) place(s sorting) place {
	p := place{ID: *r.ID}
	switch s.column {
	case "total":
		p.Value = *r.Total
	case "updated_at":
		p.Value = r.UpdatedAt.UnixMicro()
	default:
		p.Value = r.PlacedAt.UnixMicro()
	}
	return p
}

// orderPage is a part of the list.
type orderPage struct {
	seen       int64
	generation int64 // of the tables, all together
	items      [][]byte
	last       place
	more       bool
	// estimate is about how many orders the whole list has; nil where nobody asked.
	estimate *int64
}

func readOrders(ctx context.Context, db sqlx.QueryerContext, f filter, s sorting, after *place, limit int) (orderPage, error) {
	a, err := f.accessOf(ctx, db, s)
	if err != nil {
		return orderPage{}, err
	}
	if f.text != "" {
		return searchOrders(ctx, db, f, a, s, after, limit)
	}
	sql, args := f.statement(a, s, after, limit+1)
	var rows []listRow
	if err := sqlx.SelectContext(ctx, db, &rows, sql, args...); err != nil {
		return orderPage{}, fmt.Errorf("list orders: %w", err)
	}
	return pageOf(rows, s, limit), nil
}

// pageOf makes a page of the rows that were read, of which one more than the limit means that there is another page.
func pageOf(rows []listRow, s sorting, limit int) orderPage {
	var page orderPage
	for _, row := range rows {
		if row.Checkpoint != nil {
			page.seen, page.generation = *row.Checkpoint, row.Generation
		}
		if row.ID == nil {
			continue
		}
		if len(page.items) == limit {
			page.more = true
			break
		}
		page.items, page.last = append(page.items, row.Document), row.place(s)
	}
	return page
}

// tenantOf is whose orders are listed: a client that is not of one tenant has to name it.
func tenantOf(c echo.Context, s scope) (string, error) {
	named := c.QueryParam("tenant")
	switch {
	case s.tenant != "" && named != "" && named != s.tenant:
		return "", fault.New(fault.BadParameter, "tenant is not the client's own")
	case s.tenant != "":
		return s.tenant, nil
	case !httpapi.ValidID(named):
		return "", fault.New(fault.BadParameter, "tenant has to be named")
	}
	return named, nil
}

// listRequest is what a list of orders is asked with.
type listRequest struct {
	filter   filter
	sorting  sorting
	limit    int
	after    *place
	fields   disclose.Fields // nil: all
	estimate bool
	wanted   wanted
}

// list and owner are to whom a cursor belongs.
func (r *listRequest) list() string  { return r.filter.name(r.sorting) }
func (r *listRequest) owner() string { return scope{tenant: r.filter.tenant}.owner() }

// filterFor reads which orders are listed, and for whom. Besides the filter's parameters the resource may have others.
func filterFor(c echo.Context, who auth.Identity, others ...string) (filter, error) {
	if err := onlyKnownOf(c, severalParams(), append(append(filterParams(), "tenant"), others...)...); err != nil {
		return filter{}, err
	}
	own, err := scopeOf(who)
	if err != nil {
		return filter{}, err
	}
	tenant, err := tenantOf(c, own)
	if err != nil {
		return filter{}, err
	}
	return filterOf(c, tenant)
}

func (q *queries) listRequestOf(c echo.Context, who auth.Identity) (listRequest, error) {
	var r listRequest
	var err error
	if r.filter, err = filterFor(c, who, "sort", "limit", "cursor", "fields", "estimate"); err != nil {
		return r, err
	}
	r.filter = q.marked(r.filter)
	if r.sorting, err = sortingOf(c); err != nil {
		return r, err
	}
	if r.limit, err = httpapi.LimitParam(c, defaultLimit, maxLimit); err != nil {
		return r, err
	}
	if r.fields, err = fieldsOf(c); err != nil {
		return r, err
	}
	if r.estimate, err = flag(c, "estimate"); err != nil {
		return r, err
	}
	if r.after, err = q.placeOf(c, r.list(), r.owner()); err != nil {
		return r, err
	}
	r.wanted, err = wantedOf(c)
	return r, err
}

func (q *queries) listOrders(c echo.Context, who auth.Identity) error {
	r, err := q.listRequestOf(c, who)
	if err != nil {
		return err
	}
	var page orderPage
	tags := tagsOf(c, r.owner())
	err = q.fresh(c, r.wanted, listTimeout, r.filter.views(), func(ctx context.Context) (int64, error) {
		seen, same, err := tags.unchanged(ctx, q, r.filter.views())
		if err != nil || same {
			page.seen = seen
			return seen, err
		}
		page, err = q.readPage(ctx, &r)
		q.cfg.Cache.read(page.seen)
		return page.seen, err
	})
	if err != nil {
		return err
	}
	next := ""
	if page.more {
		next = q.cfg.Cursor.Seal(r.list(), r.owner(), page.last)
	}
	return tags.answer(page.seen, page.generation, listBodyWith(page.items, next, page.estimate))
}

// readPage reads a page with all that was asked for.
func (q *queries) readPage(ctx context.Context, r *listRequest) (orderPage, error) {
	page, err := readOrders(ctx, q.db, r.filter, r.sorting, r.after, r.limit)
	if err != nil {
		return page, err
	}
	q.cfg.Keys.OpenAll(ctx, page.items)
	for i := range page.items {
		if page.items[i], err = disclose.Select(page.items[i], r.fields); err != nil {
			return page, fmt.Errorf("select fields: %w", err)
		}
	}
	switch {
	case !r.estimate:
	case r.after == nil && !page.more:
		n := int64(len(page.items)) // that is all of them
		page.estimate = &n
	default:
		page.estimate, err = r.filter.estimate(ctx, q.db)
	}
	return page, err
}

func (q *queries) placeOf(c echo.Context, list, owner string) (*place, error) {
	if !c.QueryParams().Has("cursor") {
		return nil, nil
	}
	var p place
	if err := q.openCursor(c, list, owner, &p); err != nil {
		return nil, err
	}
	if _, err := uuid.Parse(p.ID); err != nil {
		return nil, fault.New(fault.BadCursor, "the cursor does not belong to this list")
	}
	return &p, nil
}
