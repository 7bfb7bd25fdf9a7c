package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/cluster"
)

// upgrade is a rolling upgrade between the programs of two folders.
type upgrade struct {
	from, to string

	mu       sync.Mutex
	migrated bool
}

// RollingUpgrade replaces all programs of a kind, one after the other and each in good order, by those of another folder; those that are of it already,
// by the ones that the run began with. The first one migrates the databases with the other folder's programs.
func RollingUpgrade(from, to string) Fault {
	u := &upgrade{from: from, to: to}
	return Fault{Kind: "upgrade.rolling", Inject: u.inject}
}

func (u *upgrade) inject(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "upgrade.rolling"
	kinds := []string{cluster.KindCommand, cluster.KindRelay, cluster.KindRead, cluster.KindBroadcast, cluster.KindAuxiliary}
	for _, i := range random.Perm(len(kinds)) {
		all, names := ofKind(t, kinds[i])
		if !t.free.takeAll(names) {
			continue
		}
		defer t.free.giveAll(names)
		return t.bite(kind, kinds[i], func() (string, error) {
			if err := u.migrate(ctx, t); err != nil {
				return "", err
			}
			return u.roll(ctx, all)
		})
	}
	return chaos.Bite{Kind: kind}, ErrTaken
}

// migrate is the first step, once.
func (u *upgrade) migrate(ctx context.Context, t *Target) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.migrated {
		return nil
	}
	err := t.Migrate(ctx, u.to)
	u.migrated = err == nil
	return err
}

func ofKind(t *Target, kind string) (all []*cluster.Process, names []string) {
	for _, p := range t.Processes() {
		if p.Kind == kind {
			all, names = append(all, p), append(names, p.Name)
		}
	}
	return all, names
}

// roll waits for each program before it goes on to the next, as an operator does. The evidence is that each says it is another version.
func (u *upgrade) roll(ctx context.Context, all []*cluster.Process) (string, error) {
	to := u.to
	if all[0].Folder() == u.to {
		to = u.from
	}
	var seen []string
	for _, p := range all {
		was, before := p.Version(ctx), p.PID()
		if err := p.Replace(ctx, to); err != nil {
			return "", err
		}
		if err := p.Await(ctx, readyWithin); err != nil {
			return "", err
		}
		is, after := p.Version(ctx), p.PID()
		if was != "" && is != "" && was != is && before != after {
			seen = append(seen, fmt.Sprintf("%s pid %d, %s -> pid %d, %s", p.Name, before, was, after, is))
		}
	}
	if len(seen) < len(all) {
		return "", nil
	}
	return strings.Join(seen, "; "), nil
}
