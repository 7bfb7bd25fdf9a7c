package command

import (
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	cachedOrders = 4096
	cachedTasks  = 4 * cachedOrders
)

// cache keeps the orders of late rounds. They are the stored ones as long as the log's head is where the committer left it, which
// the next commit finds out: then the cache is emptied.
type cache struct {
	orders *lru.LRU[string, *orderState]
	tasks  *lru.LRU[string, string] // task id -> order id
}

func newCache() *cache {
	orders, err := lru.NewLRU[string, *orderState](cachedOrders, nil)
	if err != nil {
		panic(fmt.Sprintf("order cache: %v", err)) // its size is not positive
	}
	tasks, err := lru.NewLRU[string, string](cachedTasks, nil)
	if err != nil {
		panic(fmt.Sprintf("task cache: %v", err))
	}
	return &cache{orders: orders, tasks: tasks}
}

func (c *cache) empty() {
	c.orders.Purge()
	c.tasks.Purge()
}

// missing lists the orders and tasks among those wanted that are not kept; the others are made known to the round.
func (c *cache) missing(w *wants, r *round) *wants {
	left := &wants{}
	for _, id := range w.orders {
		if !c.give(id, r) {
			left.orders = append(left.orders, id)
		}
	}
	for _, id := range w.tasks {
		order, ok := c.tasks.Get(id)
		if !ok || !c.give(order, r) {
			left.tasks = append(left.tasks, id)
		}
	}
	return left
}

func (c *cache) give(id string, r *round) bool {
	state, ok := c.orders.Get(id)
	if ok && r.orders[id] == nil {
		state.touched = false
		r.know(state)
	}
	return ok
}

// take keeps the orders that a committed round has changed.
func (c *cache) take(r *round) {
	for _, state := range r.touched {
		state.stored = true
		c.orders.Add(state.order.ID, state)
		for i := range state.order.Tasks {
			c.tasks.Add(state.order.Tasks[i].ID, state.order.ID)
		}
	}
}
