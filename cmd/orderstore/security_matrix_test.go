package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/broadcast"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/query"
)

// mounted are the route tables, which say who may do what.
func mounted() []httpapi.Route {
	return slices.Concat(
		command.Routes(nil, nil), command.ErasureRoutes(nil), query.Routes(query.Config{Watch: broadcast.NewWatch(nil, nil)}), broadcast.Routes(broadcast.Deps{}), (&node{}).operations(), []httpapi.Route{(&audit{}).route()},
		auxiliary.Routes(auxiliary.RouteDeps{}), auxiliary.OperateRoutes(auxiliary.OperateDeps{}), auxiliary.NoticeRoutes(auxiliary.NoticeDeps{}),
	)
}

// validBody is a body that a route takes; what is not named takes {}.
func validBody(route string) string {
	switch route {
	case "PATCH /v1/orders/:id":
		return `{"shipping":1}`
	case "POST /v1/tasks/:id/reject", "POST /v1/tasks/:id/hold":
		return `{"reason_code":"x"}`
	case "POST /v1/tasks/:id/result":
		return `{"result_id":"r","outcome":"completed"}`
	case "POST /v1/tasks/:id/delegate":
		return `{"business_type":"hotel"}`
	case "POST /v1/subscriptions/:id/seek", "POST /v1/subscriptions/:id/ack":
		return `{"position":1}`
	case "POST /v1/orders/:id/returns":
		return `{"return_id":"r","lines":[{"line_id":"1","quantity":1}]}`
	case "PATCH /v1/subscriptions/:id":
		return `{"name":"renamed"}`
	case "PUT /v1/orders/:id/auxiliary/:system/:record_id":
		return `{"kind":"note","revision":1,"schema_version":1,"payload":{}}`
	}
	return `{}`
}

// pathOf fills a route's parameters in: with what belongs to the tenant demo, or with what there is not.
func (d *doors) pathOf(route httpapi.Route, exists bool) string {
	id := nobodysID
	if exists {
		switch {
		case strings.HasPrefix(route.Path, "/v1/tasks"):
			id = d.placed.Tasks[0].ID
		case strings.HasPrefix(route.Path, "/v1/subscriptions"):
			id = d.subscription
			if slices.ContainsFunc([]string{"rotate-secret", "test", "replay", "deliveries", "dead-letters"}, func(s string) bool { return strings.HasSuffix(route.Path, s) }) {
				id = d.webhook
			}
		default:
			id = d.placed.ID
		}
	}
	parts := strings.Split(route.Path, "/")
	for i, part := range parts {
		switch {
		case part == ":id":
			parts[i] = id
		case part == ":system":
			parts[i] = "erp"
		case strings.HasPrefix(part, ":"):
			parts[i] = "x1"
		}
	}
	return strings.Join(parts, "/")
}

// try asks a route; of a stream it reads the head alone.
func (d *doors) try(route httpapi.Route, token, path string) httpAnswer {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	var body io.Reader
	if route.Method != http.MethodGet {
		body = strings.NewReader(validBody(route.Method + " " + route.Path))
	}
	req, err := http.NewRequestWithContext(ctx, route.Method, d.at.HTTP+path, body)
	require.NoError(d.t, err)
	req.Header.Set("If-Match", "*")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err, "%s %s", route.Method, path)
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode < 300 {
		return httpAnswer{status: answer.StatusCode}
	}
	read, err := io.ReadAll(answer.Body)
	require.NoError(d.t, err)
	return httpAnswer{answer.StatusCode, string(read)}
}

// kindOf is the kind of each identity that is tried.
func kindOf(who string) auth.Kind {
	return auth.Kind(who[strings.LastIndex(who, " ")+1:])
}

// everyRouteAndIdentity: the tables say what each identity may; the running program answers so.
func everyRouteAndIdentity(d *doors) {
	narrow := map[string]string{}
	for who, scopes := range map[string][2]string{
		"user": {"orders:read", "orders:write"}, "provider": {"tasks:read", "results:write"}, "auxiliary": {"orders:read", "auxiliary:write"},
	} {
		for _, scope := range scopes {
			narrow[who+" "+scope] = d.narrow(who, scope)
		}
	}
	strangers, owners := 0, 0
	for _, route := range mounted() {
		name := route.Method + " " + route.Path
		path := d.pathOf(route, true)
		if route.Public {
			require.Less(d.t, d.try(route, "", path).status, 400, name)
			continue
		}
		require.Equal(d.t, http.StatusUnauthorized, d.try(route, "", path).status, "%s: nobody", name)
		for who, token := range d.tokens {
			if !slices.Contains(route.Kinds, kindOf(who)) {
				require.Equal(d.t, http.StatusForbidden, d.try(route, token, path).status, "%s: %s", name, who)
			}
		}
		for who, token := range narrow {
			kind, scope, _ := strings.Cut(who, " ")
			if slices.Contains(route.Kinds, auth.Kind(kind)) && scope != route.Scope {
				require.Equal(d.t, http.StatusForbidden, d.try(route, token, path).status, "%s: %s alone", name, who)
			}
		}
		strangers += d.strangersSeeNothing(route)
		owners += d.ownerSees(route)
	}
	require.Greater(d.t, strangers, 30)
	require.Greater(d.t, owners, 5, "what is hidden from strangers is there")
}

// strangersSeeNothing: what belongs to another is answered as what there is not.
func (d *doors) strangersSeeNothing(route httpapi.Route) int {
	d.t.Helper()
	if !strings.Contains(route.Path, "/:id") || slices.Contains(route.Kinds, auth.KindOperator) && len(route.Kinds) == 1 {
		return 0
	}
	n := 0
	for _, who := range []string{"other user", "other provider", "other auxiliary"} {
		if !slices.Contains(route.Kinds, kindOf(who)) {
			continue
		}
		there, missing := d.try(route, d.tokens[who], d.pathOf(route, true)), d.try(route, d.tokens[who], d.pathOf(route, false))
		require.Equal(d.t, http.StatusNotFound, there.status, "%s %s: %s: %s", route.Method, route.Path, who, there.body)
		require.Equal(d.t, missing, there, "%s %s: %s", route.Method, route.Path, who)
		n++
	}
	return n
}

// ownerSees reads what strangers were refused, where there is such a thing already.
func (d *doors) ownerSees(route httpapi.Route) int {
	d.t.Helper()
	if route.Method != http.MethodGet || !strings.Contains(route.Path, "/:id") || !slices.Contains(route.Kinds, auth.KindUser) ||
		strings.HasSuffix(route.Path, "/invoice") || strings.HasSuffix(route.Path, "/credit-note") || strings.HasPrefix(route.Path, "/v1/customers") {
		return 0
	}
	require.Equal(d.t, http.StatusOK, d.try(route, d.tokens["user"], d.pathOf(route, true)).status, "%s: its owner", route.Path)
	return 1
}
