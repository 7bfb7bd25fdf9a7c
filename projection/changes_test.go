package projection

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hearer checks what it is told against the read database, at the moment at which it is told.
type hearer struct {
	w *world

	mu      sync.Mutex
	live    bool
	reached int64
	told    map[[16]byte]int64
	changes int
	lost    int
}

// Changing implements Changes: nobody can read the change yet.
func (h *hearer) Changing(ids [][16]byte, position int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	assert.True(h.w.t, h.live, "told of a change without where the view is")
	var at int64
	err := h.w.read.QueryRow(h.w.t.Context(), `SELECT position FROM checkpoints WHERE view = 'order_view'`).Scan(&at)
	assert.True(h.w.t, err == nil && at < position, "the view is at %d before it is told of %d: %v", at, position, err)
	for _, id := range ids {
		h.told[id] = position
		h.changes++
	}
}

// Reached implements Changes: everything that changed since the last time was told, at positions as high as the view's rows have.
func (h *hearer) Reached(position int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.live {
		h.live, h.reached, h.told = true, position, map[[16]byte]int64{}
		return
	}
	rows, err := h.w.read.Query(h.w.t.Context(), `SELECT id, position FROM order_view WHERE position > $1 AND position <= $2`, h.reached, position)
	if err != nil {
		h.w.t.Errorf("read changes: %v", err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id [16]byte
		var at int64
		err = errors.Join(err, rows.Scan(&id, &at))
		assert.GreaterOrEqual(h.w.t, h.told[id], at, "a change that was not told")
	}
	if err := errors.Join(err, rows.Err()); err != nil {
		h.w.t.Errorf("read changes: %v", err)
	}
	h.reached = max(h.reached, position)
}

// Lost implements Changes.
func (h *hearer) Lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live = false
	h.lost++
}

func (h *hearer) now() (lost int, live bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost, h.live
}

// Who keeps orders in memory hears of each change before it can be read, and that it is lost whatever else happens to the view.
func TestTellsOfChanges(t *testing.T) {
	t.Parallel()
	w := setup(t)
	h := &hearer{w: w}
	cfg := w.config()
	cfg.Changes = h
	p, stop := w.run(cfg)
	for range 10 {
		w.grow(60)
		w.wait(p, w.head(), OrderView)
	}
	require.Positive(t, h.changes)
	lost, _ := h.now()
	begunAnew := func(what string) {
		t.Helper()
		w.until(what, func() bool {
			now, live := h.now()
			return now > lost && live
		})
		lost, _ = h.now()
		w.wait(p, w.head(), Views()...)
	}
	require.NoError(t, Reset(t.Context(), w.read, OrderView))
	begunAnew("the view was emptied")
	_, err := w.read.Exec(t.Context(), `TRUNCATE order_search;
		UPDATE checkpoints SET position = 0, digest = decode(repeat('00', 32), 'hex') WHERE view = 'order_search'`)
	require.NoError(t, err)
	begunAnew("a crash took what was committed, and nothing happened since")
	_, err = w.read.Exec(t.Context(), `UPDATE checkpoints SET generation = generation + 1 WHERE view = 'order_view'`)
	require.NoError(t, err)
	begunAnew("another table took the view's place")
	stop()
	_, live := h.now()
	require.False(t, live)
}
