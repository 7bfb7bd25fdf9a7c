package broadcast

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	feedLimit   = 500              // events in one answer, at most
	feedWait    = 30 * time.Second // longest long poll
	sseBeat     = 15 * time.Second // between signs of life
	includeName = "order"
)

// Deps is what the routes work with.
type Deps struct {
	Write  *pgxpool.Pool // the primary: subscriptions and the log
	Read   *pgxpool.Pool // the read database
	Live   *Live
	Cursor *httpapi.Cursor
	Now    func() time.Time

	Guard   *webhook.Guard  // says where webhooks may go
	Sender  *webhook.Sender // makes test requests
	Changed func()          // is told that subscriptions have changed; nil: nobody is
}

// Routes are the routes by which parties hear events and say what they want to hear.
func Routes(d Deps) []httpapi.Route {
	a := &api{
		reader: &reader{pool: d.Read, live: d.Live}, live: d.Live, log: d.Write, store: NewSubscriptionStore(d.Write),
		cursor: d.Cursor, now: d.Now, guard: d.Guard, sender: d.Sender, changed: d.Changed,
	}
	if a.changed == nil {
		a.changed = func() {}
	}
	kinds := []auth.Kind{auth.KindUser, auth.KindProvider, auth.KindAuxiliary}
	return append([]httpapi.Route{
		{Method: http.MethodGet, Path: "/v1/feed", Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassStream, Handler: a.feed},
		{Method: http.MethodGet, Path: "/v1/events", Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassStream, Handler: a.events},
	}, a.subscriptionRoutes()...)
}

type api struct {
	reader *reader
	live   *Live
	log    *pgxpool.Pool
	store  *SubscriptionStore
	cursor *httpapi.Cursor
	now    func() time.Time

	guard   *webhook.Guard
	sender  *webhook.Sender
	changed func()
}

// feed answers with the party's events after a position; with none there, it waits for some.
func (a *api) feed(c echo.Context, who auth.Identity) error {
	if err := a.reach(c); err != nil {
		return err
	}
	in, err := a.interestOf(c, who, start{}, "wait", "limit")
	if err != nil {
		return err
	}
	limit, err := httpapi.LimitParam(c, feedLimit, feedLimit)
	if err != nil {
		return err
	}
	wait, err := httpapi.WaitParam(c, 0, feedWait)
	if err != nil {
		return err
	}
	p, err := a.poll(c.Request().Context(), in, limit, wait)
	if err != nil {
		return err
	}
	httpapi.SetPosition(c, p.scannedTo)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSONBlob(http.StatusOK, p.body())
}

// listener is one who waits for events.
type listener struct {
	a     *api
	in    interest
	w     *waiter
	over  *time.Timer
	asked bool // it has looked before
	goes  bool // it goes on and on: what the end of a wait does not show comes soon
}

// listen joins those who wait. leave it when done.
func (a *api) listen(in interest) *listener {
	l := &listener{a: a, in: in, w: a.live.join(in.whose, in.filter), over: time.NewTimer(time.Hour)}
	l.over.Stop()
	return l
}

func (l *listener) leave() {
	l.over.Stop()
	l.a.live.leave(l.in.whose, l.w)
}

// poll answers one who comes anew.
func (a *api) poll(ctx context.Context, in interest, limit int, wait time.Duration) (*page, error) {
	l := a.listen(in)
	defer l.leave()
	return l.await(ctx, limit, wait)
}

// await reads until there is something, or the wait is over, and goes on behind it. The first look is at all that the read side has.
func (l *listener) await(ctx context.Context, limit int, wait time.Duration) (*page, error) {
	for waiting := false; ; {
		p, err := l.a.reader.read(ctx, l.w, l.in, limit, !l.asked || wait == 0 && !l.goes)
		if err != nil {
			return nil, err
		}
		l.asked, l.in.after = true, p.scannedTo
		if len(p.told) > 0 || wait == 0 {
			return p, nil
		}
		if p.more {
			continue
		}
		if !waiting {
			waiting = true
			l.over.Reset(wait)
		}
		select {
		case <-l.w.wake:
		case <-l.over.C:
			wait = 0 // look once more, so that scanned_to is as of now
		case <-ctx.Done():
			return p, nil
		}
	}
}

// events streams the party's events: from a position, from Last-Event-ID, or from now on.
func (a *api) events(c echo.Context, who auth.Identity) error {
	if err := a.reach(c); err != nil { // before "now" is looked up
		return err
	}
	in, err := a.interestOf(c, who, start{now: true})
	if err != nil {
		return err
	}
	return a.stream(c, in, nil)
}

// stream sends events for as long as the client listens and may. judge, where there is one, leaves of a page what is wanted.
func (a *api) stream(c echo.Context, in interest, judge func(context.Context, *page) error) error {
	sse, err := httpapi.Stream(c)
	if err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	ctx := c.Request().Context()
	l := a.listen(in)
	defer l.leave()
	l.goes = true
	for sent := time.Now(); ; {
		p, err := l.await(ctx, feedLimit, sseBeat)
		if err == nil && judge != nil && len(p.told) > 0 {
			if err = judge(ctx, p); err == nil && len(p.told) == 0 && time.Since(sent) < sseBeat {
				continue
			}
		}
		if err != nil {
			return err
		}
		if err := send(sse, p); err != nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the client is gone, or no longer allowed to listen
		}
		sent = time.Now()
	}
}

// send writes a page of events, or a sign of life where there are none.
func send(sse *httpapi.SSE, p *page) error {
	if len(p.told) == 0 {
		return sse.Comment()
	}
	for i, one := range p.told {
		if err := sse.Add(one.notice.ID, string(one.notice.Type), p.event(i)); err != nil {
			return err
		}
	}
	return sse.Flush()
}
