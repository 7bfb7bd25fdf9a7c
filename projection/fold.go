package projection

import (
	"context"
	"fmt"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/orderstore/orderstore/events"
)

// recentOrders is how many orders a reader keeps decoded. It has to be more than two batches can touch, so that an order of a
// batch that is not committed yet is never looked for in the database.
const recentOrders = 4*maxBatch + 192

// documents finds orders as they are at the reader's position.
type documents interface {
	load(ctx context.Context, ids []string) (map[string]*events.Order, error)
}

// folder keeps the orders that events were last about. That is right because its reader alone changes them; whoever has
// reason to doubt it makes a new folder.
type folder struct {
	source documents
	recent *simplelru.LRU[string, *events.Order]
	before []int64 // task versions before an event; kept to be used again
	skips  skips
}

func newFolder(source documents, size int, evicted simplelru.EvictCallback[string, *events.Order]) *folder {
	recent, err := simplelru.NewLRU(size, evicted)
	if err != nil {
		panic("projection: " + err.Error()) // a size that is no constant of this package
	}
	return &folder{source: source, recent: recent}
}

// fold applies the facts and gives the orders they changed. After an error the folder holds orders that were changed by
// events which were not written, and must be thrown away. A *fault tells which event could not be folded.
func (f *folder) fold(ctx context.Context, facts []fact) ([]*changed, error) {
	if err := f.fetch(ctx, facts); err != nil {
		return nil, err
	}
	touched := make(map[string]*changed, len(facts))
	list := make([]*changed, 0, len(facts))
	for i := range facts {
		e := facts[i].event
		if e.OrderID == "" {
			continue
		}
		c := touched[e.OrderID]
		if c == nil {
			order, _ := f.recent.Get(e.OrderID)
			if order == nil && f.skips[e.Position] {
				continue
			}
			c = &changed{id: facts[i].orderID, order: order, placed: order == nil}
			if order != nil {
				c.knownTasks = len(order.Tasks)
			}
			touched[e.OrderID] = c
			list = append(list, c)
		}
		if err := f.apply(c, e); err != nil {
			return nil, &fault{index: i, cause: err}
		}
		c.document = facts[i].document
		if f.skips[e.Position] {
			c.document = nil
		}
		f.recent.Add(e.OrderID, c.order)
	}
	for _, c := range list {
		if c.document != nil {
			continue
		}
		document, err := c.order.Encode()
		if err != nil {
			return nil, &fault{index: -1, cause: err}
		}
		c.document = document
	}
	return list, nil
}

func (f *folder) apply(c *changed, e *events.Event) error {
	if f.skips[e.Position] {
		events.Pass(c.order, e)
		c.position = e.Position
		return nil
	}
	f.before = f.before[:0]
	if c.order != nil {
		for i := range c.order.Tasks {
			f.before = append(f.before, c.order.Tasks[i].Version)
		}
	}
	c.remember(e.Type)
	order, err := events.Apply(c.order, e)
	if err != nil {
		return err
	}
	c.order, c.position = order, e.Position
	c.touch(f.before, e.Position)
	return nil
}

// fetch gets the orders that the facts go on with and that are not at hand.
func (f *folder) fetch(ctx context.Context, facts []fact) error {
	var missing []string
	seen := map[string]bool{}
	for i := range facts {
		id := facts[i].event.OrderID
		if id == "" || seen[id] {
			continue
		}
		if facts[i].event.Type == events.OrderPlaced && !f.skips[facts[i].Position] {
			seen[id] = true
			continue
		}
		if _, ok := f.recent.Get(id); !ok {
			seen[id] = true
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	found, err := f.source.load(ctx, missing)
	if err != nil {
		return fmt.Errorf("load orders: %w", err)
	}
	for id, order := range found {
		f.recent.Add(id, order)
	}
	return nil
}
