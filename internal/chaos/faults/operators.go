package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/cluster"
	"github.com/orderstore/orderstore/internal/stream"
)

// operatorFaults are what operators and other programs do to brokers, databases and views.
func operatorFaults() []Fault {
	return []Fault{
		{Kind: "consumers.deleted", Inject: consumersDeleted},
		{Kind: "views.rebuilt", Inject: viewsRebuilt},
		{Kind: "connections.storm", Inject: connectionStorm},
		{Kind: "standby.stopped", Inject: standbyStopped},
		{Kind: "party.slow", Inject: partySlow},
	}
}

// commits is where the log ends, past all links. A server that is down at the moment is waited for.
func (t *Target) commits(ctx context.Context) (position int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if position, err = t.logEnd(ctx); err == nil {
			return position, nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return 0, err
		}
	}
}

func (t *Target) logEnd(ctx context.Context) (position int64, err error) {
	conn, err := pgx.Connect(ctx, t.Endpoints().Direct.Primary)
	if err != nil {
		return 0, fmt.Errorf("connect to the primary: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, `SELECT position FROM log_head`).Scan(&position); err != nil {
		return 0, fmt.Errorf("read the log's end: %w", err)
	}
	return position, nil
}

// onStream does something to the stream as one who holds the broker's keys, past all links. What was there before and after is the evidence.
func (t *Target) onStream(
	ctx context.Context, kind string, do func(ctx context.Context, js jetstream.JetStream, nc *nats.Conn, s jetstream.Stream) (string, error),
) (chaos.Bite, error) {
	if !t.free.take(stream.Name) {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer t.free.give(stream.Name)
	return t.bite(kind, stream.Name, func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		for {
			evidence, err := t.withStream(ctx, do)
			if err == nil {
				return evidence, nil
			}
			if pause(ctx, 200*time.Millisecond) != nil {
				return "", err
			}
		}
	})
}

func (t *Target) withStream(
	ctx context.Context, do func(ctx context.Context, js jetstream.JetStream, nc *nats.Conn, s jetstream.Stream) (string, error),
) (string, error) {
	urls := t.Endpoints().Direct.NATS
	nc, err := nats.Connect(urls[0], func(o *nats.Options) error { o.Servers = urls; return nil }, nats.Timeout(2*time.Second))
	if err != nil {
		return "", fmt.Errorf("connect to the broker: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	ask, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	s, err := js.Stream(ask, stream.Name)
	if err != nil {
		return "", fmt.Errorf("find stream: %w", err)
	}
	return do(ask, js, nc, s)
}

func consumersDeleted(ctx context.Context, t *Target, _ *rand.Rand) (chaos.Bite, error) {
	return t.onStream(ctx, "consumers.deleted", func(ctx context.Context, _ jetstream.JetStream, _ *nats.Conn, s jetstream.Stream) (string, error) {
		n := 0
		names := s.ConsumerNames(ctx)
		for name := range names.Name() {
			if err := s.DeleteConsumer(ctx, name); err != nil {
				return "", err
			}
			n++
		}
		if n == 0 {
			return "", names.Err()
		}
		return fmt.Sprintf("%d consumers are gone", n), names.Err()
	})
}

// viewsRebuilt has the views of a read node built anew beside the ones in use.
func viewsRebuilt(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "views.rebuilt"
	node := 1 + random.IntN(2)
	name := fmt.Sprint("views of read-db-", node)
	if !t.free.take(name) {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer t.free.give(name)
	return t.bite(kind, name, func() (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		out, err := t.Command(ctx, node, "rebuild", "order_view").CombinedOutput()
		if err != nil {
			return "", nil //nolint:nilerr // the database or the log was away: nothing was built, so nothing bit
		}
		return lastLine(out), nil
	})
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// connectionStorm opens connections to the primary until it takes no more, and holds them.
func connectionStorm(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "connections.storm"
	if !t.free.take(kind) {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer t.free.give(kind)
	return t.bite(kind, cluster.Primary, func() (string, error) {
		var held []*pgx.Conn
		var refused error
		for range 200 {
			conn, err := pgx.Connect(ctx, t.Endpoints().Direct.Primary)
			if err != nil {
				refused = err
				break
			}
			held = append(held, conn)
		}
		err := pause(ctx, between(random, 300*time.Millisecond, 2*time.Second))
		for _, conn := range held {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
		if len(held) == 0 || refused == nil {
			return "", err
		}
		return fmt.Sprintf("%d connections were held; then: %v", len(held), refused), err
	})
}

// standbyStopped ends a standby in good order and starts it again: with the synchronous one no commit is answered meanwhile.
func standbyStopped(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "standby.stopped"
	p, release, ok := oneOf(ctx, t, random, []*cluster.Process{t.Process(cluster.Sync), t.Process(cluster.Async)}, func(p *cluster.Process) string { return p.Name })
	if !ok {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer release()
	return t.bite(kind, p.Name, func() (string, error) {
		before := p.PID()
		stopping, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := t.Store(p.Name).Stop(stopping); err != nil {
			return "", err
		}
		err := pause(ctx, between(random, 200*time.Millisecond, 3*time.Second))
		err = errors.Join(err, p.Start(context.WithoutCancel(ctx)))
		if before == 0 || p.PID() == before {
			return "", err
		}
		return fmt.Sprintf("pid %d -> %d", before, p.PID()), err
	})
}

// partySlow has a party take its time over each event.
func partySlow(ctx context.Context, t *Target, random *rand.Rand) (chaos.Bite, error) {
	const kind = "party.slow"
	name, release, ok := oneOf(ctx, t, random, t.Load.Parties(), func(name string) string { return "party " + name })
	if !ok {
		return chaos.Bite{Kind: kind}, ErrTaken
	}
	defer release()
	return t.bite(kind, name, func() (string, error) {
		each := between(random, 20*time.Millisecond, 200*time.Millisecond)
		if err := t.Load.Slow(name, each); err != nil {
			return "", err
		}
		while := between(random, 500*time.Millisecond, 3*time.Second)
		err := pause(ctx, while)
		if err := t.Load.Slow(name, 0); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s an event for %s", each, while.Round(time.Millisecond)), err
	})
}
