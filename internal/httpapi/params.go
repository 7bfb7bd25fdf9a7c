package httpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
)

// HeaderPosition says, in a request, which position the answer has to reflect at least, and in an answer which it does.
const HeaderPosition = "Order-Position"

// AnyVersion is what IfMatch gives for "If-Match: *".
const AnyVersion int64 = 0

// PositionParam reads Order-Position from the header and from ?position=; with both, the larger counts. Zero when there
// is none.
func PositionParam(c echo.Context) (int64, error) {
	inHeader, err := position(c.Request().Header.Get(HeaderPosition), HeaderPosition)
	if err != nil || c.Request().URL.RawQuery == "" {
		return inHeader, err
	}
	inQuery, err := position(c.QueryParam("position"), "position")
	return max(inHeader, inQuery), err
}

func position(raw, name string) (int64, error) {
	if raw == "" {
		return 0, nil
	}
	p, ok := digits(raw)
	if !ok {
		return 0, badParameter(name, "must be a position: an integer from 0")
	}
	return p, nil
}

// SetPosition says which position the answer reflects.
func SetPosition(c echo.Context, p int64) {
	c.Response().Header()[HeaderPosition] = []string{strconv.FormatInt(p, 10)}
}

// ETag is the entity tag of a version, with a suffix when one version has several faces.
func ETag(version int64, suffix string) string {
	if suffix == "" {
		return `"` + strconv.FormatInt(version, 10) + `"`
	}
	return `"` + strconv.FormatInt(version, 10) + "-" + suffix + `"`
}

// IfMatch reads the version a change is meant for: "7", or "7-suffix" of which the leading version counts, or * for
// AnyVersion. A weak tag counts as its strong one, since proxies that compress make tags weak while the version in it
// stays what it is. A list of several tags is refused.
func IfMatch(c echo.Context) (version int64, present bool, err error) {
	values := c.Request().Header.Values("If-Match")
	if len(values) == 0 {
		return 0, false, nil
	}
	raw := strings.TrimSpace(values[0])
	if len(values) > 1 {
		return 0, true, badParameter("If-Match", "must be given once")
	}
	if raw == "*" {
		return AnyVersion, true, nil
	}
	tag := strings.TrimPrefix(raw, "W/")
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' || strings.Count(tag, `"`) != 2 {
		return 0, true, badParameter("If-Match", `must be one entity tag, such as "7"`)
	}
	number, _, _ := strings.Cut(tag[1:len(tag)-1], "-")
	version, ok := digits(number)
	if !ok || version == AnyVersion {
		// A tag that no version of ours has: it cannot be the current one.
		return 0, true, fault.New(fault.VersionMismatch, "If-Match names no version of this resource")
	}
	return version, true, nil
}

// LimitParam reads ?limit=, from 1 to max, def when there is none.
func LimitParam(c echo.Context, def, max int) (int, error) {
	raw := c.QueryParam("limit")
	if raw == "" {
		return def, nil
	}
	n, ok := digits(raw)
	if !ok || n < 1 || n > int64(max) {
		return 0, badParameter("limit", "must be from 1 to "+strconv.Itoa(max))
	}
	return int(n), nil
}

// WaitParam reads ?wait= as a Go duration ("20s") or in whole seconds; a longer one is cut to max, which the caller sees
// as an earlier answer.
func WaitParam(c echo.Context, def, max time.Duration) (time.Duration, error) {
	if c.Request().URL.RawQuery == "" {
		return def, nil
	}
	raw := c.QueryParam("wait")
	if raw == "" {
		return def, nil
	}
	if n, ok := digits(raw); ok {
		return min(time.Duration(min(n, int64(max/time.Second)+1))*time.Second, max), nil
	}
	wait, err := time.ParseDuration(raw)
	if err != nil || wait < 0 {
		return 0, badParameter("wait", `must be a time such as "20s"`)
	}
	return min(wait, max), nil
}

// digits reads a decimal number of 0 to 2^63-1 without sign or spaces.
func digits(raw string) (int64, bool) {
	if raw == "" || raw[0] == '+' || raw[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	return n, err == nil
}

func badParameter(name, detail string) error {
	return fault.New(fault.BadParameter, "%s %s", name, detail)
}
