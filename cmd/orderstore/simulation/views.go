package simulation

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/projection"
)

const codeMoved = "OS002"

// viewStore is one read database.
type viewStore struct {
	w    *world
	name string

	mu   sync.Mutex
	now  rows
	kept *rows // an older copy; nil: none was made
}

// rows are what it holds.
type rows struct {
	points   map[string]projection.Checkpoint
	applied  map[string]int64 // by view: what was applied goes up to here
	orders   map[string][]byte
	timeline []stream.Record
}

func (r *rows) clone() *rows {
	return &rows{points: maps.Clone(r.points), applied: maps.Clone(r.applied), orders: maps.Clone(r.orders), timeline: slices.Clone(r.timeline)}
}

func newViewStore(w *world, name string) *viewStore {
	return &viewStore{w: w, name: name, now: rows{points: map[string]projection.Checkpoint{}, applied: map[string]int64{}, orders: map[string][]byte{}}}
}

func (s *viewStore) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = s.now.clone()
}

func (s *viewStore) restore() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept != nil {
		s.now = *s.kept.clone()
	}
}

// wipe takes a view away, as a reset does.
func (s *viewStore) wipe(view string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now.points, view)
	s.empty(view)
}

func (s *viewStore) empty(view string) {
	s.now.applied[view] = 0
	switch view {
	case projection.OrderView:
		s.now.orders = map[string][]byte{}
	case projection.Timeline:
		s.now.timeline = nil
	}
}

// views is a process's connection to a read database.
type views struct {
	p *process
	s *viewStore
}

// Checkpoints implements projection.Store.
func (v *views) Checkpoints(ctx context.Context, start bool) (map[string]projection.Checkpoint, error) {
	if _, ok := v.p.call(ctx, "checkpoints", 0); !ok {
		return nil, lostConnection()
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if start {
		for _, name := range projection.Views() {
			if _, ok := v.s.now.points[name]; !ok {
				v.s.now.points[name] = projection.Checkpoint{}
				v.s.empty(name)
			}
		}
	}
	return maps.Clone(v.s.now.points), nil
}

// Orders implements projection.Store.
func (v *views) Orders(ctx context.Context, view string, at int64, ids []string) (map[string][]byte, error) {
	if _, ok := v.p.call(ctx, "orders of "+view, at); !ok {
		return nil, lostConnection()
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	found := map[string][]byte{}
	if view == projection.OrderView {
		for _, id := range ids {
			if document, ok := v.s.now.orders[id]; ok {
				found[id] = document
			}
		}
		return found, nil
	}
	if v.s.now.points[projection.Timeline].Position < at {
		return nil, refused(codeMoved)
	}
	orders := map[string]*events.Order{}
	for i := range v.s.now.timeline {
		r := &v.s.now.timeline[i]
		e, err := events.Decode(r.Position, r.Body)
		if err != nil {
			return nil, err
		}
		if r.Position > at || !slices.Contains(ids, e.OrderID) {
			continue
		}
		if orders[e.OrderID], err = events.Apply(orders[e.OrderID], &e); err != nil {
			return nil, err
		}
	}
	var err error
	for id, order := range orders {
		if found[id], err = order.Encode(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Commit implements projection.Store.
func (v *views) Commit(ctx context.Context, c *projection.Commit) error {
	f, ok := v.p.call(ctx, "commit of "+c.Views[0], c.To.Position)
	if !ok {
		if f != nil && v.p.isDead() && f.oneIn(2) {
			_ = v.s.store(c)
		}
		return lostConnection()
	}
	if v.s.w.broken == BreakCheckpointFirst {
		if err := v.s.point(c); err != nil {
			return err
		}
		if !v.p.back(ctx, f) {
			return lostConnection()
		}
	}
	if err := v.s.store(c); err != nil {
		return err
	}
	if v.s.w.broken == BreakCheckpointApart {
		if _, ok := v.p.call(ctx, "checkpoint", c.To.Position); !ok {
			return lostConnection()
		}
		if err := v.s.point(c); err != nil {
			return err
		}
	}
	if !v.p.back(ctx, f) {
		return lostConnection()
	}
	return nil
}

// point moves the checkpoint by itself.
func (s *viewStore) point(c *projection.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range c.Views {
		if s.now.points[name] != c.From {
			return refused(codeMoved)
		}
	}
	for _, name := range c.Views {
		s.now.points[name] = c.To
	}
	return nil
}

// store is the transaction. What it changes is compared with what the log says.
func (s *viewStore) store(c *projection.Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range c.Views {
		at, ok := s.now.points[name]
		if s.w.broken == BreakCheckpointFirst && at == c.To {
			continue
		}
		if (!ok || at != c.From) && s.w.broken != BreakViewCompareAndSet {
			return refused(codeMoved)
		}
	}
	for _, name := range c.Views {
		if s.now.applied[name] != c.Records[0].Position-1 {
			s.w.fails("%s of %s is at %d and is given %d", name, s.name, s.now.applied[name], c.Records[0].Position)
		}
		s.now.applied[name] = c.To.Position
		if s.w.broken != BreakCheckpointApart {
			s.now.points[name] = c.To
		}
	}
	s.compare(c)
	if slices.Contains(c.Views, projection.OrderView) {
		maps.Copy(s.now.orders, c.Orders)
	}
	if slices.Contains(c.Views, projection.Timeline) {
		s.now.timeline = append(s.now.timeline, c.Records[s.w.passed(c):]...)
	}
	return nil
}

// passed is how many of the events are gone past.
func (w *world) passed(c *projection.Commit) int {
	if w.broken == BreakSkip && c.To.Position%5 == 0 {
		return 1
	}
	return 0
}

// compare checks that each event is the log's, and each order the fold of the log up to the last of its events.
func (s *viewStore) compare(c *projection.Commit) {
	db := s.w.db
	last := map[string]int64{}
	for i := range c.Records {
		r := &c.Records[i]
		row, ok := db.row(r.Position)
		if !ok || row.Digest != r.Digest || string(row.Body) != string(r.Body) {
			s.w.fails("%s is given what is not log row %d", s.name, r.Position)
		}
		db.mu.Lock()
		last[db.orderAt[r.Position]] = r.Position
		db.mu.Unlock()
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for id, document := range c.Orders {
		if string(db.documents[last[id]]) != string(document) {
			s.w.fails("order %s in %s at %d is not the fold of its events", id, s.name, last[id])
		}
	}
}

// level says what is missing until all views are at a position, and whole.
func (s *viewStore) level(position int64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range projection.Views() {
		if at := s.now.points[name].Position; at != position {
			return name + " of " + s.name + " is behind"
		}
		if s.now.applied[name] != position {
			s.w.fails("the checkpoint of %s of %s is at %d, what was applied at %d", name, s.name, position, s.now.applied[name])
		}
	}
	return ""
}

// whole checks order_view and timeline against the log's fold.
func (s *viewStore) whole() {
	s.mu.Lock()
	defer s.mu.Unlock()
	db := s.w.db
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(s.now.orders) != len(db.folded) {
		s.w.fails("%s has %d orders, the log %d", s.name, len(s.now.orders), len(db.folded))
	}
	last := map[string]int64{}
	for position, id := range db.orderAt {
		last[id] = max(last[id], position)
	}
	for id, document := range s.now.orders {
		if string(db.documents[last[id]]) != string(document) {
			s.w.fails("order %s in %s is not the fold of the log", id, s.name)
		}
	}
	if len(s.now.timeline) != len(db.rows) {
		s.w.fails("the timeline of %s has %d events, the log %d", s.name, len(s.now.timeline), len(db.rows))
	}
	for i := range min(len(s.now.timeline), len(db.rows)) {
		if s.now.timeline[i].Digest != db.rows[i].Digest {
			s.w.fails("the timeline of %s has another event at %d", s.name, i+1)
		}
	}
}
