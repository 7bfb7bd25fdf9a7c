package query

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// onlyKnown refuses a parameter that the route does not know, and one given twice that may be given once. Every read takes
// position and wait.
func onlyKnown(c echo.Context, repeatable string, known ...string) error {
	return onlyKnownOf(c, []string{repeatable}, known...)
}

// onlyKnownOf is onlyKnown where several parameters may be given more than once.
func onlyKnownOf(c echo.Context, repeatable []string, known ...string) error {
	if c.Request().URL.RawQuery == "" {
		return nil
	}
	for name, values := range c.QueryParams() {
		if !slices.Contains(repeatable, name) && name != "position" && name != "wait" && !slices.Contains(known, name) {
			return fault.New(fault.BadParameter, "%q is no parameter of this resource", name)
		}
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return fault.New(fault.BadParameter, "%s is given twice", name)
		}
	}
	return nil
}

// preferredWait reads "Prefer: wait=5" (RFC 7240), in seconds; what it cannot read is no preference.
func preferredWait(c echo.Context) time.Duration {
	for _, header := range c.Request().Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 16)
			if err == nil {
				return min(time.Duration(seconds)*time.Second, maxWait)
			}
		}
	}
	return defaultWait
}

// text reads a parameter of free text, at most max characters; empty when it is not given.
func text(c echo.Context, name string, most int) (string, error) {
	value := c.QueryParam(name)
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return "", fault.New(fault.BadParameter, "%s is not valid Unicode text", name)
	}
	if utf8.RuneCountInString(value) > most {
		return "", fault.New(fault.BadParameter, "%s has more than %d characters", name, most)
	}
	return value, nil
}

// one reads a parameter whose form is checked; empty when it is not given.
func one(c echo.Context, name string, valid func(string) bool) (string, error) {
	value := c.QueryParam(name)
	if value == "" && !c.QueryParams().Has(name) {
		return "", nil
	}
	if !valid(value) {
		return "", fault.New(fault.BadParameter, "%s is not a valid value", name)
	}
	return value, nil
}

// many reads a parameter that may be given several times; each value has to be one of those allowed.
func many(c echo.Context, name string, allowed []string) ([]string, error) {
	values := slices.Sorted(slices.Values(c.QueryParams()[name]))
	for _, value := range values {
		if !slices.Contains(allowed, value) {
			return nil, fault.New(fault.BadParameter, "%s must be one of %s", name, strings.Join(allowed, ", "))
		}
	}
	return slices.Compact(values), nil
}

// several reads a parameter that may be given several times and whose form is checked.
func several(c echo.Context, name string, valid func(string) bool) ([]string, error) {
	values := slices.Sorted(slices.Values(c.QueryParams()[name]))
	for _, value := range values {
		if !valid(value) {
			return nil, fault.New(fault.BadParameter, "%s is not a valid value", name)
		}
	}
	if values = slices.Compact(values); len(values) > maxValues {
		return nil, fault.New(fault.BadParameter, "%s is given more than %d times", name, maxValues)
	}
	return values, nil
}

// amount reads a whole number of minor units; nil when it is not given.
func amount(c echo.Context, name string) (*int64, error) {
	if !c.QueryParams().Has(name) {
		return nil, nil
	}
	n, err := strconv.ParseInt(c.QueryParam(name), 10, 64)
	if err != nil || n < 0 {
		return nil, fault.New(fault.BadParameter, "%s must be a whole number of minor units, such as 1999", name)
	}
	return &n, nil
}

// flag reads true or false; false when it is not given.
func flag(c echo.Context, name string) (bool, error) {
	switch value := c.QueryParam(name); {
	case value == "true":
		return true, nil
	case value == "false", value == "" && !c.QueryParams().Has(name):
		return false, nil
	}
	return false, fault.New(fault.BadParameter, "%s must be true or false", name)
}

// moment reads an RFC 3339 time; zero when it is not given.
func moment(c echo.Context, name string) (time.Time, error) {
	value := c.QueryParam(name)
	if value == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, fault.New(fault.BadParameter, "%s must be an RFC 3339 time such as 2026-01-31T12:00:00Z", name)
	}
	return at.UTC(), nil
}

func isRegion(s string) bool { return httpapi.ValidName(strings.ToLower(s)) }

func isCurrency(s string) bool {
	return len(s) == 3 && strings.IndexFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' }) < 0
}
