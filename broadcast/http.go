package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
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
	httpapi.SetPosition(c, p.ScannedTo)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, p)
}

// poll answers one who comes anew.
func (a *api) poll(ctx context.Context, in interest, limit int, wait time.Duration) (*page, error) {
	w := a.live.join(in.whose, in.filter)
	defer a.live.leave(in.whose, w)
	return a.await(ctx, w, in, limit, wait, true)
}

// await reads until there is something, or the wait is over. The first look of one who comes anew is at all that the read side has.
func (a *api) await(ctx context.Context, w *waiter, in interest, limit int, wait time.Duration, anew bool) (*page, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for ; ; anew = false {
		p, err := a.reader.read(ctx, in, limit, anew || wait == 0)
		if err != nil || len(p.Events) > 0 || wait == 0 {
			return p, err
		}
		in.after = p.ScannedTo
		if p.more {
			continue
		}
		select {
		case <-w.wake:
		case <-over.C:
			wait = 0 // look once more, so that scanned_to is as of now
		case <-ctx.Done():
			return p, nil
		}
	}
}

// events streams the party's events: from a position, from Last-Event-ID, or from now on.
func (a *api) events(c echo.Context, who auth.Identity) error {
	in, err := a.interestOf(c, who, start{now: true})
	if err != nil {
		return err
	}
	sse, err := httpapi.Stream(c)
	if err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	ctx := c.Request().Context()
	w := a.live.join(in.whose, in.filter)
	defer a.live.leave(in.whose, w)
	for anew := true; ; anew = false {
		p, err := a.await(ctx, w, in, feedLimit, sseBeat, anew)
		if err != nil {
			return err
		}
		if err := send(sse, p); err != nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the client is gone, or no longer allowed to listen
		}
		in.after = p.ScannedTo
	}
}

// send writes a page of events, or a sign of life where there are none.
func send(sse *httpapi.SSE, p *page) error {
	if len(p.Events) == 0 {
		return sse.Comment()
	}
	for i := range p.Events {
		body := p.told[i].json
		if p.Events[i].Data != nil {
			var err error
			if body, err = json.Marshal(&p.Events[i]); err != nil {
				return fmt.Errorf("encode event: %w", err)
			}
		}
		if err := sse.Event(p.Events[i].ID, string(p.Events[i].Type), body); err != nil {
			return err
		}
	}
	return nil
}
