package command

import (
	"math"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

func (a *api) reportLoad(c echo.Context, who auth.Identity) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	report, err := decodeLoad(body, who.Provider)
	if err != nil {
		return err
	}
	return a.run(c, who, body, report)
}

// decodeLoad reads a load report. Its time to live is whole seconds or a Go duration such as "90s".
func decodeLoad(body []byte, provider string) (*ReportLoad, error) {
	report := &ReportLoad{Provider: provider, TTL: usualReport}
	given := false
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		switch name {
		case "load":
			given = true
			r.Float(&report.Load, 0, maxReportedLoad)
		case "capacity":
			report.Capacity = new(int64)
			r.Int(report.Capacity, 0, math.MaxInt32)
		case "ttl":
			readSecondsWithin(r, &report.TTL, shortestReport, longestReport)
		case "provider", "expires_at":
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	r.Require("load", given)
	return report, r.Finish()
}
