package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
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
WHERE a.asked IS NULL AND a.id < $1 ORDER BY a.id DESC LIMIT $2`
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

func (a *audit) list(c echo.Context, _ auth.Identity) error {
	limit, err := httpapi.LimitParam(c, auditDefault, auditMost)
	if err != nil {
		return err
	}
	before := int64(1<<63 - 1)
	if c.QueryParams().Has("cursor") {
		if err := a.cursor.Open(auditList, auditOwner, c.QueryParam("cursor"), &before); err != nil {
			return err
		}
	}
	rows, err := a.pool.Query(c.Request().Context(), selectAudit, before, limit+1)
	if err != nil {
		return a.away(fmt.Errorf("read the audit trail: %w", err))
	}
	page := struct {
		Items []auditEntry `json:"items"`
		Next  string       `json:"next,omitempty"`
	}{}
	if page.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[auditEntry]); err != nil {
		return a.away(fmt.Errorf("read the audit trail: %w", err))
	}
	for i := range page.Items {
		page.Items[i].At = page.Items[i].At.UTC()
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		page.Next = a.cursor.Seal(auditList, auditOwner, page.Items[limit-1].ID)
	}
	return c.JSON(http.StatusOK, page)
}
