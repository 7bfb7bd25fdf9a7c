package httpapi

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/limits"
)

// What a caller is told of its rate with every answer: how many requests of this kind it may make at once, how many of them are left, and
// in how many seconds all are there again.
const (
	HeaderRateLimit     = "Ratelimit-Limit"
	HeaderRateRemaining = "Ratelimit-Remaining"
	HeaderRateReset     = "Ratelimit-Reset"
)

// rateOf is the kind of rate that a class of routes counts for. The lines of a batch count, not the batch.
func rateOf(class Class) (kind limits.Kind, counted bool) {
	switch class {
	case ClassSubmit:
		return limits.Orders, true
	case ClassExport, ClassList:
		return limits.Searches, true
	case ClassRead, ClassStream:
		return limits.Reads, true
	case ClassWrite:
		return limits.Writes, true
	}
	return 0, false
}

// charge counts a request against the rates of its caller, and tells it how it stands with them. It gives what ends the request's part
// in what may be open at the same time.
func (a *Admission) charge(c echo.Context, class Class, who auth.Identity) (done func(), err error) {
	l := a.cfg.Limiter
	if l == nil {
		return func() {}, nil
	}
	if class == ClassBatch {
		c.Set(paceKey, &pace{limiter: l, who: who})
	}
	if kind, counted := rateOf(class); counted {
		if err := tell(c, kind, l.Take(who.ClientID, who.Tenant, kind)); err != nil {
			return nil, err
		}
	}
	if class != ClassStream {
		return func() {}, nil
	}
	return l.Open(who.ClientID, who.Tenant)
}

func tell(c echo.Context, kind limits.Kind, v limits.Verdict) error {
	if !v.Limited {
		return nil
	}
	h := c.Response().Header()
	h[HeaderRateLimit] = []string{strconv.FormatInt(v.Limit, 10)}
	h[HeaderRateRemaining] = []string{strconv.FormatInt(v.Remaining, 10)}
	h[HeaderRateReset] = []string{strconv.FormatInt(wholeSeconds(v.Reset), 10)}
	if v.Wait == 0 {
		return nil
	}
	return fault.New(fault.TooManyRequests, "no more %s at this rate: %d at once", kind, v.Limit).Retry(v.Wait)
}

func wholeSeconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

const paceKey = "orderstore.pace"

type pace struct {
	limiter *limits.Limiter
	who     auth.Identity
}

// Pacer gives a batch what waits, before each of its orders, until the caller may submit another one. It ends early with the context's
// error.
func Pacer(c echo.Context) func(context.Context) error {
	p, ok := c.Get(paceKey).(*pace)
	if !ok {
		return func(ctx context.Context) error { return ctx.Err() }
	}
	return func(ctx context.Context) error {
		return p.limiter.Wait(ctx, p.who.ClientID, p.who.Tenant, limits.Orders)
	}
}
