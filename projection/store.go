package projection

import (
	"context"
	"errors"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// Store keeps the views in place of a read database. What a view's rows are is not its matter: it is given the events and the orders
// that the views are made from. Its views are not rebuilt, and skip and stop at nothing.
type Store interface {
	// Checkpoints gives where the views are. Where start is set, those without a checkpoint are emptied and begin at 0.
	Checkpoints(ctx context.Context, start bool) (map[string]Checkpoint, error)
	// Commit stores all or nothing. Where one of the views is not at From, it fails like advance_views does.
	Commit(ctx context.Context, c *Commit) error
	// Orders gives orders' documents from a view: order_view, as it is, or the timeline, as it was at a position.
	Orders(ctx context.Context, view string, at int64, ids []string) (map[string][]byte, error)
}

// Checkpoint is where a view is.
type Checkpoint struct {
	Position int64
	Digest   [32]byte
}

// Commit is one transaction of a projection.
type Commit struct {
	Views    []string
	From, To Checkpoint
	Records  []stream.Record
	Orders   map[string][]byte // the documents of the orders that the events changed, where one of the views needs them
}

// errNoStop says that a store keeps no reason for a view to stop.
var errNoStop = errors.New("a view cannot take an event, and its store stops none")

// checkpoints reads where the views are, and starts those that are nowhere.
func (p *Projection) checkpoints(ctx context.Context) (map[string]checkpoint, error) {
	if p.cfg.Store == nil {
		return loadCheckpoints(ctx, p.cfg.Pool, p.views)
	}
	return p.stored(ctx, true)
}

// recheck reads where the views are.
func (p *Projection) recheck(ctx context.Context) (map[string]checkpoint, error) {
	if p.cfg.Store == nil {
		return readCheckpoints(ctx, p.cfg.Pool)
	}
	return p.stored(ctx, false)
}

func (p *Projection) stored(ctx context.Context, begin bool) (map[string]checkpoint, error) {
	all, err := p.cfg.Store.Checkpoints(ctx, begin)
	if err != nil {
		return nil, err
	}
	points := make(map[string]checkpoint, len(all))
	for _, v := range p.views {
		if at, ok := all[v.name]; ok {
			points[v.name] = checkpoint{position: at.Position, digest: at.Digest, generation: 1, code: v.code}
		}
	}
	return points, nil
}

func (p *Projection) skipsOf(ctx context.Context, v view) (skips, error) {
	if p.cfg.Store != nil {
		return skips{}, nil
	}
	return loadSkips(ctx, p.cfg.Pool, v.name, v.generation)
}

func (p *Projection) stopAt(ctx context.Context, all, stopping []view, at checkpoint, reason string) error {
	if p.cfg.Store != nil {
		return errNoStop
	}
	return stopCheckpoints(ctx, p.cfg.Pool, all, stopping, at, reason)
}

// commit stores a transaction.
func (p *Projection) commit(ctx context.Context, q *queued) error {
	if p.cfg.Store == nil {
		return q.commit(ctx, p.cfg.Pool)
	}
	c := &Commit{Views: namesOf(q.views), From: q.from.exported(), To: q.to.exported(), Orders: make(map[string][]byte, len(q.writes))}
	for i := range q.facts {
		c.Records = append(c.Records, q.facts[i].Record)
	}
	for _, o := range q.writes {
		c.Orders[o.order.ID] = o.document
	}
	return movedError(p.cfg.Store.Commit(ctx, c))
}

func (c checkpoint) exported() Checkpoint { return Checkpoint{Position: c.position, Digest: c.digest} }

// documents says where the lane's orders are found as they were before its next event.
func (l *lane) documents() documents {
	at := func() int64 { return l.at.position }
	switch p := l.g.p; {
	case p.cfg.Store != nil && l.has(OrderView):
		return storeDocuments{store: p.cfg.Store, view: OrderView, at: at}
	case p.cfg.Store != nil:
		return storeDocuments{store: p.cfg.Store, view: Timeline, at: at, reached: p.tips[Timeline]}
	case l.has(OrderView):
		return viewDocuments{pool: p.cfg.Pool}
	default:
		return timelineDocuments{pool: p.cfg.Pool, tip: p.tips[Timeline], at: at, views: l.views}
	}
}

// storeDocuments takes orders from a store.
type storeDocuments struct {
	store   Store
	view    string
	at      func() int64
	reached *stream.Tip // of the view, where it has to be waited for
}

func (d storeDocuments) load(ctx context.Context, ids []string) (map[string]*events.Order, error) {
	if d.reached != nil {
		if err := d.reached.Wait(ctx, d.at()); err != nil {
			return nil, err
		}
	}
	found, err := d.store.Orders(ctx, d.view, d.at(), ids)
	if err != nil {
		return nil, err
	}
	orders := make(map[string]*events.Order, len(found))
	for id, document := range found {
		if orders[id], err = events.DecodeOrder(document); err != nil {
			return nil, err
		}
	}
	return orders, nil
}
