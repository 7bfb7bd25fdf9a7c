package playhub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	feedLimit = 500
	feedWait  = 30 * time.Second // longest long poll
	sseBeat   = 10 * time.Second // between signs of life
	listLimit = 200
)

// routes are those of the read side, and of the tokens.
func (h *hub) routes() []httpapi.Route {
	providers, get := []auth.Kind{auth.KindProvider}, http.MethodGet
	return []httpapi.Route{
		{Method: http.MethodPost, Path: "/oauth/token", Public: true, Handler: h.giveToken},
		{Method: get, Path: "/v1/orders/:id", Scope: auth.ScopeOrdersRead, Handler: h.getOrder},
		{Method: get, Path: "/v1/tasks", Scope: auth.ScopeTasksRead, Kinds: providers, Handler: h.listTasks},
		{Method: get, Path: "/v1/feed", Scope: auth.ScopeOrdersRead, Kinds: providers, Handler: h.feed},
		{Method: get, Path: "/v1/events", Scope: auth.ScopeOrdersRead, Kinds: providers, Handler: h.events},
	}
}

// visible is an order as a party may see it; nil for none of it. The lock is held.
func (h *hub) visible(id string, who auth.Identity) (document []byte, version int64, err error) {
	stored, ok := h.documents[id]
	if !ok {
		return nil, 0, nil
	}
	version = h.order(id).Version
	if who.Kind != auth.KindProvider {
		return stored, version, nil
	}
	cut, ok, err := disclose.Order(slices.Clone(stored), who.Provider)
	if err != nil || !ok {
		return nil, 0, err
	}
	h.pulls = append(h.pulls, pull{at: h.now(), order: id, version: version})
	return cut, version, nil
}

// reached refuses a read that asks for a position which nobody was told of.
func (h *hub) reached(c echo.Context) error {
	wanted, err := httpapi.PositionParam(c)
	if err != nil {
		return err
	}
	at := int64(0)
	h.look(func() { at = h.position })
	httpapi.SetPosition(c, at)
	if wanted > at {
		return fault.New(fault.NotReached, "position %d is not reached yet", wanted).Retry(time.Second)
	}
	return nil
}

func (h *hub) getOrder(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	if err := h.reached(c); err != nil {
		return err
	}
	var document []byte
	var version int64
	h.look(func() { document, version, err = h.visible(id.String(), who) })
	if err != nil {
		return err
	}
	if document == nil {
		return fault.New(fault.NotFound, "there is no such order")
	}
	if httpapi.NotModified(c, etag(version)) {
		return nil
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, document)
}

// inboxTask is a task with the position at which its order can be pulled.
type inboxTask struct {
	*events.Task
	OrderPosition int64 `json:"order_position"`
}

// listTasks gives the inbox. Its cursor is the last task's id.
func (h *hub) listTasks(c echo.Context, _ auth.Identity) error {
	if err := h.reached(c); err != nil {
		return err
	}
	limit, err := httpapi.LimitParam(c, 50, listLimit)
	if err != nil {
		return err
	}
	wanted, after := c.QueryParams()["status"], c.QueryParam("cursor")
	items, next := []inboxTask{}, ""
	h.look(func() {
		for id := range h.documents {
			order := h.order(id)
			for i := range order.Tasks {
				t := &order.Tasks[i]
				if t.ID > after && (len(wanted) == 0 || slices.Contains(wanted, string(t.Status))) {
					items = append(items, inboxTask{t, h.position})
				}
			}
		}
	})
	slices.SortFunc(items, func(a, b inboxTask) int { return compareText(a.ID, b.ID) })
	if len(items) > limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	return c.JSON(http.StatusOK, struct {
		Items []inboxTask `json:"items"`
		Next  string      `json:"next,omitempty"`
	}{items, next})
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// page is an answer of the feed.
type page struct {
	Events    []events.Notice `json:"events"`
	ScannedTo int64           `json:"scanned_to"`
}

// listener is what somebody who listens asked for.
type listener struct {
	after  int64
	given  bool // after was
	orders bool
	limit  int
	wait   time.Duration
}

func listenerOf(c echo.Context) (l listener, err error) {
	for _, raw := range []string{c.QueryParam("after"), c.Request().Header.Get("Last-Event-ID")} {
		if raw == "" {
			continue
		}
		p, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || p < 0 {
			return l, fault.New(fault.BadParameter, "after and Last-Event-ID must be positions: integers from 0")
		}
		l.after, l.given = max(l.after, p), true
	}
	l.orders = c.QueryParam("include") == "order"
	if l.limit, err = httpapi.LimitParam(c, feedLimit, feedLimit); err != nil {
		return l, err
	}
	l.wait, err = httpapi.WaitParam(c, 0, feedWait)
	return l, err
}

func (h *hub) feed(c echo.Context, who auth.Identity) error {
	l, err := listenerOf(c)
	if err != nil {
		return err
	}
	p, err := h.await(c.Request().Context(), l, who)
	if err != nil {
		return err
	}
	httpapi.SetPosition(c, p.ScannedTo)
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, p)
}

// await reads until there is something to tell, or the wait is over.
func (h *hub) await(ctx context.Context, l listener, who auth.Identity) (p *page, err error) {
	waiting, cancel := context.WithTimeout(ctx, l.wait)
	defer cancel()
	h.until(waiting, func() bool {
		p, err = h.read(l, who)
		return err != nil || len(p.Events) > 0
	})
	return p, err
}

// read gives what is to be told after a position, and what is to be told again. The lock is held.
func (h *hub) read(l listener, who auth.Identity) (*page, error) {
	p := &page{Events: []events.Notice{}, ScannedTo: max(h.position, l.after)}
	for _, n := range h.notices {
		n, mine := h.notice(n)
		if !mine || n.Position <= l.after {
			continue
		}
		if len(p.Events) == l.limit {
			p.ScannedTo = p.Events[l.limit-1].Position
			break
		}
		p.Events = append(p.Events, n)
	}
	for len(h.again) > 0 && len(p.Events) < l.limit {
		p.Events, h.again = append(p.Events, h.again[0]), h.again[1:]
	}
	for i := range p.Events {
		n := &p.Events[i]
		h.told[n.Position]++
		if !l.orders || n.Subject == "" {
			continue
		}
		document, _, err := h.visible(n.Subject, who)
		if err != nil {
			return p, err
		}
		n.Data = document
	}
	if len(p.Events) > 0 {
		h.change()
	}
	return p, nil
}

// events streams what is told: from a position, or from now on.
func (h *hub) events(c echo.Context, who auth.Identity) error {
	l, err := listenerOf(c)
	if err != nil {
		return err
	}
	if !l.given {
		h.look(func() { l.after = h.position })
	}
	l.wait = sseBeat
	sse, err := httpapi.Stream(c)
	if err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	ctx := c.Request().Context()
	for ctx.Err() == nil {
		p, err := h.await(ctx, l, who)
		if err != nil {
			return err
		}
		if err := h.send(sse, p); err != nil {
			return nil //nolint:nilerr // the client is gone
		}
		l.after = max(l.after, p.ScannedTo)
	}
	return nil
}

func (h *hub) send(sse *httpapi.SSE, p *page) error {
	if len(p.Events) == 0 {
		return sse.Comment()
	}
	for i := range p.Events {
		body, err := json.Marshal(&p.Events[i])
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		if err := sse.Event(p.Events[i].ID, string(p.Events[i].Type), h.dress(body)); err != nil {
			return err
		}
	}
	return nil
}
