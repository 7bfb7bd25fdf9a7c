package command

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// watchEvery is the time between two looks at what others did. What they did counts here within twice that.
const watchEvery = 500 * time.Millisecond

// unknownPosition is where a registry is that was not read yet.
const unknownPosition = -1

// others is what the goroutine that commits and the watcher tell each other.
type others struct {
	reports    atomic.Pointer[map[string]loadReport] // those that count; never changed once stored
	stale      atomic.Bool                           // the registry was changed: read it before the next round
	registryAt atomic.Int64                          // position of the latest registry entry that the committer knows
}

func newOthers() *others {
	o := &others{}
	o.registryAt.Store(unknownPosition)
	o.reports.Store(&map[string]loadReport{})
	return o
}

// Watcher brings to a committer what others changed and no command of its own tells it: load reports, and providers and routes
// that were registered on another node. Without it, a node that gets no commands would not offer the orders that wait for them.
type Watcher struct {
	committer *Committer
	logger    *slog.Logger
	now       func() time.Time
	blind     bool // the last look failed
}

// NewWatcher makes the watcher of a committer.
func NewWatcher(c *Committer) *Watcher { return &Watcher{committer: c, logger: c.logger, now: c.now} }

// Name names the worker.
func (w *Watcher) Name() string { return "watcher" }

// Run looks until ctx ends. Trouble is logged once and tried again.
func (w *Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		err := w.look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !w.blind {
			w.logger.WarnContext(ctx, "what other nodes do is not known here", "cause", err)
		}
		w.blind = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *Watcher) look(ctx context.Context) error {
	c := w.committer
	reports, registryEnd, err := c.store.surroundings(ctx, w.now())
	if err != nil {
		return err
	}
	c.others.reports.Store(&reports)
	if registryEnd == c.others.registryAt.Load() {
		return nil
	}
	c.others.stale.Store(true)
	_, err = c.Submit(ctx, catchUp{}, nil)
	return err
}

// notice says how far the registry is known here, and wakes the housekeeper when there is something new to route by.
func (c *Committer) notice() {
	c.others.registryAt.Store(c.registry.last)
	if c.registry.routing == c.offered {
		return
	}
	c.offered = c.registry.routing
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// catchUp changes nothing. It makes the committer look at the registry before it.
type catchUp struct{}

func (catchUp) wants(*wants) {}

func (catchUp) apply(r *round) (reply, error) {
	return reply{status: http.StatusOK, position: r.from.position}, nil
}
