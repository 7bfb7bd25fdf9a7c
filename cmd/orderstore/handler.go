package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/internal/telemetry"
	"github.com/orderstore/orderstore/query"
	"github.com/orderstore/orderstore/web"
)

// endWithin bounds the question where log and stream end.
const endWithin = time.Second

// handler mounts the routes of the node's roles.
func (n *node) handler(ctx context.Context) (http.Handler, error) {
	requests := telemetry.NewRequests(n.registry)
	e, err := httpapi.New(httpapi.Config{
		Log: n.log, TrustedProxies: n.cfg.TrustedProxies, Observe: requests.Observe,
	})
	if err != nil {
		return nil, err
	}
	cursors, err := auth.Secret(ctx, n.identity, "cursor")
	if err != nil {
		return nil, err
	}
	routes, err := n.routes(cursors)
	if err != nil {
		return nil, err
	}
	n.newAdmission().Mount(e, n.authn, routes)
	return e, nil
}

// routes are all that the node answers. The document of the API has every one of them.
func (n *node) routes(cursors []byte) ([]httpapi.Route, error) {
	documents, err := web.Routes()
	if err != nil {
		return nil, err
	}
	records, err := n.recordRoutes()
	if err != nil {
		return nil, err
	}
	routes := slices.Concat(httpapi.AuthRoutes(n.issuer), documents, records)
	if n.has(roleCommand) {
		routes = slices.Concat(routes, command.Routes(n.committer, n.clients), command.SigningKeyRoutes(n.clients), command.ErasureRoutes(n.eraser))
	} else {
		routes = append(routes, elsewhere(slices.Concat(command.Routes(nil, nil), command.SigningKeyRoutes(nil), command.ErasureRoutes(nil)))...)
	}
	if n.has(roleQuery) {
		routes = append(routes, query.Routes(query.Config{
			Read: n.read, Auxiliary: n.auxiliary, Positions: n.positions(), End: n.end, Cursor: httpapi.NewCursor(cursors),
			Watch: broadcast.NewWatch(n.read, n.live), Cache: n.orders, Keys: n.keys, Outside: newOutsiders(n.clients, time.Now).of,
		})...)
	}
	if n.has(roleBroadcast) {
		routes = append(routes, broadcast.Routes(broadcast.Deps{
			Write: n.subscribed, Read: n.heard, Live: n.live, Cursor: httpapi.NewCursor(cursors), Now: time.Now,
			Guard: n.webhooks.guard, Sender: n.webhooks.sender, Changed: n.webhooks.dispatcher.Changed,
		})...)
	}
	trail := &audit{pool: n.identity, log: n.log, now: time.Now, cursor: httpapi.NewCursor(cursors)}
	return trail.around(append(append(routes, n.operations()...), trail.route())), nil
}

// elsewhere stands for the routes of a role that the node has not. Without it, a 404 would read as if there were no such order.
func elsewhere(routes []httpapi.Route) []httpapi.Route {
	var all []httpapi.Route
	for _, r := range routes {
		if r.Public { // the same on every node
			all = append(all, r)
			continue
		}
		all = append(all, httpapi.Route{Method: r.Method, Path: r.Path, Public: true, Handler: func(c echo.Context, _ auth.Identity) error {
			c.Response().Header().Set(echo.HeaderAllow, "GET, HEAD")
			return fault.New(fault.MethodNotAllowed, "this node only reads: send it to one with the role %s", roleCommand)
		}})
	}
	return all
}

// newAdmission sheds what the node cannot take, and shows it in the metrics.
func (n *node) newAdmission() *httpapi.Admission {
	refusals := telemetry.NewRefusals(n.registry)
	cfg := httpapi.AdmissionConfig{Refused: func(c httpapi.Class) { refusals.Count(c.String()) }, Limiter: n.limiter}
	if n.committer != nil {
		cfg.Pressure = n.committer.Pressure
		telemetry.Gauge(n.registry, "orderstore_command_pressure",
			"How long a command would wait for its round, as a part of the longest wait; commands are refused above 1.", n.committer.Pressure)
	}
	a := httpapi.NewAdmission(cfg)
	for _, class := range httpapi.Classes() {
		telemetry.ClassGauge(n.registry, class.String(), func() float64 { return float64(a.UnderWay(class)) })
	}
	return a
}

// positions tell how far the views are, and let requests wait for them.
func (n *node) positions() query.Positions {
	if n.poller != nil {
		return n.poller
	}
	return query.Tips(n.tip)
}

// tip is how far a view is, nil for one that there is not.
func (n *node) tip(view string) *stream.Tip { return n.viewTips[view] }

// end is the last position there is: the log's, or the stream's while the primary is away.
func (n *node) end(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	position, _, err := stream.NewLog(n.identity).Head(ctx)
	if err == nil {
		return position, nil
	}
	if n.js == nil {
		return 0, fmt.Errorf("end of the log: %w", err)
	}
	bounds, err := stream.BoundsOf(ctx, n.js)
	if err != nil {
		return 0, fmt.Errorf("end of the stream: %w", err)
	}
	return bounds.Last, nil
}

// operations are the routes by which a node is watched.
func (n *node) operations() []httpapi.Route {
	return []httpapi.Route{
		{Method: http.MethodGet, Path: "/healthz", Public: true, Handler: func(c echo.Context, _ auth.Identity) error {
			return c.JSON(http.StatusOK, map[string]string{"status": "ok", "version": version})
		}},
		{Method: http.MethodGet, Path: "/readyz", Public: true, Handler: n.ready},
		{Method: http.MethodGet, Path: "/v1/admin/lag", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator}, Handler: n.lag},
	}
}
