package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/faults"
)

// injector deals out the run's faults in an order that its seed fixes, several at a time; those that want to be alone are.
type injector struct {
	*settings
	target *faults.Target
	r      *result

	alone  sync.RWMutex
	mu     sync.Mutex
	dealt  []faults.Fault
	random *rand.Rand
}

func (s *settings) inject(ctx context.Context, target *faults.Target, chosen []faults.Fault, r *result) {
	i := &injector{settings: s, target: target, r: r, random: dice(s.seed, 0)}
	for len(i.dealt) < s.count { // each kind as often as the others
		for _, n := range i.random.Perm(len(chosen)) {
			i.dealt = append(i.dealt, chosen[n])
		}
	}
	i.dealt = i.dealt[:s.count]
	ctx, cancel := context.WithTimeout(ctx, s.longest)
	defer cancel()
	supervised, rest := context.WithCancel(ctx)
	var working, supervising sync.WaitGroup
	supervising.Go(func() { target.Supervise(supervised) })
	defer supervising.Wait()
	defer rest()
	for n := range s.concurrency {
		working.Go(func() { i.work(ctx, dice(s.seed, uint64(n)+1)) }) //nolint:gosec // a few
	}
	working.Wait()
}

func (i *injector) next() (faults.Fault, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.dealt) == 0 {
		return faults.Fault{}, false
	}
	f := i.dealt[0]
	i.dealt = i.dealt[1:]
	return f, true
}

func (i *injector) work(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		f, more := i.next()
		if !more {
			return
		}
		b, err := i.once(ctx, f, random)
		if errors.Is(err, faults.ErrTaken) {
			i.later(ctx, f)
			continue
		}
		i.note(f, b, err)
	}
}

// later puts a fault back whose targets are all broken at the moment.
func (i *injector) later(ctx context.Context, f faults.Fault) {
	i.mu.Lock()
	i.dealt = append(i.dealt, f)
	i.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}

func (i *injector) once(ctx context.Context, f faults.Fault, random *rand.Rand) (chaos.Bite, error) {
	if f.Alone {
		i.alone.Lock()
		defer i.alone.Unlock()
	} else {
		i.alone.RLock()
		defer i.alone.RUnlock()
	}
	return f.Inject(ctx, i.target, random)
}

func (i *injector) note(f faults.Fault, b chaos.Bite, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case err != nil:
		i.r.Failed = append(i.r.Failed, err.Error())
		i.say("%-20s %v", f.Kind, err)
	case b.Evidence == "":
		i.r.NoBite[f.Kind]++
		i.say("%-20s %s: nothing came of it", b.Kind, b.Target)
	default:
		i.r.Faults[f.Kind]++
		i.r.Injected = append(i.r.Injected, b)
		i.say("%-20s %s (%s): %s", b.Kind, b.Target, (b.Healed - b.Began).Round(time.Millisecond), b.Evidence)
	}
	if n := sum(i.r.Faults); n%50 == 0 && n > 0 {
		i.say("%d faults so far; %s", n, counts(i.target))
	}
}

func counts(t *faults.Target) string {
	c := t.Load.Counted()
	return fmt.Sprintf("%d operations, %d writes acknowledged, %d events received", c.Ops, c.Acknowledged, c.Received)
}
