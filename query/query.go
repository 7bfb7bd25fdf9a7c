// Package query is the read side's HTTP routes. It answers from the views of a read database and, where asked, from the
// auxiliary database; it writes nothing and knows no event: what it answers are the bytes that the projection stored.
package query

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jackc/puddle/v2"
	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

// The views that are read here. A view's name is that of its table and of its checkpoint.
const (
	viewOrders   = "order_view"
	viewSearch   = "order_search"
	viewTasks    = "task_inbox"
	viewTimeline = "timeline"
	viewFacets   = "order_facets"
	viewCatalog  = "catalog"
)

const (
	defaultWait  = 2 * time.Second  // for a position, unless told
	maxWait      = 30 * time.Second // however long was told
	readTimeout  = 3 * time.Second  // of one read by key
	listTimeout  = 5 * time.Second  // of one page of a list
	retryAfter   = time.Second
	defaultLimit = 50
	maxLimit     = 200
)

// Config is what the routes read from.
type Config struct {
	Read      *pgxpool.Pool
	Auxiliary *pgxpool.Pool // nil: there is none, and orders come without its records, marked
	// Outside names the systems of others that are a tenant's and write records about its orders; nil: those alone count that did. It
	// answers at once, with what it knew last where it cannot know.
	Outside func(ctx context.Context, tenant string) []string
	// Positions tells how far the views of Read are.
	Positions Positions
	// End gives the last position that the stream or the log has. Without a token, nobody is told that an order does not
	// exist before the view has reached it.
	End    func(ctx context.Context) (int64, error)
	Cursor *httpapi.Cursor
	Watch  Watch // nil: nothing can be watched here
	// Cache keeps orders of Read. Who gives Positions also tells it of changes. nil: every order is read from Read.
	Cache *OrderCache
	// Keys open what is sealed in the views, at the last moment. nil: nothing is.
	Keys *customerkeys.Keys
	Now  func() time.Time // nil: time.Now
}

// queries answers the routes.
type queries struct {
	cfg       Config
	db        *sqlx.DB
	auxiliary *auxiliary
	turns     *turns
	stockEnd  stockEnd
	exports   chan struct{} // holds one for each export under way
	looking   chan struct{} // holds one for each statement of a watched list
	lists     watchedLists
}

// Routes are the read side's routes.
func Routes(cfg Config) []httpapi.Route {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	q := &queries{
		cfg: cfg, db: open(cfg.Read), auxiliary: newAuxiliary(cfg.Auxiliary, cfg.Now), exports: make(chan struct{}, exportsAtOnce),
		looking: make(chan struct{}, lookingAtOnce), turns: newTurns(listTurns, ownTurns, ownWaiting),
	}
	everybody := []auth.Kind{auth.KindUser, auth.KindProvider, auth.KindAuxiliary, auth.KindOperator}
	lists := []auth.Kind{auth.KindUser, auth.KindAuxiliary, auth.KindOperator}
	return append([]httpapi.Route{
		q.exportRoute(lists),
		{Method: http.MethodGet, Path: "/v1/orders", Scope: auth.ScopeOrdersRead, Kinds: lists, Class: httpapi.ClassList, Handler: q.inTurn(q.listOrders)},
		{Method: http.MethodGet, Path: "/v1/orders/:id", Scope: auth.ScopeOrdersRead, Kinds: everybody, Handler: q.getOrder},
		{Method: http.MethodGet, Path: "/v1/orders/:id/timeline", Scope: auth.ScopeOrdersRead, Kinds: everybody, Handler: q.getTimeline},
		{Method: http.MethodGet, Path: "/v1/tasks", Scope: auth.ScopeTasksRead, Kinds: []auth.Kind{auth.KindProvider}, Class: httpapi.ClassList, Handler: q.inTurn(q.listTasks)},
	}, slices.Concat(q.stockRoutes(), q.catalogRoutes(lists), q.watchRoutes(everybody, lists))...)
}

func open(pool *pgxpool.Pool) *sqlx.DB { return sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx") }

// planned makes Postgres plan a list with the values at hand: one plan for all tenants and filters is a bad one for most.
const planned = pgx.QueryExecModeCacheDescribe

// scope is what of the read side a caller may see. Each field that is not empty is a condition.
type scope struct {
	tenant   string
	provider string
}

func scopeOf(who auth.Identity) (scope, error) {
	switch {
	case seeded.On(seeded.TenantUnfiltered):
		return scope{}, nil
	case who.Kind == auth.KindUser && who.Tenant != "":
		return scope{tenant: who.Tenant}, nil
	case who.Kind == auth.KindProvider && who.Provider != "":
		return scope{provider: who.Provider}, nil
	case who.Kind == auth.KindAuxiliary, who.Kind == auth.KindOperator:
		return scope{tenant: who.Tenant}, nil
	}
	return scope{}, fault.New(fault.Forbidden, "the client belongs to nobody")
}

// unavailable makes of trouble with the read database the answer that it is away; other errors stay what they are.
func unavailable(ctx context.Context, err error) error {
	var known *fault.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded) || postgres.IsInterrupted(err):
		return fault.Wrap(err, fault.Unavailable, "the read side did not answer in time").Retry(retryAfter)
	case ctx.Err() != nil:
		return err // the client has gone
	case away(err):
		return fault.Wrap(err, fault.Unavailable, "the read side is away").Retry(retryAfter)
	}
	return err
}

// away recognises that the database cannot be reached, or that its pool was closed because the program is ending.
func away(err error) bool {
	return postgres.IsUnavailable(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, puddle.ErrClosedPool)
}

// holdViews keeps the tables of views from being switched until the transaction ends. It comes before the snapshot is taken: a table that
// takes another's place later holds what the snapshot cannot see whole.
const holdViews = `LOCK TABLE order_view, timeline IN ACCESS SHARE MODE`

// snapshot runs several reads that see one state of the read database.
func (q *queries) snapshot(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := q.db.BeginTxx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it has only read
	if _, err := tx.ExecContext(ctx, holdViews); err != nil {
		return fmt.Errorf("hold views: %w", err)
	}
	return fn(tx)
}

// answer writes a JSON body that reflects a position.
func answer(c echo.Context, position int64, body []byte) error {
	header(c, position)
	return httpapi.JSON(c, body)
}

// header says what every answer says: how fresh it is, and that it is one client's alone.
func header(c echo.Context, position int64) {
	httpapi.SetPosition(c, position)
	httpapi.Private(c)
}
