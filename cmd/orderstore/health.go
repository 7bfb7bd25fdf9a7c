package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/projection"
)

// probeWithin bounds each question that readiness and lag ask.
const probeWithin = 2 * time.Second

// readiness is what /readyz answers: 200 when every part is ok, 503 otherwise.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // "ok", or what is the matter
}

func (n *node) ready(c echo.Context, _ auth.Identity) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), probeWithin)
	defer cancel()
	asked, err := askedRoles(c.QueryParam("role"), n.roles)
	if err != nil {
		return err
	}
	about := func(roles ...role) bool {
		return slices.ContainsFunc(roles, func(r role) bool { return slices.Contains(asked, r) })
	}
	r := readiness{Ready: true, Parts: map[string]string{}}
	report := func(part, trouble string) {
		if trouble == "" {
			r.Parts[part] = "ok"
			return
		}
		r.Ready, r.Parts[part] = false, trouble
	}
	if about(roleCommand) {
		report("write database", answers(ctx, n.write))
		report("durability", troubleOf(n.guard.Safe()))
		report("log", n.committer.Lost())
	}
	if n.relay != nil && about(roleRelay) {
		report("relay", n.relay.Halted())
	}
	if about(roleProjection, roleQuery, roleBroadcast) {
		n.readyViews(ctx, report)
	}
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(status, r)
}

// askedRoles are the roles that a probe asks about: one of the node's, or all of them.
func askedRoles(name string, has []role) ([]role, error) {
	if name == "" {
		return has, nil
	}
	asked := role(name)
	if !slices.Contains(has, asked) {
		return nil, fault.New(fault.BadParameter, "role must be one that this node has: %v", has)
	}
	return []role{asked}, nil
}

// readyViews says whether the read database answers and its views can be read from. Where the projector is another process, or the
// database a standby, the views tell themselves how far they are.
func (n *node) readyViews(ctx context.Context, report func(part, trouble string)) {
	if pool := cmp.Or(n.read, n.heard, n.views); pool != nil {
		report("read database", answers(ctx, pool))
	}
	if n.projection != nil {
		for _, v := range n.projection.Status() {
			report("view "+v.View, n.viewTrouble(ctx, v.View, v.Position, v.Stopped))
		}
		return
	}
	if n.read == nil {
		return
	}
	known := map[string]stageLag{}
	for _, s := range stages(ctx, n.read, selectViews, 0) {
		known[s.Name] = s
	}
	for _, view := range projection.Views() {
		v := known[view]
		report("view "+view, n.viewTrouble(ctx, view, v.Position, v.Stopped))
	}
}

// viewTrouble says why a view is not to be read from: it is stopped, or it has not caught up since the node started.
func (n *node) viewTrouble(ctx context.Context, view string, position int64, stopped string) string {
	if stopped != "" {
		return "stopped: " + stopped
	}
	if n.caughtUp.has(view) {
		return ""
	}
	end, err := n.end(ctx)
	if err != nil {
		return "catching up: the end of the log is not known"
	}
	if n.caughtUp.reached(view, position, end) {
		return ""
	}
	return fmt.Sprintf("catching up: at %d of %d, %d behind", position, end, end-position)
}

// caughtUpWithin is how many events a view may be behind to count as caught up: under load it is never at the very end.
const caughtUpWithin = 10_000

// caughtUp is which views have caught up since the node started. A view has when it has all that there was when somebody first asked, and
// nearly all that there is: a short log is caught up with to its end, and a long one that grows meanwhile is caught up with at last.
// Views that fall behind later stay: reads that name a position tell. The search, which rests while the others have a backlog, need not
// be near the end: under load it may never be.
type caughtUp struct {
	mu    sync.Mutex
	goal  int64 // the end when it was first known
	known bool
	views map[string]bool
}

func (c *caughtUp) has(view string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.views[view]
}

func (c *caughtUp) reached(view string, position, end int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		c.goal, c.known, c.views = end, true, map[string]bool{}
	}
	near := position >= end-caughtUpWithin || view == projection.OrderSearch
	if position < c.goal || !near {
		return false
	}
	c.views[view] = true
	return true
}

func troubleOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

func answers(ctx context.Context, pool *pgxpool.Pool) string {
	if err := pool.Ping(ctx); err != nil {
		return "does not answer"
	}
	return ""
}

// stageLag is how far one stage is, and how many positions behind the one it copies.
type stageLag struct {
	Name     string `json:"name"`
	Position int64  `json:"position"`
	Lag      int64  `json:"lag"`
	Stopped  string `json:"stopped,omitempty"`
	// Generation is the number of a view's table, Code the version of the view's code that it is made by.
	Generation int64 `json:"generation,omitempty"`
	Code       int   `json:"code,omitempty"`
}

// streamLag also says how the stream is, as far as the relay of this process knows.
type streamLag struct {
	stageLag
	First  int64    `json:"first,omitempty"`  // position it begins with
	Holes  int64    `json:"holes,omitempty"`  // positions that it lacks after that
	Drift  []string `json:"drift,omitempty"`  // settings that are not as wanted and that the broker does not change
	Health string   `json:"health,omitempty"` // what the last comparison with the log came to
}

// lagReport is what /v1/admin/lag answers.
type lagReport struct {
	Log       int64      `json:"log"` // the position that all else is measured against
	Stream    *streamLag `json:"stream,omitempty"`
	Views     []stageLag `json:"views"`
	Auxiliary []stageLag `json:"auxiliary"`
	// Those that are furthest behind, by id.
	Subscriptions []stageLag `json:"subscriptions"`
}

// furthestBehind are active subscriptions, whose position is stored within seconds of their being there.
const furthestBehind = `SELECT s.id::text, p.position, '', 0::bigint, 0 FROM subscriptions s JOIN subscription_positions p ON p.subscription_id = s.id
WHERE s.status = 'active' ORDER BY p.position, s.id LIMIT 20`

const selectViews = `SELECT view, position, stopped, generation, code FROM checkpoints ORDER BY view`

func (n *node) lag(c echo.Context, _ auth.Identity) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), probeWithin)
	defer cancel()
	end, err := n.end(ctx)
	if err != nil {
		return err
	}
	r := lagReport{Log: end, Views: []stageLag{}, Auxiliary: []stageLag{}, Subscriptions: stages(ctx, n.identity, furthestBehind, end)}
	if n.js != nil {
		r.Stream = n.streamLag(ctx, end)
	}
	if n.read != nil {
		r.Views = stages(ctx, n.read, selectViews, end)
	}
	if pool := cmp.Or(n.auxiliary, n.records); pool != nil {
		r.Auxiliary = stages(ctx, pool, `SELECT system, position, CASE WHEN paused THEN 'paused' ELSE stopped END, 0::bigint, 0 FROM checkpoints ORDER BY system`, end)
	}
	return c.JSON(http.StatusOK, r)
}

func (n *node) streamLag(ctx context.Context, end int64) *streamLag {
	s := &streamLag{stageLag: stageLag{Name: stream.Name, Stopped: "does not answer"}}
	if n.relay != nil {
		s.Position = n.relay.Published().Position() // the last that was known of it
	}
	if bounds, err := stream.BoundsOf(ctx, n.js); err == nil {
		s.Position, s.Stopped = bounds.Last, ""
		s.First, s.Holes = bounds.First, bounds.Holes()
	}
	s.Lag = max(end-s.Position, 0)
	if n.relay == nil {
		return s
	}
	if halted := n.relay.Halted(); halted != "" {
		s.Stopped = halted
	}
	s.Drift, s.Health = n.relay.Drift(), n.relay.Health()
	return s
}

// stages reads how far the views or systems of a database are; none when it does not answer.
func stages(ctx context.Context, pool *pgxpool.Pool, sql string, end int64) []stageLag {
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return []stageLag{}
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s stageLag, err error) {
		err = row.Scan(&s.Name, &s.Position, &s.Stopped, &s.Generation, &s.Code)
		s.Lag = max(end-s.Position, 0)
		return s, err
	})
	if err != nil {
		return []stageLag{}
	}
	return found
}
