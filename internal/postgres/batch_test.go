package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

func noteBatch(ids ...any) *pgx.Batch {
	batch := &pgx.Batch{}
	for _, id := range ids {
		batch.Queue(insertNote, id)
	}
	return batch
}

func TestCommitBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	require.NoError(t, postgres.CommitBatch(t.Context(), pool, noteBatch(1, 2, 3)))
	var transactions int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(distinct xid) from notes").Scan(&transactions))
	require.Equal(t, 3, count(t, pool))
	require.Equal(t, 1, transactions)
}

func TestCommitBatchStoresAllOrNothing(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	// The second round runs on statements that are already prepared, which takes another path in the driver.
	for range 2 {
		err := postgres.CommitBatch(t.Context(), pool, noteBatch(1, 2, 1))
		require.True(t, postgres.IsUniqueViolation(err, "notes_id_unique"), "%v", err)
		require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
		require.Zero(t, count(t, pool))
	}
	require.NoError(t, postgres.CommitBatch(t.Context(), pool, noteBatch(1, 2)))
	require.Equal(t, 2, count(t, pool))
}

func TestCommitBatchReturnsTheCommitsError(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	batch := noteBatch(1)
	batch.Queue("insert into notes (id, other) values (2, 99)")
	err := postgres.CommitBatch(t.Context(), pool, batch)
	require.ErrorContains(t, err, "notes_other_known")
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Zero(t, count(t, pool))
}

func TestCommitBatchKnowsThatAnUnsentBatchIsNotStored(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	batch := noteBatch(1)
	batch.Queue(insertNote, "no number")
	err := postgres.CommitBatch(t.Context(), pool, batch)
	require.Error(t, err)
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)

	batch = noteBatch(1)
	batch.Queue("insert into nowhere values (1)")
	err = postgres.CommitBatch(t.Context(), pool, batch)
	require.ErrorContains(t, err, "42P01")
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Zero(t, count(t, pool))

	require.Error(t, postgres.CommitBatch(t.Context(), pool, &pgx.Batch{}))
}

func TestCommitBatchOutlivesTheContext(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := pool.Acquire(ctx)
	require.NoError(t, err)
	defer conn.Release()
	cancel()
	require.NoError(t, postgres.CommitBatchOn(ctx, conn, noteBatch(1, 2)))
	require.Equal(t, 2, count(t, pool))

	err = postgres.CommitBatch(ctx, pool, noteBatch(3))
	require.ErrorIs(t, err, context.Canceled, "waiting for a connection still ends with the context")
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Equal(t, 2, count(t, pool))
}

func TestCommitBatchDoesNotKnowTheOutcomeWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	direct := pgtest.URL(t, notesSchema(), "write")
	cut, through := cutterFor(t, direct)
	pool := open(t, through, postgres.PoolConfig{Name: "cut"})
	require.NoError(t, postgres.CommitBatch(t.Context(), pool, noteBatch(1)), "prepares the statement")
	cut.armed.Store(true)
	err := postgres.CommitBatch(t.Context(), pool, noteBatch(2, 3))
	require.ErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.True(t, postgres.IsUnavailable(err))
	require.Equal(t, 3, query[int](t, direct, "select count(*)::int from notes"), "the server had committed")

	cut.armed.Store(false)
	require.NoError(t, postgres.CommitBatch(t.Context(), pool, noteBatch(4)), "the pool replaces the connection")
}

func TestCommitBatchRunsCallbacks(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	batch := &pgx.Batch{}
	var affected int64
	var id int
	batch.Queue("insert into notes (id) values (7), (8)").Exec(func(tag pgconn.CommandTag) error {
		affected = tag.RowsAffected()
		return nil
	})
	batch.Queue("select max(id) from notes").QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	require.NoError(t, postgres.CommitBatch(t.Context(), pool, batch))
	require.EqualValues(t, 2, affected)
	require.Equal(t, 8, id)

	batch = noteBatch(9)
	batch.Queue("select id from notes where false").QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	err := postgres.CommitBatch(t.Context(), pool, batch)
	require.ErrorIs(t, err, pgx.ErrNoRows)
	require.ErrorIs(t, err, postgres.ErrOutcomeUnknown, "a callback speaks up after the commit")
	require.Equal(t, 3, count(t, pool))
}
