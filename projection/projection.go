// Package projection builds the read views from the log: one reader takes the events, folds them once, and writes all views
// with their checkpoint in one transaction. A view at position p equals the fold of events 1..p.
package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// The views. A view's name is also that of its table and of its checkpoint.
const (
	OrderView   = "order_view"
	TaskInbox   = "task_inbox"
	Timeline    = "timeline"
	OrderSearch = "order_search"
	OrderFacets = "order_facets"
	Catalog     = "catalog"
)

// Views lists all views.
func Views() []string {
	return []string{OrderView, TaskInbox, Timeline, OrderSearch, OrderFacets, Catalog}
}

const (
	retryFirst = 50 * time.Millisecond // before the first try again after trouble with the read database
	retryMost  = 3 * time.Second
	steadyFor  = 10 * time.Second // after which trouble counts as new
)

// Follower reads the log on from a position, in order and without a gap. *stream.Follower is one.
type Follower interface {
	// Next waits for at least one record. Its error is the context's, or wraps stream.ErrDiverged.
	Next(ctx context.Context, limit int) ([]stream.Record, error)
	Close()
}

// Changes hears what becomes of order_view, for those who keep orders in memory. Its calls come one after the other but for Reached.
type Changes interface {
	// Changing comes before orders are changed, and tells the position that the view reaches by that.
	Changing(ids [][16]byte, position int64)
	// Reached comes once they are, and again and again while the view stays where it is.
	Reached(position int64)
	// Lost tells that the view may change now, or may have changed, in ways that were not told. It ends with the next Reached.
	Lost()
}

// nobody hears nothing.
type nobody struct{}

// Changing implements Changes.
func (nobody) Changing([][16]byte, int64) {}

// Reached implements Changes.
func (nobody) Reached(int64) {}

// Lost implements Changes.
func (nobody) Lost() {}

// Config is what a projection is made of.
type Config struct {
	// Pool is the read database. It may be opened with AsyncCommit: views and their checkpoint revert together when the
	// server crashes, and what was lost is read again from the log.
	Pool *pgxpool.Pool
	// Store takes the place of Pool where the views are not kept in Postgres; nil: they are.
	Store Store
	// NewFollower makes a reader of what comes after a position whose digest is given.
	NewFollower func(after int64, digest [32]byte) Follower
	Changes     Changes // nil: nobody hears of them
	Logger      *slog.Logger
	Now         func() time.Time      // nil: time.Now
	Registerer  prometheus.Registerer // nil: no metrics
	// Spread gives a part of a pause, so that those who wait for one database do not come back together; nil: one at random.
	Spread func(time.Duration) time.Duration
}

// Projection keeps the views of one read database. Two of them on one database by mistake stay correct: the checkpoint is
// moved by compare-and-set, and who loses starts over from what the database holds.
type Projection struct {
	cfg      Config
	tips     map[string]*stream.Tip
	metrics  *metrics
	views    []view // in the order of Views
	maxBatch int    // events in one transaction

	mu       sync.Mutex
	statuses map[string]*ViewStatus
}

// ViewStatus is how far a view is.
type ViewStatus struct {
	View     string
	Position int64
	Stopped  string // why the view does not go on; empty while it does
	// Generation is the number of the view's table, Code the version of the view's code that it is made by.
	Generation int64
	Code       int
	Since      time.Time // of the last change of any of these
}

// New makes a projection. It asks nothing of the database until Run.
func New(cfg Config) *Projection {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Spread == nil {
		cfg.Spread = func(d time.Duration) time.Duration { return rand.N(d) } //nolint:gosec // it spreads attempts, and is no secret
	}
	if cfg.Changes == nil {
		cfg.Changes = nobody{}
	}
	p := &Projection{cfg: cfg, views: allViews(), maxBatch: maxBatch, tips: map[string]*stream.Tip{}, statuses: map[string]*ViewStatus{}}
	for _, name := range Views() {
		p.tips[name] = new(stream.Tip)
		p.statuses[name] = &ViewStatus{View: name, Since: cfg.Now()}
	}
	p.metrics = newMetrics(cfg.Registerer)
	return p
}

// Name is the worker's name.
func (p *Projection) Name() string { return "projection" }

// Tip is the position of a view as far as it is committed; nil for a name that is none of Views. It goes back when the read
// database was restored to an older state.
func (p *Projection) Tip(view string) *stream.Tip { return p.tips[view] }

// Status tells how far each view is, in the order of Views.
func (p *Projection) Status() []ViewStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]ViewStatus, 0, len(p.statuses))
	for _, name := range Views() {
		out = append(out, *p.statuses[name])
	}
	return out
}

// Run builds the views until ctx ends. Trouble with the read database is waited out; an event that a view cannot take stops
// that view alone until the next Run, which a newer version of the code may survive. It returns ctx's error.
func (p *Projection) Run(ctx context.Context) error {
	stopped := map[string]bool{}
	wait := retryFirst
	for {
		began := p.cfg.Now()
		err := p.generation(ctx, stopped)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.cfg.Now().Sub(began) > steadyFor || errors.Is(err, errChanged) {
			wait = retryFirst
		}
		p.report(ctx, err, wait)
		if err := pause(ctx, wait/2+p.cfg.Spread(wait)); err != nil {
			return err
		}
		wait = min(2*wait, retryMost)
	}
}

func (p *Projection) report(ctx context.Context, err error, wait time.Duration) {
	switch {
	case errors.Is(err, errChanged):
		p.cfg.Logger.InfoContext(ctx, "the views go on", "cause", err)
	case errors.Is(err, errMoved):
		p.metrics.conflicts.Inc()
		p.cfg.Logger.WarnContext(ctx, "somebody else moved a checkpoint of this read database, going on from where it is", "cause", err)
	case err != nil && postgres.IsUnavailable(err):
		p.cfg.Logger.WarnContext(ctx, "read database is away, views are waiting", "retry_in", wait, "cause", err)
	case err != nil:
		p.cfg.Logger.ErrorContext(ctx, "views are waiting", "retry_in", wait, "cause", err)
	}
}

// generation believes the checkpoints that it reads at its start and works until something shows that they are not what the
// database holds, or until no view is left. Views it has to stop are added to stopped.
func (p *Projection) generation(ctx context.Context, stopped map[string]bool) error {
	defer p.cfg.Changes.Lost()
	points, own, foreign, err := p.load(ctx)
	if err != nil {
		return err
	}
	g := newGeneration(p, stopped, own, foreign)
	for _, views := range byCheckpoint(own, points, stopped) {
		g.place(newLane(g, views, points[views[0].name].place()))
	}
	return g.run(ctx)
}

// allViews are in the order of Views.
func allViews() []view {
	return []view{orderView(), taskInbox(), timeline(), orderSearch(), orderFacets(), catalog()}
}

// byCheckpoint groups the views that work together, those that are furthest first.
func byCheckpoint(views []view, points map[string]checkpoint, stopped map[string]bool) [][]view {
	type key struct {
		at   checkpoint
		pace pace
		fold string
	}
	groups := map[key][]view{}
	for _, v := range views {
		if !stopped[v.name] {
			k := key{at: points[v.name].place(), pace: v.pace, fold: foldKey(v)}
			groups[k] = append(groups[k], v)
		}
	}
	out := make([][]view, 0, len(groups))
	for _, group := range groups {
		out = append(out, group)
	}
	slices.SortFunc(out, func(a, b []view) int {
		return cmp.Compare(points[b[0].name].position, points[a[0].name].position)
	})
	return out
}

// load reads the checkpoints and tells them to everybody who waits. A view whose table is of another version of its code is foreign:
// nothing is written to it from here.
func (p *Projection) load(ctx context.Context) (points map[string]checkpoint, own, foreign []view, err error) {
	if points, err = p.checkpoints(ctx); err != nil {
		return nil, nil, nil, err
	}
	for _, v := range p.views {
		at := points[v.name]
		if v.name == OrderView && at.code == v.code {
			p.cfg.Changes.Reached(at.position)
		}
		p.tips[v.name].Set(at.position)
		if at.code != v.code {
			p.elsewhere(v, at)
			foreign = append(foreign, v)
			continue
		}
		p.setStatus(v.name, at, at.stopped)
		v.generation = at.generation
		if v.skips, err = p.skipsOf(ctx, v); err != nil {
			return nil, nil, nil, err
		}
		own = append(own, v)
	}
	return points, own, foreign, nil
}

// advanced is told after each commit.
func (p *Projection) advanced(views []view, position int64) {
	for _, v := range views {
		p.setStatus(v.name, checkpoint{position: position, generation: v.generation, code: v.code}, "")
		p.tips[v.name].Advance(position)
	}
}

// setStatus says whether anything is other than before.
func (p *Projection) setStatus(name string, at checkpoint, stopped string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.statuses[name]
	is := ViewStatus{View: name, Position: at.position, Stopped: stopped, Generation: at.generation, Code: at.code, Since: s.Since}
	if is == *s {
		return false
	}
	is.Since = p.cfg.Now()
	*s = is
	p.metrics.set(name, at.position, stopped != "")
	return true
}

// stop keeps views where they are. Others of the same checkpoint go on.
func (p *Projection) stop(ctx context.Context, all, stopping []view, at checkpoint, cause error) error {
	reason := fmt.Sprintf("at %d: %v", at.position+1, cause)
	if err := p.stopAt(ctx, all, stopping, at, reason); err != nil {
		return err
	}
	for _, v := range stopping {
		p.cfg.Logger.ErrorContext(ctx, "view stopped", "view", v.name, "position", at.position, "cause", cause)
		p.setStatus(v.name, checkpoint{position: at.position, generation: v.generation, code: v.code}, reason)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
