package projection

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// watchEvery is how often the checkpoints of views are looked at that are not written here.
	watchEvery = 100 * time.Millisecond
	// watchOwn is how many times less often those are that are: a lane meets a switch by itself with its next transaction.
	watchOwn = 3
)

// errChanged says that a view can be written here that could not before.
var errChanged = errors.New("the views that are written here have changed")

// watch looks at the views that no lane of this generation has: those that are stopped, until somebody lets them go on, and those whose
// table is of another version of their code, which another program writes. Where nothing happens for long, it also finds out that a table
// was switched, or that the read database went back to an older state.
func (g *generation) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if err := g.look(ctx, turn%watchOwn == 0); err != nil {
			return err
		}
	}
}

func (g *generation) look(ctx context.Context, own bool) error {
	halted := g.halted()
	if len(halted) == 0 && len(g.foreign) == 0 && !own {
		return nil
	}
	known := make([]int64, len(g.own))
	for i, v := range g.own {
		known[i] = g.p.tips[v.name].Position()
	}
	points, err := g.p.recheck(ctx)
	if err != nil {
		return err
	}
	for i, v := range g.own {
		if at := points[v.name]; at.generation != v.generation || at.position < known[i] {
			return errChanged
		}
		if v.name == OrderView {
			g.p.cfg.Changes.Reached(known[i])
		}
	}
	for _, v := range g.foreign {
		at, ok := points[v.name]
		if !ok || at.code == v.code {
			return errChanged
		}
		g.p.elsewhere(v, at)
	}
	changed := false
	for _, name := range halted {
		if at, ok := points[name]; !ok || at.stopped == "" {
			g.release(name)
			changed = true
		}
	}
	if changed {
		return errChanged
	}
	return nil
}

// elsewhere tells how far a view is that is not written here, because its table is of another version of the view's code. Where that is
// a newer one, a newer program builds it.
func (p *Projection) elsewhere(v view, at checkpoint) {
	stopped := at.stopped
	if at.code < v.code {
		stopped = fmt.Sprintf("its table is of version %d of the view, this program has version %d: run orderstore rebuild %s", at.code, v.code, v.name)
	}
	if p.setStatus(v.name, at, stopped) {
		p.tips[v.name].Set(at.position)
	}
}

// halted are the views that are stopped.
func (g *generation) halted() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	names := make([]string, 0, len(g.halt))
	for name := range g.halt {
		names = append(names, name)
	}
	return names
}

// release has the view tried again.
func (g *generation) release(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.halt, name)
}
