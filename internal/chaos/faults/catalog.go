package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/stream"
)

// Fault is one that can be injected.
type Fault = chaos.Fault[*Target]

// Catalog is all of them, for a cluster whose stores lie on disks of their own or in folders.
func Catalog(disks bool) []Fault {
	var all []Fault
	all = append(all, processFaults()...)
	all = append(all, linkFaults()...)
	all = append(all, operatorFaults()...)
	brokers := []string{"nats-1", "nats-2", "nats-3", stream.Name}
	for _, f := range []Fault{
		StreamOlder[*Target](), StreamTruncated[*Target](), StreamFlipped[*Target](), StreamDeleted[*Target](), StreamReconfigured[*Target](), PoisonEvent[*Target](),
	} {
		all = append(all, exclusive(f, brokers...))
	}
	all = append(all, StreamAllOlder[*Target](), exclusive(ViewsWiped[*Target](), "views of read-db-1", "views of read-db-2"), PartyOlder[*Target]())
	for _, f := range Endpoints[*Target]() {
		all = append(all, exclusive(f, "endpoint"))
	}
	if disks {
		all = append(all, exclusive(DiskFull[*Target](), storeNames()...), PowerCut[*Target]())
	}
	return all
}

// exclusive reserves processes and other things for a fault that chooses among them by itself.
func exclusive(f Fault, names ...string) Fault {
	inject := f.Inject
	f.Inject = func(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
		if !t.free.takeAll(names) {
			return chaos.Bite{Kind: f.Kind}, ErrTaken
		}
		defer t.free.giveAll(names)
		began := time.Since(t.Began)
		b, err := inject(ctx, t, random)
		b.Began, b.Healed = began, time.Since(t.Began)
		return b, err
	}
	return f
}

// broken is a fault under way: it has the times, and the name of what is broken.
func (t *Target) bite(kind, target string, breaking func() (evidence string, err error)) (chaos.Bite, error) {
	b := chaos.Bite{Kind: kind, Target: target, Began: time.Since(t.Began)}
	evidence, err := breaking()
	b.Evidence, b.Healed = evidence, time.Since(t.Began)
	if err != nil {
		return b, fmt.Errorf("%s of %s: %w", kind, target, err)
	}
	return b, nil
}

// oneOf takes one that no other fault has at the moment; false: all are taken.
func oneOf[T any](ctx context.Context, t *Target, random *rand.Rand, all []T, name func(T) string) (found T, release func(), ok bool) {
	for _, i := range random.Perm(len(all)) {
		if t.free.take(name(all[i])) {
			return all[i], func() { t.free.give(name(all[i])) }, ctx.Err() == nil
		}
	}
	return found, func() {}, false
}
