package stream

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
)

// Tip is a position that goes up, and whoever waits for it. The zero value stands at 0 and is ready for use. All
// methods may be called at once from many goroutines.
type Tip struct {
	position atomic.Int64

	mu      sync.Mutex
	waiters waiterHeap
	changed chan struct{} // nil while nobody asked
}

// Position returns the current position.
func (t *Tip) Position() int64 { return t.position.Load() }

// Advance moves up to p; a p that is not higher is ignored. It wakes those who wait for p or less and nobody else.
func (t *Tip) Advance(p int64) {
	if p <= t.position.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p <= t.position.Load() {
		return
	}
	t.move(p)
}

// Set moves to p, which may be lower: the database behind it may have been restored to an older state.
func (t *Tip) Set(p int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p == t.position.Load() {
		return
	}
	t.move(p)
}

// move is called with mu held.
func (t *Tip) move(p int64) {
	t.position.Store(p)
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	for len(t.waiters) > 0 && t.waiters[0].position <= p {
		w := heap.Pop(&t.waiters).(*waiter)
		close(w.reached)
	}
}

// Wait returns nil once the position is p or higher, or the context's error.
func (t *Tip) Wait(ctx context.Context, p int64) error {
	if t.position.Load() >= p {
		return nil
	}
	w := t.enlist(p)
	if w == nil {
		return nil
	}
	select {
	case <-w.reached:
		return nil
	case <-ctx.Done():
		return t.leave(ctx, w)
	}
}

// Changed returns a channel that is closed at the next change of position. Take it before reading what depends on
// the position, so that no change falls in between.
func (t *Tip) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// enlist returns nil when the position has been reached meanwhile.
func (t *Tip) enlist(p int64) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.position.Load() >= p {
		return nil
	}
	w := &waiter{position: p, reached: make(chan struct{})}
	heap.Push(&t.waiters, w)
	return w
}

func (t *Tip) leave(ctx context.Context, w *waiter) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.index < 0 {
		return nil // reached in the same moment
	}
	heap.Remove(&t.waiters, w.index)
	return ctx.Err()
}

// waiter waits for one position.
type waiter struct {
	position int64
	reached  chan struct{}
	index    int // in the heap; -1 outside
}

// waiterHeap has the lowest awaited position first.
type waiterHeap []*waiter

// Len implements heap.Interface.
func (h waiterHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h waiterHeap) Less(i, j int) bool { return h[i].position < h[j].position }

// Swap implements heap.Interface.
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop implements heap.Interface.
func (h *waiterHeap) Pop() any {
	old := *h
	last := len(old) - 1
	w := old[last]
	old[last] = nil
	w.index = -1
	*h = old[:last]
	return w
}
