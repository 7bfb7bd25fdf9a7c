package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/cluster"
)

// ErrTaken says that all that could be broken is broken already.
var ErrTaken = errors.New("all of its kind are broken already")

// processFaults are those of each kind of process: killed, and frozen for a while.
func processFaults() []Fault {
	var all []Fault
	for _, kind := range []string{
		cluster.KindCommand, cluster.KindRelay, cluster.KindRead, cluster.KindBroadcast, cluster.KindAuxiliary, cluster.KindNATS, cluster.KindPostgres,
	} {
		all = append(all,
			Fault{Kind: "kill." + kind, Inject: func(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
				return t.process(ctx, random, "kill."+kind, kind, killed)
			}},
			Fault{Kind: "freeze." + kind, Inject: func(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
				return t.process(ctx, random, "freeze."+kind, kind, frozen)
			}})
	}
	return all
}

func (t *Target) process(
	ctx context.Context, random *rand.Rand, kind, of string, breaking func(context.Context, *rand.Rand, *cluster.Process) (string, error),
) (chaos.Bite, error) {
	var all []*cluster.Process
	for _, p := range t.Processes() {
		if p.Kind == of {
			all = append(all, p)
		}
	}
	p, release, ok := oneOf(ctx, t, random, all, func(p *cluster.Process) string { return p.Name })
	if !ok {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer release()
	return t.bite(kind, p.Name, func() (string, error) { return breaking(ctx, random, p) })
}

// killed ends a process and starts it again after a while.
func killed(ctx context.Context, random *rand.Rand, p *cluster.Process) (string, error) {
	before := p.PID()
	if err := p.Kill(); err != nil {
		return "", err
	}
	if err := pause(ctx, between(random, 100*time.Millisecond, 1500*time.Millisecond)); err != nil {
		return "", errors.Join(err, p.Start(context.WithoutCancel(ctx)))
	}
	if err := p.Start(context.WithoutCancel(ctx)); err != nil {
		return "", err
	}
	after := p.PID()
	if before == 0 || after == before {
		return "", nil
	}
	return fmt.Sprintf("pid %d -> %d", before, after), nil
}

// frozen stops a process where it is and lets it go on after a while.
func frozen(ctx context.Context, random *rand.Rand, p *cluster.Process) (string, error) {
	began := time.Now()
	n, err := p.Freeze()
	defer p.Thaw()
	if err != nil || n == 0 {
		return "", err
	}
	err = pause(ctx, between(random, 200*time.Millisecond, 3*time.Second))
	return fmt.Sprintf("%d processes in state T for %s", n, time.Since(began).Round(time.Millisecond)), err
}
