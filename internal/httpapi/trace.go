package httpapi

import (
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/telemetry"
)

// Traceparent gives the W3C trace context of a request, a new one where it has none that is valid.
func Traceparent(c echo.Context) string {
	return telemetry.Traceparent(c.Request().Header.Get("Traceparent"))
}
