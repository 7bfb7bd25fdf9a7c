package query

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

// Positions tells how far views are and lets requests wait for them.
type Positions interface {
	// Wait returns nil once the view is at p or further, or ctx's error.
	Wait(ctx context.Context, view string, p int64) error
	Position(view string) int64
}

// Tips are the positions of a projection in the same process. The function gives nil for a view that it does not build.
type Tips func(view string) *stream.Tip

// Wait implements Positions.
func (t Tips) Wait(ctx context.Context, view string, p int64) error {
	if tip := t(view); tip != nil {
		return tip.Wait(ctx, p)
	}
	<-ctx.Done()
	return ctx.Err()
}

// Position implements Positions.
func (t Tips) Position(view string) int64 {
	if tip := t(view); tip != nil {
		return tip.Position()
	}
	return 0
}

const (
	pollWaiting = 5 * time.Millisecond  // between looks at the checkpoints while a request waits for one
	pollIdle    = 20 * time.Millisecond // while none does: streams and long polls still want to hear of new events
	pollTrouble = 250 * time.Millisecond
	pollTimeout = 2 * time.Second
)

// Poller is the positions of a read database that another process projects to. One look at the checkpoints serves all that wait.
type Poller struct {
	pool    *pgxpool.Pool
	feed    *feed
	log     *slog.Logger
	tips    map[string]*stream.Tip
	waiting atomic.Int64
	asked   chan struct{} // holds a token when somebody may have begun to wait
}

// NewPoller makes a poller, which also tells a cache of the orders that change; nil: there is none. It works while Run does.
func NewPoller(pool *pgxpool.Pool, cache *OrderCache, log *slog.Logger) *Poller {
	p := &Poller{pool: pool, feed: newFeed(pool, cache), log: log, tips: map[string]*stream.Tip{}, asked: make(chan struct{}, 1)}
	for _, view := range []string{viewOrders, viewSearch, viewTasks, viewTimeline, viewFacets, viewCatalog} {
		p.tips[view] = new(stream.Tip)
	}
	return p
}

// Name is the worker's name.
func (p *Poller) Name() string { return "positions" }

// Tip is the position of a view as it was last seen; nil for an unknown view.
func (p *Poller) Tip(view string) *stream.Tip { return p.tips[view] }

// Position implements Positions.
func (p *Poller) Position(view string) int64 { return Tips(p.Tip).Position(view) }

// Wait implements Positions.
func (p *Poller) Wait(ctx context.Context, view string, at int64) error {
	if p.Position(view) >= at {
		return nil
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	select {
	case p.asked <- struct{}{}:
	default:
	}
	return Tips(p.Tip).Wait(ctx, view, at)
}

// Run looks at the checkpoints until ctx ends, which it returns the error of.
func (p *Poller) Run(ctx context.Context) error {
	defer p.feed.lost()
	away := false
	for {
		err := p.look(ctx)
		if err != nil && ctx.Err() == nil && !away {
			p.log.WarnContext(ctx, "checkpoints of the read database cannot be read", "cause", err)
		}
		away = err != nil
		if err := p.rest(ctx, away); err != nil {
			return err
		}
	}
}

// rest waits until the next look is due.
func (p *Poller) rest(ctx context.Context, away bool) error {
	wait, asked := pollIdle, p.asked
	switch {
	case away:
		wait, asked = pollTrouble, nil
	case p.waiting.Load() > 0:
		wait, asked = pollWaiting, nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-asked:
		pause(ctx, pollWaiting)
	case <-timer.C:
	}
	return ctx.Err()
}

const selectPositions = `
SELECT view, position, generation, digest, pg_postmaster_start_time()::text, pg_is_in_recovery() FROM checkpoints`

// look reads the checkpoints. What changed is told before anybody can go by where they are.
func (p *Poller) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	rows, err := p.pool.Query(ctx, selectPositions)
	if err != nil {
		p.feed.lost()
		return err
	}
	var view string
	var at viewAt
	seen := make(map[string]viewAt, len(p.tips))
	_, err = pgx.ForEachRow(rows, []any{&view, &at.position, &at.generation, &at.digest, &at.server.started, &at.server.standby}, func() error {
		seen[view] = at
		return nil
	})
	if err == nil {
		err = p.feed.tell(ctx, seen[viewOrders], seen[viewTimeline])
	}
	if err != nil {
		p.feed.lost()
		return err
	}
	for view, at := range seen {
		if tip := p.tips[view]; tip != nil {
			tip.Set(at.position)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// wanted is what a request says about freshness.
type wanted struct {
	position int64 // the answer reflects at least this; 0: whatever there is
	within   time.Duration
}

func wantedOf(c echo.Context) (wanted, error) {
	position, err := httpapi.PositionParam(c)
	if err != nil {
		return wanted{}, err
	}
	within, err := httpapi.WaitParam(c, preferredWait(c), maxWait)
	if err != nil {
		return wanted{}, err
	}
	return wanted{position: position, within: within}, nil
}

// notReached is the answer after waiting in vain.
func notReached(view string, want, have int64) error {
	return fault.New(fault.NotReached, "the read side is at position %d, not yet at %d", have, want).
		With("position", have).With("view", view).Retry(retryAfter)
}

// reach waits until the views are at least at a position, for the rest of the time that the request gives.
func (q *queries) reach(ctx context.Context, position int64, views []string) error {
	for _, view := range views {
		err := q.cfg.Positions.Wait(ctx, view, position)
		if errors.Is(err, context.DeadlineExceeded) {
			return notReached(view, position, q.cfg.Positions.Position(view))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recheck is how soon a read is tried again when the database is behind what was announced: it lost its last commits in a crash, and
// the projection has not noticed yet.
const recheck = 20 * time.Millisecond

// fresh reads once the views are where the request wants them. The read itself tells what position it saw, which counts: a read
// database that crashed may be behind what its projection remembers.
func (q *queries) fresh(c echo.Context, w wanted, limit time.Duration, views []string, read func(ctx context.Context) (int64, error)) error {
	ctx := c.Request().Context()
	if w.position == 0 || seeded.On(seeded.PositionIgnored) {
		_, err := q.timed(ctx, limit, read)
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	for {
		if err := q.reach(waiting, w.position, views); err != nil {
			return err
		}
		seen, err := q.timed(ctx, limit, read)
		if err != nil || seen >= w.position {
			return err
		}
		if pause(waiting, recheck); waiting.Err() != nil {
			return notReached(views[0], w.position, seen)
		}
	}
}

func (q *queries) timed(ctx context.Context, limit time.Duration, read func(ctx context.Context) (int64, error)) (int64, error) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done, err := q.turn(within)
	if err != nil {
		return 0, unavailable(ctx, err)
	}
	defer done()
	for tries := 1; ; tries++ {
		seen, err := read(within)
		if !postgres.IsSerializationFailure(err) || tries == conflictTries {
			return seen, unavailable(ctx, err)
		}
		pause(within, conflictPause)
	}
}

// certain is a read that found nothing, done again once the views have reached the end of the stream as it is now. The position that a
// client came with is no reason to know less: it may be of something else.
func (q *queries) certain(c echo.Context, w wanted, limit time.Duration, views []string, read func(ctx context.Context) (int64, error)) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), limit)
	defer cancel()
	end, err := q.cfg.End(ctx)
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "it cannot be told now whether this exists").Retry(retryAfter)
	}
	if end <= w.position || seeded.On(seeded.NotFoundEarly) {
		return nil
	}
	w.position = end
	return q.fresh(c, w, limit, views, read)
}
