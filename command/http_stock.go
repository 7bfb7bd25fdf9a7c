package command

import (
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

func (a *api) adjustStock(c echo.Context, who auth.Identity) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	adjustment, err := decodeAdjustment(body)
	if err != nil {
		return err
	}
	command, err := AdjustStock(who.Tenant, adjustment, trace(c))
	if err != nil {
		return err
	}
	return a.run(c, who, body, command)
}

// raiseReplenishment is for the process that runs the auxiliary systems, where it is another than this one.
func (a *api) raiseReplenishment(c echo.Context, who auth.Identity) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	tenant, run, err := decodeRun(body)
	if err != nil {
		return err
	}
	if who.Tenant != "" && who.Tenant != tenant {
		return fault.New(fault.Forbidden, "the token is not for this tenant")
	}
	command, err := RaiseReplenishment(tenant, run, trace(c))
	if err != nil {
		return err
	}
	return a.run(c, who, body, command)
}
