package auxiliary

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	maxOperate       = 16 << 10 // bytes
	maxReasonText    = 500      // characters
	systemParam      = "system"
	operateSystem    = "/v1/admin/auxiliary/:" + systemParam
	operateLetter    = operateSystem + "/dead-letters/:letter"
	deadLettersRoute = operateSystem + "/dead-letters"
)

// OperateDeps is what the operators' routes work with.
type OperateDeps struct {
	Pool *pgxpool.Pool                            // the auxiliary database
	End  func(ctx context.Context) (int64, error) // the last position there is
	Now  func() time.Time
}

// OperateRoutes are the routes by which operators look at the systems and steer them. They say what is wanted in the auxiliary
// database, where the process that runs the systems finds it.
func OperateRoutes(deps OperateDeps) []httpapi.Route {
	routes := []httpapi.Route{
		{Method: http.MethodGet, Path: "/v1/admin/auxiliary", Handler: deps.list, Class: httpapi.ClassList},
		{Method: http.MethodGet, Path: operateSystem, Handler: deps.get},
		{Method: http.MethodGet, Path: deadLettersRoute, Handler: deps.letters, Class: httpapi.ClassList},
		{Method: http.MethodPost, Path: operateLetter + "/retry", Handler: deps.do("retry")},
		{Method: http.MethodPost, Path: operateLetter + "/discard", Handler: deps.do("discard")},
	}
	for _, action := range []string{"pause", "resume", "rebuild"} {
		routes = append(routes, httpapi.Route{Method: http.MethodPost, Path: operateSystem + "/" + action, Handler: deps.do(action)})
	}
	for i := range routes {
		routes[i].Scope, routes[i].Kinds, routes[i].MaxBody = auth.ScopeAdmin, []auth.Kind{auth.KindOperator}, maxOperate
	}
	return routes
}

func (d OperateDeps) reports(ctx context.Context, system string) ([]SystemReport, error) {
	end, err := d.End(ctx)
	if err != nil {
		return nil, err
	}
	found, err := reports(ctx, d.Pool, system, end, d.Now())
	if err != nil {
		return nil, storeFault(err)
	}
	return found, nil
}

func (d OperateDeps) list(c echo.Context, _ auth.Identity) error {
	found, err := d.reports(c.Request().Context(), "")
	if err != nil {
		return err
	}
	if found == nil {
		found = []SystemReport{}
	}
	return c.JSON(http.StatusOK, map[string]any{"items": found})
}

func (d OperateDeps) get(c echo.Context, _ auth.Identity) error {
	system, err := httpapi.IDParam(c, systemParam)
	if err != nil {
		return err
	}
	return d.answer(c, system)
}

func (d OperateDeps) answer(c echo.Context, system string) error {
	ctx := c.Request().Context()
	found, err := d.reports(ctx, system)
	if err != nil {
		return err
	}
	report := found[0]
	if report.Actions, err = actions(ctx, d.Pool, system); err != nil {
		return storeFault(err)
	}
	return c.JSON(http.StatusOK, report)
}

func (d OperateDeps) letters(c echo.Context, _ auth.Identity) error {
	system, err := httpapi.IDParam(c, systemParam)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if _, err := d.reports(ctx, system); err != nil {
		return err
	}
	found, err := deadLetters(ctx, d.Pool, system)
	if err != nil {
		return storeFault(err)
	}
	if found == nil {
		found = []DeadLetter{}
	}
	return c.JSON(http.StatusOK, map[string]any{"items": found})
}

func (d OperateDeps) do(action string) httpapi.Handler {
	return func(c echo.Context, who auth.Identity) error {
		system, err := httpapi.IDParam(c, systemParam)
		if err != nil {
			return err
		}
		i := instruction{system: system, Action: Action{
			At: d.Now().UTC().Truncate(time.Microsecond), Who: who.ClientID, Action: action, Subject: c.Param("letter"),
		}}
		if i.Reason, err = readReason(c); err != nil {
			return err
		}
		if err := operate(c.Request().Context(), d.Pool, i); err != nil {
			return storeFault(err)
		}
		return d.answer(c, system)
	}
}

// readReason reads {"reason": "…"}, which may be left out with the whole body.
func readReason(c echo.Context) (string, error) {
	if c.Request().ContentLength == 0 {
		return "", nil
	}
	body, err := httpapi.ReadJSON(c, maxOperate)
	if err != nil {
		return "", err
	}
	var reason string
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		if name != "reason" {
			r.Unknown()
			return
		}
		r.String(&reason, 0, maxReasonText)
	})
	return reason, r.Finish()
}
