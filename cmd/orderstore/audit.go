package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	auditPath     = 1024 // bytes of a path that are kept
	auditDefault  = 50
	auditMost     = 200
	outcomeWithin = 5 * time.Second
	auditList     = "admin audit"
	auditOwner    = "operator"
	insertAsked   = `INSERT INTO admin_audit (at, client_id, method, path, request_id) VALUES ($1, $2, $3, $4, $5) RETURNING id`
	insertOutcome = `INSERT INTO admin_audit (asked, at, client_id, method, path, request_id, status) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	selectAudit   = `
SELECT a.id, a.at, a.client_id, a.method, a.path, a.request_id, o.status
FROM admin_audit a LEFT JOIN admin_audit o ON o.asked = a.id
WHERE a.asked IS NULL AND a.id < $1 AND ($3 = '' OR a.client_id = $3) AND starts_with(a.path, $4) AND a.at >= $5
ORDER BY a.id DESC LIMIT $2`
)

// audit writes down who does what through the admin API.
type audit struct {
	pool   *pgxpool.Pool
	log    *slog.Logger
	now    func() time.Time
	cursor *httpapi.Cursor
}

// auditEntry is one request. Its status is absent while it is answered, and where nobody knows what came of it.
type auditEntry struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	ClientID  string    `json:"client_id"`
	Method    string    `json:"method"`
	Path      string    `json:"path"`
	RequestID string    `json:"request_id"`
	Status    *int      `json:"status,omitempty"`
}

// around makes every admin write leave its trace. Nothing is done that could not be written down before.
func (a *audit) around(routes []httpapi.Route) []httpapi.Route {
	for i, r := range routes {
		if r.Scope != auth.ScopeAdmin || r.Method == http.MethodGet {
			continue
		}
		routes[i].Handler = func(c echo.Context, who auth.Identity) error { return a.traced(c, who, r.Handler) }
	}
	return routes
}

func (a *audit) traced(c echo.Context, who auth.Identity, handle httpapi.Handler) error {
	req := c.Request()
	path := req.URL.EscapedPath()
	e := auditEntry{
		At: a.now(), ClientID: who.ClientID, Method: req.Method, Path: path[:min(len(path), auditPath)], RequestID: httpapi.RequestID(c),
	}
	err := a.pool.QueryRow(req.Context(), insertAsked, e.At, e.ClientID, e.Method, e.Path, e.RequestID).Scan(&e.ID)
	if err != nil {
		return a.away(fmt.Errorf("write down what is asked: %w", err))
	}
	err = handle(c, who)
	status := c.Response().Status
	if err != nil {
		status, _ = httpapi.ProblemOf(err)
	}
	a.outcome(req.Context(), e, status)
	return err
}

// outcome outlives the client's patience: what was done was done.
func (a *audit) outcome(ctx context.Context, e auditEntry, status int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outcomeWithin)
	defer cancel()
	if _, err := a.pool.Exec(ctx, insertOutcome, e.ID, a.now(), e.ClientID, e.Method, e.Path, e.RequestID, status); err != nil {
		a.log.WarnContext(ctx, "the outcome of an admin request is not written down", "audit_id", e.ID, "error", err)
	}
}

func (a *audit) away(err error) error {
	if postgres.IsUnavailable(err) {
		return fault.Wrap(err, fault.Unavailable, "the audit trail is not there at the moment")
	}
	return err
}

// route lists the trail, the newest first.
func (a *audit) route() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/admin/audit", Scope: auth.ScopeAdmin, Kinds: []auth.Kind{auth.KindOperator},
		Class: httpapi.ClassList, Handler: a.list,
	}
}

// auditFilter is which requests are listed.
type auditFilter struct {
	client string
	path   string // as it begins
	since  time.Time
}

func auditFilterOf(c echo.Context) (auditFilter, error) {
	f := auditFilter{client: c.QueryParam("client_id"), path: c.QueryParam("path")}
	for name, values := range c.QueryParams() {
		if !slices.Contains([]string{"client_id", "path", "since", "limit", "cursor"}, name) || len(values) > 1 {
			return f, fault.New(fault.BadParameter, "%q is no parameter of this resource, or given twice", name)
		}
	}
	if f.client != "" && !httpapi.ValidID(f.client) {
		return f, fault.New(fault.BadParameter, "client_id is not a valid value")
	}
	if f.path != "" && (f.path[0] != '/' || len(f.path) > auditPath || !printable(f.path)) {
		return f, fault.New(fault.BadParameter, "path must be how a path begins, such as /v1/admin/clients")
	}
	if raw := c.QueryParam("since"); raw != "" {
		at, err := time.Parse(time.RFC3339, raw)
		if err != nil || at.Year() < 1 || at.Year() > 9999 {
			return f, fault.New(fault.BadParameter, "since must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
		}
		f.since = at.UTC()
	}
	return f, nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// name tells the filter's list from all others: a cursor belongs to it.
func (f auditFilter) name() string {
	return fmt.Sprintf("%s %q %q %d", auditList, f.client, f.path, f.since.UnixMicro())
}

func (a *audit) list(c echo.Context, _ auth.Identity) error {
	limit, err := httpapi.LimitParam(c, auditDefault, auditMost)
	if err != nil {
		return err
	}
	f, err := auditFilterOf(c)
	if err != nil {
		return err
	}
	before := int64(1<<63 - 1)
	if c.QueryParams().Has("cursor") {
		if err := a.cursor.Open(f.name(), auditOwner, c.QueryParam("cursor"), &before); err != nil {
			return err
		}
	}
	page := struct {
		Items []auditEntry `json:"items"`
		Next  string       `json:"next,omitempty"`
	}{}
	if page.Items, err = a.read(c.Request().Context(), f, before, limit+1); err != nil {
		return a.away(err)
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		page.Next = a.cursor.Seal(f.name(), auditOwner, page.Items[limit-1].ID)
	}
	return c.JSON(http.StatusOK, page)
}

func (a *audit) read(ctx context.Context, f auditFilter, before int64, most int) ([]auditEntry, error) {
	rows, err := a.pool.Query(ctx, selectAudit, before, most, f.client, f.path, f.since)
	if err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	entries, err := pgx.CollectRows(rows, pgx.RowToStructByPos[auditEntry])
	if err != nil {
		return nil, fmt.Errorf("read the audit trail: %w", err)
	}
	for i := range entries {
		entries[i].At = entries[i].At.UTC()
	}
	return entries, nil
}
