package broadcast

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/seeded"
)

// interestOf reads what a listener asks for: by its subscription or by itself, and from where. other names the further parameters
// that the route has.
func (a *api) interestOf(c echo.Context, who auth.Identity, otherwise start, other ...string) (interest, error) {
	in := interest{who: who, whose: partyOf(who)}
	if !mayHear(who) {
		return in, fault.New(fault.Forbidden, "the token names no party")
	}
	for name := range c.QueryParams() {
		if !listenerParam(name, other) {
			return in, fault.New(fault.BadParameter, "%q is not a parameter here", name)
		}
	}
	begin, given, err := startParams(c)
	if err != nil {
		return in, err
	}
	if in.orders, err = includeParam(c); err != nil {
		return in, err
	}
	if in.filter, err = filterParams(c); err != nil {
		return in, err
	}
	if id := c.QueryParam("subscription"); id != "" {
		s, err := a.pulled(c, who, id)
		if err != nil {
			return in, err
		}
		in.filter, in.orders = s.Filter, in.orders || s.IncludeOrder
		otherwise = start{after: s.Position}
	}
	if !given {
		begin = otherwise
	}
	in.after, err = a.resolve(c, begin)
	return in, err
}

// resolve gives the position after which events begin. Now is where this node's read side is: what is told from here on was not there
// to be read before.
func (a *api) resolve(c echo.Context, s start) (int64, error) {
	if s.now {
		return a.live.tip.Position(), nil
	}
	return s.resolve(c.Request().Context(), a.log)
}

func listenerParam(name string, other []string) bool {
	for _, known := range append(other, "position", "after", "since", "start", "include", "types", "business_types", "subscription") {
		if name == known {
			return true
		}
	}
	return false
}

// pulled is a subscription that its party reads by itself.
func (a *api) pulled(c echo.Context, who auth.Identity, raw string) (*Subscription, error) {
	id, err := uuid.Parse(raw)
	if err != nil {
		return nil, fault.New(fault.BadParameter, "subscription is not a UUID")
	}
	if c.QueryParams().Has("types") || c.QueryParams().Has("business_types") {
		return nil, fault.New(fault.BadParameter, "a subscription has its own types and business_types")
	}
	s, err := a.store.Get(c.Request().Context(), OwnerOf(who), id)
	switch {
	case err != nil:
		return nil, err
	case s.Transport != TransportFeed && s.Transport != TransportSSE:
		return nil, fault.New(fault.Conflict, "the subscription is delivered by %s", s.Transport)
	case s.Status != SubscriptionActive:
		return nil, fault.New(fault.Conflict, "the subscription is %s", s.Status)
	}
	return s, nil
}

// startParams read from where the listener wants to hear. given is false when it does not say.
func startParams(c echo.Context) (s start, given bool, err error) {
	for _, raw := range []string{c.QueryParam("after"), c.Request().Header.Get("Last-Event-ID")} {
		if raw == "" {
			continue
		}
		p, err := strconv.ParseInt(raw, 10, 64)
		if err != nil || p < 0 {
			return s, true, fault.New(fault.BadParameter, "after and Last-Event-ID must be positions: integers from 0")
		}
		if seeded.On(seeded.ResumedLate) && p > 0 {
			p++
		}
		s.after, given = max(s.after, p), true
	}
	if given {
		// A client that reconnects sends Last-Event-ID with its first request's address: the position it knows counts.
		return s, given, nil
	}
	if raw := c.QueryParam("since"); raw != "" {
		if s.since, err = time.Parse(time.RFC3339, raw); err != nil {
			return s, true, fault.New(fault.BadParameter, "since must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
		}
		given = true
	}
	switch raw := c.QueryParam("start"); {
	case raw == "":
	case given:
		return s, true, fault.New(fault.BadParameter, "start and since cannot be given together")
	case raw == "now":
		return start{now: true}, true, nil
	case raw == "beginning":
		return start{}, true, nil
	default:
		return s, true, fault.New(fault.BadParameter, `start must be "now" or "beginning"`)
	}
	return s, given, nil
}

func includeParam(c echo.Context) (bool, error) {
	switch include := c.QueryParam("include"); include {
	case "":
		return false, nil
	case includeName:
		return true, nil
	default:
		return false, fault.New(fault.BadParameter, "include must be %q", includeName)
	}
}

// filterParams read comma-separated lists.
func filterParams(c echo.Context) (Filter, error) {
	f := Filter{Types: listParam(c, "types"), BusinessTypes: listParam(c, "business_types")}
	if len(f.Types) > maxFilter || len(f.BusinessTypes) > maxFilter {
		return f, fault.New(fault.BadParameter, "types and business_types may list %d each", maxFilter)
	}
	for _, t := range f.Types {
		if !validType(t) {
			return f, fault.New(fault.BadParameter, "types: there is no event type %q", t)
		}
	}
	for _, b := range f.BusinessTypes {
		if !httpapi.ValidName(b) {
			return f, fault.New(fault.BadParameter, "business_types must match [a-z0-9_.-]{1,64}")
		}
	}
	return f, nil
}

func listParam(c echo.Context, name string) []string {
	raw := c.QueryParam(name)
	if raw == "" {
		return nil
	}
	return strings.Split(raw, ",")
}
