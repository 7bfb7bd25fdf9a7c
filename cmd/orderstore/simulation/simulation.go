// Package simulation runs the committer, the relay and the projection of several nodes in one process, on stores in memory that fail as
// the real ones were seen to fail. Time is held by a testing/synctest bubble. What fails, and how long each call takes, follows from a
// seed alone, so a run that breaks a promise is run again by its seed.
package simulation

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"
)

// Break is a promise of a store, or a step of ours, that a run leaves out, to show that the checks notice.
type Break string

// Result is what came of a run.
type Result struct {
	Trace    uint64 // the same for two runs of a seed
	Calls    int64  // to the stores
	Faults   int64  // of those, that failed
	Orders   int    // acknowledged
	Position int64  // of the log's end
	Broken   error  // the first promise that did not hold; nil: all did
}

// world is one run.
type world struct {
	seed   uint64
	broken Break
	ctx    context.Context //nolint:containedctx // the run's: it ends what the stores do by themselves
	began  time.Time
	healed atomic.Bool

	trace, calls, faults atomic.Uint64

	mu     sync.Mutex
	broke  error
	db     *primary
	broker *broker
	views  []*viewStore
	group  sync.WaitGroup
}

// fails notes a promise that did not hold.
func (w *world) fails(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broke == nil {
		w.broke = fmt.Errorf(format, args...)
	}
}

func (w *world) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broke
}

// goes runs what the stores do by themselves.
func (w *world) goes(run func()) { w.group.Go(run) }

// fate is what becomes of one call. It follows from the seed, the time, and who asks for what: never from the order in which goroutines
// that are ready at one time run.
type fate struct{ state uint64 }

func (w *world) draw(who, what string, arg int64) *fate {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d|%s|%s|%d|%d", w.seed, who, what, arg, time.Since(w.began))
	f := &fate{state: h.Sum64()}
	w.trace.Add(f.next()) // a sum: calls of one time have no order
	return f
}

// next is splitmix64.
func (f *fate) next() uint64 {
	f.state += 0x9e3779b97f4a7c15
	z := f.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below is a number from 0 to n-1.
func (f *fate) below(n int) int { return int(f.next() % uint64(n)) } //nolint:gosec // n is positive

// oneIn says yes once in n times.
func (f *fate) oneIn(n int) bool { return f.below(n) == 0 }

// upTo is a time up to d, to the nanosecond, so that two calls end at one time next to never.
func (f *fate) upTo(d time.Duration) time.Duration { return time.Duration(f.below(int(d))) + 1 }

// sleep waits; it says no where ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// process is one program of a node: what it has in memory ends with it.
type process struct {
	w    *world
	name string

	mu     sync.Mutex
	dead   bool
	frozen chan struct{} // closed when it goes on; nil: it runs
	gone   chan struct{} // closed when it is dead
}

func newProcess(w *world, name string) *process {
	return &process{w: w, name: name, gone: make(chan struct{})}
}

func (p *process) kill() {
	p.mu.Lock()
	if !p.dead {
		p.dead = true
		close(p.gone)
	}
	p.mu.Unlock()
	p.thaw()
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// freeze stops it as SIGSTOP does, as far as the stores see: its calls do not come to an end.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil && !p.dead {
		p.frozen = make(chan struct{})
	}
}

func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

func (p *process) running() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

const (
	callTakes = 2 * time.Millisecond // at most, in good order
	slowTakes = 6 * time.Second      // at most, when a call is slow
	slowOne   = 80                   // one in so many calls is slow
	failOne   = 30                   // one in so many fails before it has done anything
)

// call is the way to a store: it takes its time, and may fail before anything has happened. What is dead calls nobody, and has no fate.
func (p *process) call(ctx context.Context, what string, arg int64) (f *fate, ok bool) {
	if p.isDead() {
		return nil, false
	}
	f = p.w.draw(p.name, what, arg)
	p.w.calls.Add(1)
	takes := 20*time.Microsecond + f.upTo(callTakes)
	slow, fails := f.oneIn(slowOne), f.oneIn(failOne)
	if p.w.healed.Load() {
		slow, fails = false, false
	}
	if slow {
		takes = f.upTo(slowTakes)
	}
	ok = sleep(ctx, takes)
	if still := p.running(); still != nil {
		<-still
		ok = sleep(ctx, f.upTo(callTakes)) // what stood still goes on one after the other
	}
	if fails || p.isDead() {
		p.w.faults.Add(1)
		return f, false
	}
	return f, ok && p.w.ctx.Err() == nil
}

// back is the way of an answer: it says no where the answer is lost.
func (p *process) back(ctx context.Context, f *fate) bool {
	lost := !p.w.healed.Load() && f.oneIn(failOne)
	if lost {
		p.w.faults.Add(1)
	}
	arrived := sleep(ctx, f.upTo(callTakes))
	return arrived && !lost && !p.isDead()
}
