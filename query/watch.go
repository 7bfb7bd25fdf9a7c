package query

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// Watch streams the events of orders to clients that may see them.
type Watch interface {
	// Order streams those of one order.
	Order(c echo.Context, who auth.Identity, order string) error
	// Orders streams those of a tenant's orders in a list, of one business type unless that is empty: listed tells of some orders, as of
	// a position or later, whether they are in it, and nothing of those that never can be. Without listed, all are.
	Orders(c echo.Context, who auth.Identity, tenant, businessType string,
		listed func(ctx context.Context, orders []string, position int64) (map[string]bool, error)) error
}

// watchRoutes are the live counterparts of an order and of the list, where the node has events.
func (q *queries) watchRoutes(everybody, lists []auth.Kind) []httpapi.Route {
	if q.cfg.Watch == nil {
		return nil
	}
	return []httpapi.Route{
		{Method: http.MethodGet, Path: "/v1/orders/watch", Scope: auth.ScopeOrdersRead, Kinds: lists, Class: httpapi.ClassStream, Handler: q.watchOrders},
		{Method: http.MethodGet, Path: "/v1/orders/:id/watch", Scope: auth.ScopeOrdersRead, Kinds: everybody, Class: httpapi.ClassStream, Handler: q.watchOrder},
	}
}

// watchOrder is for whom the order itself is.
func (q *queries) watchOrder(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	if err := onlyKnown(c, "", "include", "after", "start", "types"); err != nil {
		return err
	}
	s, err := scopeOf(who)
	if err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	var o order
	read := func(ctx context.Context) (int64, error) {
		var err error
		o, err = q.readOrder(ctx, id, s, include{})
		return o.seen, err
	}
	views := include{}.views(s)
	err = q.fresh(c, w, readTimeout, views, read)
	if err == nil && !o.found {
		err = q.certain(c, w, readTimeout, views, read)
	}
	if err != nil {
		return err
	}
	header(c, o.seen)
	if !o.found {
		return notFound()
	}
	return q.cfg.Watch.Order(c, who, id.String())
}

// watchOrders streams what happens to the orders of a list, and whether they are in it then.
func (q *queries) watchOrders(c echo.Context, who auth.Identity) error {
	f, err := filterFor(c, who, "include", "after", "start", "types")
	if err != nil {
		return err
	}
	f = q.marked(f)
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	err = q.fresh(c, w, listTimeout, f.views(), func(ctx context.Context) (int64, error) {
		var seen int64
		err := sqlx.GetContext(ctx, q.db, &seen, `SELECT coalesce(min(position), 0) FROM checkpoints WHERE view = ANY ($1)`, f.views())
		return seen, err
	})
	if err != nil {
		return err
	}
	all, businessType := sorting{column: "placed_at"}, ""
	if len(f.businessTypes) == 1 {
		businessType = f.businessTypes[0]
	}
	if f.name(all) == (filter{tenant: f.tenant, businessTypes: valueOf(businessType)}).name(all) {
		return q.cfg.Watch.Orders(c, who, f.tenant, businessType, nil) // the events themselves say that
	}
	list, leave := q.lists.join(f.tenant + " " + f.name(all))
	defer leave()
	return q.cfg.Watch.Orders(c, who, f.tenant, businessType, func(ctx context.Context, orders []string, position int64) (map[string]bool, error) {
		return list.listed(ctx, orders, position, func(ctx context.Context) (map[string]bool, error) {
			return q.listed(ctx, f, orders, position)
		})
	})
}

// fixed is the part of a filter that an order matches for ever or never.
func (f filter) fixed() filter {
	return filter{
		tenant: f.tenant, channels: f.channels, businessTypes: f.businessTypes, regions: f.regions, reference: f.reference, currency: f.currency,
		from: f.from, before: f.before,
	}
}

// verdict is whether an order is in a list.
type verdict struct {
	Checkpoint *int64  `db:"checkpoint"`
	ID         *string `db:"id"`
	Listed     *bool   `db:"listed"`
}

// listed looks up which of some orders are in a list, once the views are at a position.
func (q *queries) listed(ctx context.Context, f filter, orders []string, position int64) (map[string]bool, error) {
	select {
	case q.looking <- struct{}{}: // who waits for long asks about more events at once then
		defer func() { <-q.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	sql, args := f.verdicts(orders)
	for {
		if err := q.reach(ctx, position, f.views()); err != nil {
			return nil, err
		}
		var rows []verdict
		if err := sqlx.SelectContext(ctx, q.db, &rows, sql, args...); err != nil {
			return nil, unavailable(ctx, fmt.Errorf("match orders: %w", err))
		}
		found := map[string]bool{}
		for _, row := range rows {
			if row.ID != nil {
				found[*row.ID] = row.Listed != nil && *row.Listed
			}
		}
		if len(rows) > 0 && rows[0].Checkpoint != nil && *rows[0].Checkpoint >= position {
			return found, nil
		}
		pause(ctx, recheck)
	}
}

// verdicts is a statement over orders that the fixed part of the filter has, with whether the rest has them too.
func (f filter) verdicts(orders []string) (string, []any) {
	st := &statement{}
	f.fixed().bind(st, sorting{}, nil)
	st.bind("v.id = ANY (%s::text[]::uuid[])", orders)
	possible := st.conditions()
	f.bind(st, sorting{}, nil)
	if f.text != "" {
		st.bind("EXISTS (SELECT FROM order_search s WHERE s.id = v.id AND s.search LIKE %s)", searchtext.Contains(f.text))
	}
	sql := "SELECT c.checkpoint, v.id::text, v.listed FROM (" + st.selectSeen(f.views()) + ") c LEFT JOIN (SELECT v.id, (" + st.conditions() +
		") AS listed FROM order_view v WHERE " + possible + ") v ON true"
	return sql, append([]any{planned}, st.args...)
}

// lookingAtOnce is how many statements of watched lists run at once: all lists together must not take the read side from who reads.
const lookingAtOnce = 4

// watchedLists are the lists that clients watch. Those who watch the same one ask the same of the same events: it is looked up once.
type watchedLists struct {
	mu    sync.Mutex
	lists map[string]*watchedList
}

type watchedList struct {
	watchers int // guarded by the lists' lock

	mu     chan struct{} // holds one while nobody looks
	orders string        // what was asked last
	at     int64
	answer map[string]bool
}

func (w *watchedLists) join(name string) (*watchedList, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.lists[name]
	if list == nil {
		list = &watchedList{mu: make(chan struct{}, 1)}
		list.mu <- struct{}{}
		if w.lists == nil {
			w.lists = map[string]*watchedList{}
		}
		w.lists[name] = list
	}
	list.watchers++
	return list, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if list.watchers--; list.watchers == 0 {
			delete(w.lists, name)
		}
	}
}

// listed gives the last answer to the same question, or asks.
func (l *watchedList) listed(ctx context.Context, orders []string, position int64, ask func(context.Context) (map[string]bool, error)) (map[string]bool, error) {
	slices.Sort(orders)
	question := strings.Join(orders, " ")
	select {
	case <-l.mu:
		defer func() { l.mu <- struct{}{} }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.orders == question && l.at == position {
		return l.answer, nil
	}
	answer, err := ask(ctx)
	if err == nil {
		l.orders, l.at, l.answer = question, position, answer
	}
	return answer, err
}
