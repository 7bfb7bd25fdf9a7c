package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// guarded is a write side whose primary has a synchronous standby.
type guarded struct {
	*bench
	servers *pgtest.Replicated
	recent  stream.Recent
}

func setupGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{servers: pgtest.StartReplicated(t, migrations.Write, "write")}
	pool, err := postgres.Open(t.Context(), g.servers.URL(), postgres.PoolConfig{Name: "test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	logger := slog.New(slog.DiscardHandler)
	guard := postgres.NewGuard(postgres.GuardConfig{Pool: pool, Logger: logger})
	require.NoError(t, guard.Look(t.Context()))
	g.bench = &bench{t: t, pool: pool, tip: &stream.Tip{}}
	g.committer = NewCommitter(Config{Pool: pool, Tip: g.tip, Recent: &g.recent, Gate: guard, Now: time.Now, Logger: logger})
	run(t, g.committer)
	t.Cleanup(g.servers.Thaw) // a commit that waits for the standby ends only with it
	return g
}

// submitting submits while the standby may be away.
func (g *guarded) submitting(command Command, key *Key) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		answer, err := g.committer.Submit(context.WithoutCancel(g.t.Context()), command, key)
		done <- outcome{answer, err}
	}()
	return done
}

func TestNewOrderIsNotAcknowledgedWithoutTheStandby(t *testing.T) {
	t.Parallel()
	g := setupGuarded(t)
	g.place("before")
	g.servers.Freeze()
	began := time.Now()
	first := g.submitting(submission(t, "demo", order("r-1")), nil)
	g.servers.AwaitWaiting(1)
	queued := g.submitting(submission(t, "demo", order("r-2")), nil)
	replay := g.submitting(submission(t, "demo", order("before")), nil)

	sent := <-first
	require.Equal(t, fault.OutcomeUnknown, fault.CodeOf(sent.err), "its commit was sent")
	for _, o := range []outcome{<-queued, <-replay} {
		require.Equal(t, fault.Overloaded, fault.CodeOf(o.err), "it waited for a round, and is not stored")
		require.Positive(t, retryOf(o.err))
	}
	require.Less(t, time.Since(began), answerWithin+2*time.Second)
	_, err := g.committer.Submit(t.Context(), submission(t, "demo", order("r-3")), nil)
	require.Equal(t, fault.Overloaded, fault.CodeOf(err), "nobody queues behind a commit that is stuck")

	g.servers.Thaw()
	require.NoError(t, g.tip.Wait(t.Context(), 2))
	again, err := g.committer.Submit(t.Context(), submission(t, "demo", order("r-1")), nil)
	require.NoError(t, err)
	require.Equal(t, 200, again.Status, "sent again, it learns that it was stored")
	require.Equal(t, int64(2), g.verified().Orders, "what was withdrawn was not stored")
}

func retryOf(err error) time.Duration {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return 0
	}
	return f.RetryAfter
}

func TestReplaysAreAnsweredOnceTheStandbyHasThem(t *testing.T) {
	t.Parallel()
	g := setupGuarded(t)
	g.register("acme", "retail.erp")
	key := &Key{Client: "c", Key: "k", Fingerprint: sha256.Sum256([]byte("1"))}
	_, err := g.committer.Submit(t.Context(), submission(t, "demo", order("keyed")), key)
	require.NoError(t, err)
	_, o := g.place("r-1")
	done := func() *PostResult { return result(t, "acme", o.Tasks[0].ID, `{"result_id":"1","outcome":"completed"}`) }
	_, err = g.committer.Submit(t.Context(), done(), nil)
	require.NoError(t, err)
	replays := map[string]func() <-chan outcome{
		"order":           func() <-chan outcome { return g.submitting(submission(t, "demo", order("r-1")), nil) },
		"idempotency key": func() <-chan outcome { return g.submitting(submission(t, "demo", order("keyed")), key) },
		"result":          func() <-chan outcome { return g.submitting(done(), nil) },
	}
	for name, replay := range replays {
		g.servers.Freeze()
		waiting := replay()
		g.servers.AwaitWaiting(1)
		select {
		case o := <-waiting:
			t.Fatalf("%s: answered %d, %v, though the standby may lack it", name, o.answer.Status, o.err)
		default:
		}
		g.servers.Thaw()
		answered := <-waiting
		require.NoError(t, answered.err, name)
		require.True(t, answered.answer.Replayed, name)
	}

	g.servers.Freeze()
	refused := <-replays["order"]()
	require.Equal(t, fault.Unavailable, fault.CodeOf(refused.err), "nothing was written, so nothing is unknown")
	require.Positive(t, retryOf(refused.err))
}

// A crash of the primary shows an order that its standby lacks: it is not acknowledged, and not given to the relay, before the
// standby has it.
func TestCrashAcknowledgesNothingThatTheStandbyLacks(t *testing.T) {
	t.Parallel()
	g := setupGuarded(t)
	g.place("before")
	g.servers.Freeze()
	first := g.submitting(submission(t, "demo", order("r-1")), nil)
	g.servers.AwaitWaiting(1)
	g.servers.Crash()
	g.servers.AwaitWaiting(1) // the committer has found the order in the log, and waits behind the barrier
	stored := 0
	require.NoError(t, g.pool.QueryRow(t.Context(), `SELECT count(*) FROM orders WHERE external_ref = 'r-1'`).Scan(&stored))
	require.Equal(t, 1, stored)
	select {
	case o := <-first:
		t.Fatalf("answered %d, %v", o.answer.Status, o.err)
	default:
	}
	require.Empty(t, g.recent.After(1, 10))
	g.servers.Thaw()
	answered := <-first
	require.NoError(t, answered.err)
	require.Equal(t, 201, answered.answer.Status)
	require.Len(t, g.recent.After(1, 10), 1)
	require.Equal(t, int64(2), g.verified().Orders)
}

// switchable is a primary whose settings go bad.
type switchable struct {
	open
	unsafe atomic.Bool
}

func (s *switchable) Safe() error {
	if s.unsafe.Load() {
		return fmt.Errorf("%w: fsync is off", postgres.ErrUnsafeSettings)
	}
	return nil
}

func TestNothingIsTakenWhileSettingsAreUnsafe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gate := &switchable{}
	b.committer.gate = gate // before any command reaches the committer
	b.place("r-1")
	gate.unsafe.Store(true)
	_, err := b.committer.Submit(t.Context(), submission(t, "demo", order("r-2")), nil)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Positive(t, retryOf(err))
	_, err = b.committer.SubmitWaiting(t.Context(), submission(t, "demo", order("r-3")))
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	gate.unsafe.Store(false)
	b.place("r-2")
	require.Equal(t, int64(2), b.verified().Orders)
}
