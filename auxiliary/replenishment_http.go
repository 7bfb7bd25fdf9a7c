package auxiliary

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	schedulePath    = "/v1/replenishment/schedule"
	maxScheduleBody = 4 << 10
	maxSchedule     = 366 * 24 * time.Hour
)

// scheduleRoutes are the routes by which a tenant says how often it is looked for products to be bought.
func scheduleRoutes(deps RouteDeps) []httpapi.Route {
	kinds := []auth.Kind{auth.KindUser}
	return []httpapi.Route{
		{Method: http.MethodGet, Path: schedulePath, Scope: auth.ScopeOrdersRead, Kinds: kinds, Handler: ofTenants(deps.getSchedule)},
		{Method: http.MethodPut, Path: schedulePath, Scope: auth.ScopeStockWrite, Kinds: kinds, MaxBody: maxScheduleBody, Handler: ofTenants(deps.putSchedule)},
		{Method: http.MethodDelete, Path: schedulePath, Scope: auth.ScopeStockWrite, Kinds: kinds, Handler: ofTenants(deps.deleteSchedule)},
	}
}

// scheduleDocument is a tenant's schedule.
type scheduleDocument struct {
	Every     string    `json:"every"` // such as 24h0m0s; 0s: never
	UpdatedAt time.Time `json:"updated_at"`
}

func noSchedule() error {
	return fault.New(fault.NotFound, "there is no schedule of one's own: runs are as the installation has them")
}

const selectSchedule = `SELECT every, updated_at FROM replenishment_schedules WHERE tenant = $1`

func (d RouteDeps) getSchedule(c echo.Context, who auth.Identity) error {
	var seconds int64
	var at time.Time
	err := d.Pool.QueryRow(c.Request().Context(), selectSchedule, who.Tenant).Scan(&seconds, &at)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return noSchedule()
	case err != nil:
		return storeFault(fmt.Errorf("read schedule: %w", err))
	}
	return c.JSON(http.StatusOK, scheduleDocument{Every: (time.Duration(seconds) * time.Second).String(), UpdatedAt: at.UTC()})
}

const upsertSchedule = `
INSERT INTO replenishment_schedules (tenant, every, updated_at) VALUES ($1, $2, $3)
ON CONFLICT (tenant) DO UPDATE SET every = excluded.every, updated_at = excluded.updated_at`

func (d RouteDeps) putSchedule(c echo.Context, who auth.Identity) error {
	body, err := httpapi.ReadJSON(c, maxScheduleBody)
	if err != nil {
		return err
	}
	var every time.Duration
	given := false
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		if name != "every" {
			r.Unknown()
			return
		}
		given = true
		var text string
		if r.String(&text, 1, maxReasonText); !r.OK() {
			return
		}
		every, err = time.ParseDuration(text)
		if err != nil || every < 0 || every > maxSchedule || every%time.Second != 0 {
			r.Invalid("must be whole seconds to a year, such as 24h, or 0s for never")
		}
	})
	r.Require("every", given)
	if err := r.Finish(); err != nil {
		return err
	}
	at := d.Now().UTC().Truncate(time.Microsecond)
	if _, err := d.Pool.Exec(c.Request().Context(), upsertSchedule, who.Tenant, int64(every/time.Second), at); err != nil {
		return storeFault(fmt.Errorf("store schedule: %w", err))
	}
	return c.JSON(http.StatusOK, scheduleDocument{Every: every.String(), UpdatedAt: at})
}

const deleteScheduleSQL = `DELETE FROM replenishment_schedules WHERE tenant = $1`

func (d RouteDeps) deleteSchedule(c echo.Context, who auth.Identity) error {
	tag, err := d.Pool.Exec(c.Request().Context(), deleteScheduleSQL, who.Tenant)
	switch {
	case err != nil:
		return storeFault(fmt.Errorf("delete schedule: %w", err))
	case tag.RowsAffected() == 0:
		return noSchedule()
	}
	return c.NoContent(http.StatusNoContent)
}
