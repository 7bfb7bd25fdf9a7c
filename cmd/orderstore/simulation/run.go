package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/orderstore/orderstore/projection"
)

const (
	troubles    = 14              // things that befall the nodes and stores of a run, at most
	trouble     = 8 * time.Second // for which calls fail and things happen
	levelWithin = 5 * time.Minute // after everything has healed
	clients     = 3
)

// Run makes one run, inside a synctest bubble. broken leaves something out; empty: nothing.
func Run(ctx context.Context, seed uint64, broken Break) Result {
	ctx, cancel := context.WithCancel(ctx)
	w := &world{seed: seed, broken: broken, ctx: ctx, began: time.Now()}
	w.db, w.broker = newPrimary(w), newBroker(w)
	w.views = []*viewStore{newViewStore(w, "views 1"), newViewStore(w, "views 2")}
	nodes := []*node{
		{w: w, name: "node a", roles: roles{writes: true, views: w.views[0]}},
		{w: w, name: "node b", roles: roles{writes: true}},
		{w: w, name: "node c", roles: roles{views: w.views[1]}},
	}
	for _, n := range nodes {
		n.start()
	}
	asking := make([]*client, clients)
	for i := range asking {
		asking[i] = newClient(w, fmt.Sprintf("client %d", i+1), nodes[:2])
		w.goes(asking[i].run)
	}
	w.befall(nodes)
	w.heal(nodes)
	w.level(asking)
	if w.failed() == nil {
		w.check(asking)
	}
	cancel()
	for _, n := range nodes {
		n.kill()
	}
	w.group.Wait()
	result := Result{
		Trace: w.trace.Load(), Calls: int64(w.calls.Load()), Faults: int64(w.faults.Load()), Position: w.db.end(), Broken: w.failed(), //nolint:gosec // small
	}
	for _, c := range asking {
		result.Orders += len(c.acknowledged)
	}
	return result
}

// befall is what happens to nodes and stores while calls fail.
func (w *world) befall(nodes []*node) {
	f := w.draw("world", "troubles", 0)
	n := 2 + f.below(troubles-1)
	for i := range n {
		if !sleep(w.ctx, f.upTo(2*trouble/time.Duration(n))) || w.failed() != nil {
			return
		}
		w.happens(nodes, w.draw("world", "trouble", int64(i)))
	}
}

func (w *world) happens(nodes []*node, f *fate) {
	n := nodes[f.below(len(nodes))]
	v := w.views[f.below(len(w.views))]
	switch f.below(14) {
	case 0, 1, 2:
		if !n.kill() {
			return
		}
		w.goes(func() {
			if sleep(w.ctx, f.upTo(time.Second)) {
				n.start()
			}
		})
	case 3, 4:
		p := n.life()
		p.freeze()
		w.goes(func() {
			sleep(w.ctx, f.upTo(6*time.Second))
			p.thaw()
		})
	case 5:
		w.db.mu.Lock()
		w.db.lease = nil
		w.db.mu.Unlock()
	case 6, 7:
		w.broker.cut(1 + f.below(8))
	case 8:
		w.broker.cut(-1)
	case 9:
		w.broker.keep()
		v.keep()
	case 10:
		w.broker.restore()
	case 11:
		v.restore()
	case 12:
		w.befallsOne(f, v)
	default:
		w.broker.alter(func() { w.broker.up = false })
		w.goes(func() {
			sleep(w.ctx, f.upTo(3*time.Second))
			w.broker.alter(func() { w.broker.up = true })
		})
	}
}

// befallsOne is what befalls one view or one message.
func (w *world) befallsOne(f *fate, v *viewStore) {
	if f.oneIn(3) {
		w.broker.lose(f)
		return
	}
	names := projection.Views()
	v.wipe(names[f.below(len(names))])
}

// heal ends all trouble.
func (w *world) heal(nodes []*node) {
	w.healed.Store(true)
	w.broker.alter(func() { w.broker.up = true })
	for _, n := range nodes {
		n.life().thaw()
	}
}

// level waits until nothing lags.
func (w *world) level(asking []*client) {
	began := time.Now()
	for {
		behind := w.behind(asking)
		if behind == "" || w.failed() != nil {
			return
		}
		if time.Since(began) > levelWithin {
			w.fails("%s after all has healed: %s", levelWithin, behind)
			return
		}
		if !sleep(w.ctx, 200*time.Millisecond) {
			return
		}
	}
}

func (w *world) behind(asking []*client) string {
	for _, c := range asking {
		select {
		case <-c.done:
		default:
			return c.name + " has no answer"
		}
	}
	end := w.db.end()
	w.broker.mu.Lock()
	whole := w.broker.stream.whole(end)
	w.broker.mu.Unlock()
	if !whole {
		return "the stream is behind, or lacks something"
	}
	for _, v := range w.views {
		if lags := v.level(end); lags != "" {
			return lags
		}
	}
	return ""
}

// check compares everything once nothing lags.
func (w *world) check(asking []*client) {
	for _, v := range w.views {
		v.whole()
	}
	for _, one := range asking {
		one.check()
	}
}
