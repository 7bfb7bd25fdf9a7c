package broadcast

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	feedLimit   = 500              // events in one answer, at most
	feedWait    = 30 * time.Second // longest long poll
	sseBeat     = 15 * time.Second // between signs of life
	includeName = "order"
)

// Deps is what the routes work with.
type Deps struct {
	Pool *pgxpool.Pool // of the read database
	Hub  *Hub
	Tip  Tip // of the timeline
}

// Routes are the routes by which parties hear events.
func Routes(d Deps) []httpapi.Route {
	a := &api{reader: &reader{pool: d.Pool}, hub: d.Hub, tip: d.Tip}
	kinds := []auth.Kind{auth.KindUser, auth.KindProvider, auth.KindAuxiliary}
	return []httpapi.Route{
		{Method: http.MethodGet, Path: "/v1/feed", Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassStream, Handler: a.feed},
		{Method: http.MethodGet, Path: "/v1/events", Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassStream, Handler: a.events},
	}
}

type api struct {
	reader *reader
	hub    *Hub
	tip    Tip
}

// asked is what a listener asks for.
type asked struct {
	after  int64
	orders bool
}

// askedOf reads from where the listener wants to hear, and whether with orders. given is false when it names no position.
func askedOf(c echo.Context, names ...string) (want asked, given bool, err error) {
	for _, raw := range []string{c.QueryParam("after"), c.Request().Header.Get("Last-Event-ID")} {
		if raw == "" {
			continue
		}
		p, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || p < 0 {
			return want, true, fault.New(fault.BadParameter, "after and Last-Event-ID must be positions: integers from 0")
		}
		want.after, given = max(want.after, p), true
	}
	switch include := c.QueryParam("include"); include {
	case "":
	case includeName:
		want.orders = true
	default:
		return want, given, fault.New(fault.BadParameter, "include must be %q", includeName)
	}
	for name := range c.QueryParams() {
		if !known(name, names) {
			return want, given, fault.New(fault.BadParameter, "%q is not a parameter here", name)
		}
	}
	return want, given, nil
}

func known(name string, names []string) bool {
	for _, n := range append(names, "after", "include") {
		if n == name {
			return true
		}
	}
	return false
}

// feed answers with the party's events after a position; with none there, it waits for some.
func (a *api) feed(c echo.Context, who auth.Identity) error {
	want, _, err := askedOf(c, "wait", "limit")
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
	if !mayHear(who) {
		return fault.New(fault.Forbidden, "the token names no party")
	}
	p, err := a.await(c.Request().Context(), who, want, limit, wait)
	if err != nil {
		return err
	}
	httpapi.SetPosition(c, p.ScannedTo)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, p)
}

// await reads until there is something, or the wait is over.
func (a *api) await(ctx context.Context, who auth.Identity, want asked, limit int, wait time.Duration) (*page, error) {
	whose := partyOf(who)
	w := a.hub.join(whose)
	defer a.hub.leave(whose, w)
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		p, err := a.reader.read(ctx, who, want.after, limit, want.orders)
		if err != nil || len(p.Events) > 0 || wait == 0 {
			return p, err
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
	want, given, err := askedOf(c)
	if err != nil {
		return err
	}
	if !mayHear(who) {
		return fault.New(fault.Forbidden, "the token names no party")
	}
	if !given {
		want.after = a.tip.Position()
	}
	sse, err := httpapi.Stream(c)
	if err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	ctx := c.Request().Context()
	for {
		p, err := a.await(ctx, who, want, feedLimit, sseBeat)
		if err != nil {
			return err
		}
		if err := send(sse, p); err != nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the client is gone, or no longer allowed to listen
		}
		want.after = max(want.after, p.ScannedTo)
	}
}

// send writes a page of events, or a sign of life where there are none.
func send(sse *httpapi.SSE, p *page) error {
	if len(p.Events) == 0 {
		return sse.Comment()
	}
	for i := range p.Events {
		body, err := json.Marshal(&p.Events[i])
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		if err := sse.Event(p.Events[i].ID, string(p.Events[i].Type), body); err != nil {
			return err
		}
	}
	return nil
}
