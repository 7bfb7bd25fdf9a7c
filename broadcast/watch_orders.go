package broadcast

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
)

// Watch streams the events of orders to clients of whom somebody else has found out that they may see them.
type Watch struct{ a *api }

// NewWatch makes it over a read database and its newest events.
func NewWatch(read *pgxpool.Pool, live *Live) *Watch {
	return &Watch{a: &api{reader: &reader{pool: read, live: live}, live: live}}
}

// Order streams what happens to an order: from its beginning, or from a position or Last-Event-ID on. A provider hears of what is about
// its own tasks.
func (w *Watch) Order(c echo.Context, who auth.Identity, order string) error {
	in, err := w.interest(c, who, start{})
	if err != nil {
		return err
	}
	in.whose.order = order
	return w.a.stream(c, in, nil)
}

// Listed tells of some orders, as of a position or later, whether they are in a list. Of those that never can be it says nothing.
type Listed = func(ctx context.Context, orders []string, position int64) (map[string]bool, error)

// Orders streams what happens to a tenant's orders of a list, from now on, or from a position or Last-Event-ID on. A business type that is not
// empty counts for the list. Without listed, it has all of these.
func (w *Watch) Orders(c echo.Context, who auth.Identity, tenant, businessType string, listed Listed) error {
	in, err := w.interest(c, who, start{now: true})
	if err != nil {
		return err
	}
	in.whose = party{tenant: tenant}
	if businessType != "" {
		in.filter.BusinessTypes = []string{businessType}
	}
	withOrders := in.orders
	in.orders = false // only of those that are told of
	return w.a.stream(c, in, func(ctx context.Context, p *page) error {
		if err := p.keep(ctx, listed); err != nil || !withOrders || len(p.told) == 0 {
			return away(err)
		}
		return away(w.a.reader.addOrders(ctx, p, who))
	})
}

// keep leaves of a page the events of orders that are in a list, or may have been.
func (p *page) keep(ctx context.Context, listed Listed) error {
	var orders []string
	seen := map[string]bool{}
	for _, one := range p.told {
		if id := one.notice.Subject; id != "" && !seen[id] {
			seen[id] = true
			orders = append(orders, id)
		}
	}
	if listed != nil && len(orders) > 0 {
		var err error
		if seen, err = listed(ctx, orders, p.told[len(p.told)-1].notice.Position); err != nil {
			return fmt.Errorf("look up the list: %w", err)
		}
	}
	kept := make([]*told, 0, len(p.told)) // the page's own may be shared with others
	p.listed = []bool{}
	for _, one := range p.told {
		if in, ok := seen[one.notice.Subject]; ok && one.notice.Subject != "" {
			kept, p.listed = append(kept, one), append(p.listed, in)
		}
	}
	p.told = kept
	return nil
}

func (w *Watch) interest(c echo.Context, who auth.Identity, otherwise start) (interest, error) {
	in := interest{who: who, whose: partyOf(who)}
	if !mayHear(who) {
		return in, fault.New(fault.Forbidden, "the token names no party")
	}
	begin, given, err := startParams(c)
	if err != nil {
		return in, err
	}
	if in.orders, err = includeParam(c); err != nil {
		return in, err
	}
	if in.filter, err = filterParams(c); err != nil {
		return in, err
	}
	if !given {
		begin = otherwise
	}
	in.after = begin.after
	if begin.now {
		in.after = w.a.live.tip.Position()
	}
	return in, nil
}
