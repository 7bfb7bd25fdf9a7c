package query

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// orderStatuses are the statuses that the list can be filtered by.
func orderStatuses() []string {
	return []string{
		"routed", "processing", "partially_completed", "completed", "unrouted", "action_required", "rejected", "cancelled", "expired",
	}
}

const (
	maxReference = 256 // characters of an external_ref
	maxText      = 200 // characters of a text to search for
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

// filter is which orders are listed. What is empty does not count.
type filter struct {
	tenant       string
	status       []string
	channel      string
	businessType string
	region       string
	reference    string
	currency     string
	from, before time.Time
	text         string // folded
}

func (q *queries) filterOf(c echo.Context, tenant string) (filter, error) {
	f := filter{tenant: tenant}
	var errs [9]error
	f.status, errs[0] = many(c, "status", orderStatuses())
	f.channel, errs[1] = one(c, "channel", httpapi.ValidName)
	f.businessType, errs[2] = one(c, "business_type", httpapi.ValidName)
	f.region, errs[3] = one(c, "region", isRegion)
	f.currency, errs[4] = one(c, "currency", isCurrency)
	f.reference, errs[5] = text(c, "external_ref", maxReference)
	f.from, errs[6] = moment(c, "created_after")
	f.before, errs[7] = moment(c, "created_before")
	f.text, errs[8] = text(c, "text", maxText)
	for _, err := range errs {
		if err != nil {
			return f, err
		}
	}
	f.text = searchtext.Fold(f.text)
	return f, nil
}

func (f filter) views() []string {
	if f.text != "" {
		return []string{viewOrders, viewSearch}
	}
	return []string{viewOrders}
}

// name is the filter in a form that is the same for the same filter: a cursor belongs to it.
func (f filter) name(s sorting) string {
	return fmt.Sprintf("orders %s %s %q %q %q %q %q %q %s %s %q", s.column, s.direction(), f.status, f.channel, f.businessType,
		f.region, f.reference, f.currency, stamp(f.from), stamp(f.before), f.text)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return strconv.FormatInt(t.UnixMicro(), 10)
}

// place is where a list goes on: after the order with this id and this value of the sorted column, a time in microseconds or an
// amount.
type place struct {
	Value int64  `json:"v"`
	ID    string `json:"i"`
}

// statement is a list's SQL, put together from constants; every value is bound.
type statement struct {
	where []string
	args  []any
}

// bind adds a condition; each %s in it stands for one of the values.
func (st *statement) bind(condition string, values ...any) {
	names := make([]any, len(values))
	for i, value := range values {
		names[i] = st.arg(value)
	}
	st.where = append(st.where, fmt.Sprintf(condition, names...))
}

// arg binds a value and gives the name by which the SQL calls it.
func (st *statement) arg(value any) string {
	st.args = append(st.args, value)
	return "$" + strconv.Itoa(len(st.args))
}

func (st *statement) conditions() string { return strings.Join(st.where, " AND ") }

// selectSeen is the position that all the views which a list is made from reflect.
func (st *statement) selectSeen(views []string) string {
	return "SELECT min(position) AS checkpoint, coalesce(sum(generation), 0)::bigint AS generation FROM checkpoints WHERE view = ANY (" + st.arg(views) + ")"
}

// listed is what is read of each order of a list.
const listed = "v.id::text, v.placed_at, v.updated_at, v.total, v.document"

// by is the ORDER BY of the list.
func (s sorting) by() string {
	return " ORDER BY v." + s.column + " " + s.direction() + ", v.id " + s.direction()
}

func (f filter) statement(s sorting, after *place, limit int) (string, []any) {
	st := &statement{}
	f.bind(st, s, after)
	sql := "SELECT c.checkpoint, c.generation, " + listed + " FROM (" + st.selectSeen([]string{viewOrders}) + ") c LEFT JOIN LATERAL (" +
		"SELECT * FROM order_view v WHERE " + st.conditions() + s.by() + " LIMIT " + st.arg(limit) + ") v ON true" + s.by()
	return sql, append([]any{planned}, st.args...)
}

// value is what a place's value is in the database.
func (s sorting) value(v int64) any {
	if s.column == "total" {
		return v
	}
	return time.UnixMicro(v).UTC()
}

// bind adds the conditions on order_view.
func (f filter) bind(st *statement, s sorting, after *place) {
	st.bind("v.tenant = %s", f.tenant)
	switch len(f.status) {
	case 0:
	case 1:
		st.bind("v.status = %s", f.status[0])
	default:
		st.bind("v.status = ANY (%s)", f.status)
	}
	for _, equal := range []struct{ column, value string }{
		{"channel", f.channel},
		{"business_type", f.businessType},
		{"region", f.region},
		{"external_ref", f.reference},
		{"currency", f.currency},
	} {
		if equal.value != "" {
			st.bind("v."+equal.column+" = %s", equal.value)
		}
	}
	if !f.from.IsZero() {
		st.bind("v.placed_at >= %s", f.from)
	}
	if !f.before.IsZero() {
		st.bind("v.placed_at < %s", f.before)
	}
	if after != nil {
		st.bind("(v."+s.column+", v.id) "+s.sign()+" (%s, %s)", s.value(after.Value), after.ID)
	}
}

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
}

func readOrders(ctx context.Context, db sqlx.QueryerContext, f filter, s sorting, after *place, limit int) (orderPage, error) {
	if f.text != "" {
		return searchOrders(ctx, db, f, s, after, limit)
	}
	sql, args := f.statement(s, after, limit+1)
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

func (q *queries) listOrders(c echo.Context, who auth.Identity) error {
	err := onlyKnown(c, "status", "tenant", "channel", "business_type", "region", "external_ref", "currency", "created_after",
		"created_before", "text", "sort", "limit", "cursor")
	if err != nil {
		return err
	}
	own, err := scopeOf(who)
	if err != nil {
		return err
	}
	tenant, err := tenantOf(c, own)
	if err != nil {
		return err
	}
	f, err := q.filterOf(c, tenant)
	if err != nil {
		return err
	}
	s, err := sortingOf(c)
	if err != nil {
		return err
	}
	limit, err := httpapi.LimitParam(c, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	list, owner := f.name(s), scope{tenant: tenant}.owner()
	after, err := q.placeOf(c, list, owner)
	if err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	var page orderPage
	tags := tagsOf(c, owner)
	err = q.fresh(c, w, listTimeout, f.views(), func(ctx context.Context) (int64, error) {
		seen, same, err := tags.unchanged(ctx, q, f.views())
		if err != nil || same {
			page.seen = seen
			return seen, err
		}
		page, err = readOrders(ctx, q.db, f, s, after, limit)
		q.cfg.Cache.read(page.seen)
		return page.seen, err
	})
	if err != nil {
		return err
	}
	next := ""
	if page.more {
		next = q.cfg.Cursor.Seal(list, owner, page.last)
	}
	return tags.answer(page.seen, page.generation, listBody(page.items, next))
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
