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

// linkFaults are those of the ways between processes.
func linkFaults() []Fault {
	var all []Fault
	for _, f := range []struct {
		kind   string
		broken bool // connections do not survive it
		breaks func(*rand.Rand, *cluster.Link) error
	}{
		{"link.cut", true, func(_ *rand.Rand, l *cluster.Link) error { return l.Cut(cluster.Up, cluster.Down) }},
		{"link.cut_there", true, func(_ *rand.Rand, l *cluster.Link) error { return l.Cut(cluster.Up) }},
		{"link.cut_back", true, func(_ *rand.Rand, l *cluster.Link) error { return l.Cut(cluster.Down) }},
		{"link.delay", false, func(r *rand.Rand, l *cluster.Link) error { return l.Delay(20+r.IntN(400), 20) }},
		{"link.loss", false, func(r *rand.Rand, l *cluster.Link) error { return l.Drip(300+r.IntN(1200), 5_000+r.IntN(40_000)) }},
		{"link.slow", false, func(r *rand.Rand, l *cluster.Link) error { return l.Throttle(20 + r.IntN(200)) }},
		{"link.reset", true, func(_ *rand.Rand, l *cluster.Link) error { return l.Reset() }},
	} {
		all = append(all, Fault{Kind: f.kind, Inject: func(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
			l, release, err := t.busyLink(ctx, random)
			if err != nil {
				return chaos.Bite{Kind: f.kind}, err
			}
			defer release()
			return t.bite(f.kind, l.Name(), func() (string, error) {
				return onLink(ctx, l, between(random, 300*time.Millisecond, 3*time.Second), f.broken, func() error { return f.breaks(random, l) })
			})
		}})
	}
	return append(all, Fault{Kind: "commit.unanswered", Inject: unanswered})
}

// busyLink reserves a link over which something goes at the moment.
func (t *Target) busyLink(ctx context.Context, random *rand.Rand) (*cluster.Link, func(), error) {
	for range 20 {
		l, release, ok := oneOf(ctx, t, random, t.Links(), (*cluster.Link).Name)
		if !ok {
			return nil, nil, ErrTaken
		}
		before := l.Bytes()
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			release()
			return nil, nil, err
		}
		if l.Bytes() != before {
			return l, release, nil
		}
		release()
	}
	return nil, nil, ErrTaken
}

// onLink breaks a link for a while. It bit if bytes were sent into it meanwhile.
func onLink(ctx context.Context, l *cluster.Link, while time.Duration, broken bool, breaks func() error) (string, error) {
	before := l.Bytes()
	err := breaks()
	if err == nil {
		err = pause(ctx, while)
	}
	met := l.Bytes() - before
	err = errors.Join(err, l.Heal(context.WithoutCancel(ctx), broken))
	if err != nil || met == 0 {
		return "", err
	}
	return fmt.Sprintf("%d bytes met it in %s", met, while.Round(time.Millisecond)), nil
}

// unanswered lets a write node's statements through to the primary, COMMITs too, and drops the answers: then the connections break.
func unanswered(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "commit.unanswered"
	var all []*cluster.Link
	for _, l := range t.Links() {
		if p := t.Process(l.From); p != nil && p.Kind == cluster.KindCommand && l.To == cluster.Primary {
			all = append(all, l)
		}
	}
	l, release, ok := oneOf(ctx, t, random, all, (*cluster.Link).Name)
	if !ok {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer release()
	return t.bite(kind, l.Name(), func() (string, error) {
		before, err := t.commits(ctx)
		if err != nil {
			return "", err
		}
		passed, err := onLink(ctx, l, between(random, 50*time.Millisecond, 500*time.Millisecond), true, func() error { return l.Cut(cluster.Down) })
		if err != nil || passed == "" {
			return "", err
		}
		after, err := t.commits(ctx)
		if err != nil || after == before {
			return "", err // nothing was committed meanwhile
		}
		return fmt.Sprintf("%s; the log's end went from %d to %d", passed, before, after), nil
	})
}
