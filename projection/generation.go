package projection

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"
)

// generation is the lanes that work from one reading of the checkpoints. It ends when one of them meets something that makes
// the reading doubtful, and with it end all.
type generation struct {
	p       *Projection
	own     []view  // that may be written here
	foreign []view  // whose tables are of another version of their code
	leader  *lane   // is furthest; those behind it join it once they are level. nil: every view is stopped
	others  []*lane // until run starts them
	joining chan *lane
	group   *errgroup.Group
	ctx     context.Context //nolint:containedctx // the group's: it ends with the generation

	mu   sync.Mutex
	halt map[string]bool
}

func newGeneration(p *Projection, stopped map[string]bool, own, foreign []view) *generation {
	return &generation{p: p, halt: stopped, own: own, foreign: foreign, joining: make(chan *lane, len(Views()))}
}

// place takes a lane in; the first of those that go together leads.
func (g *generation) place(l *lane) {
	if g.leader == nil && l.views[0].pace == together {
		g.leader = l
		return
	}
	g.others = append(g.others, l)
}

// joins is where lanes come to the leader; nobody comes to any other.
func (g *generation) joins(l *lane) <-chan *lane {
	if l != g.leader {
		return nil
	}
	return g.joining
}

// stopped notes a view that this run does not try again.
func (g *generation) stopped(v view) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.halt[v.name] = true
}

// run lets all lanes work. It returns nil when the leader has no view left: another lane has to lead.
func (g *generation) run(ctx context.Context) error {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	g.group, g.ctx = errgroup.WithContext(working)
	for _, l := range g.others {
		g.start(l)
	}
	if g.leader != nil {
		g.group.Go(func() error {
			defer cancel()
			return g.leader.run(g.ctx)
		})
	}
	g.group.Go(func() error { return g.watch(g.ctx) })
	if err := g.group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}

// start lets a lane follow the log by itself. When it is near the leader it asks to be taken in.
func (g *generation) start(l *lane) {
	g.group.Go(func() error {
		if err := l.run(g.ctx); err != nil {
			return err
		}
		if len(l.views) > 0 {
			g.joining <- l
		}
		return nil
	})
}
