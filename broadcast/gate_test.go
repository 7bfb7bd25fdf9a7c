package broadcast

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// A crash of the primary shows a row that its standby lacks. Nobody hears of it before the standby has it: otherwise a fail-over
// would leave the stream ahead of the log.
func TestRelayPublishesWhatTheStandbyHas(t *testing.T) {
	t.Parallel()
	replicated := pgtest.StartReplicated(t, migrations.Write, "write")
	b := &bench{t: t, pool: openPool(t, replicated.URL()), server: natstest.Run(t), tip: &stream.Tip{}}
	var err error
	b.js, err = jetstream.New(natstest.Connect(t, b.server))
	require.NoError(t, err)
	guard := postgres.NewGuard(postgres.GuardConfig{Pool: b.pool, Logger: discard()})
	require.NoError(t, guard.Look(t.Context()))
	r, err := NewRelay(RelayConfig{NATS: natstest.Connect(t, b.server), Pool: b.pool, Waker: b.tip, Gate: guard, Logger: discard()})
	require.NoError(t, err)
	b.run(r)
	b.append(3)
	b.copied(r)

	replicated.Freeze()
	appended := b.appendWaiting(4)
	replicated.AwaitWaiting(1)
	replicated.Crash()
	require.ErrorIs(t, <-appended, postgres.ErrOutcomeUnknown)
	b.pool.Reset()
	head, _, err := stream.NewLog(b.pool).Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(4), head, "the log shows the row")
	replicated.AwaitWaiting(1) // the relay has read it, and waits
	bounds, err := stream.BoundsOf(t.Context(), b.js)
	require.NoError(t, err)
	require.Equal(t, int64(3), bounds.Last, "the stream has nothing that the standby lacks")

	replicated.Thaw()
	b.tip.Advance(4)
	b.copied(r)
}

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url, postgres.PoolConfig{Name: "test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// appendWaiting appends one event at a position, as another process would, and gives what its commit came to.
func (b *bench) appendWaiting(position int64) <-chan error {
	done := make(chan error, 1)
	go func() { done <- b.appendTx(context.WithoutCancel(b.t.Context()), position-1, 1) }()
	return done
}
