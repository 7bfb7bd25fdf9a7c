package broadcast

import (
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	reachWait  = 2 * time.Second // for a position, unless told
	retryAfter = time.Second     // when this node may be asked again
	reachRetry = 20 * time.Millisecond
)

const selectTold = `SELECT coalesce(min(position), 0) FROM checkpoints WHERE view IN ('timeline', 'order_view')`

// reach waits until all up to the position that the request names can be told, and its orders read. It says so when that takes too long.
func (a *api) reach(c echo.Context) error {
	want, err := httpapi.PositionParam(c)
	if err != nil || want == 0 {
		return err
	}
	wait, err := httpapi.WaitParam(c, reachWait, feedWait)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), max(wait, reachRetry))
	defer cancel()
	have, err := a.told(ctx, want)
	switch {
	case err == nil && have >= want:
		return nil
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.NotReached, "the read side is at position %d, not yet at %d", have, want).
			With("position", have).With("view", "timeline").Retry(retryAfter)
	}
	return away(err)
}

// told waits until the read side is at a position, and gives the one that it was last seen at.
func (a *api) told(ctx context.Context, want int64) (have int64, err error) {
	for {
		changed := a.live.tip.Changed()
		if have = a.live.tip.Position(); have >= want {
			if err := a.reader.pool.QueryRow(ctx, selectTold).Scan(&have); err != nil || have >= want {
				return have, err
			}
		}
		await(ctx, changed, reachRetry)
		if ctx.Err() != nil {
			return have, ctx.Err()
		}
	}
}

// away makes of trouble with the read database the answer that it is; other errors stay what they are.
func away(err error) error {
	if postgres.IsUnavailable(err) || postgres.IsInterrupted(err) {
		return fault.Wrap(err, fault.Unavailable, "the read side is away").Retry(retryAfter)
	}
	return err
}
