package postgres_test

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

const insertNote = "insert into notes (id) values ($1)"

func notesSchema() fstest.MapFS {
	return fstest.MapFS{"write/0001_create_notes.sql": {Data: []byte(`-- +goose Up
create table notes (
    id int constraint notes_id_unique unique,
    other int constraint notes_other_known references notes (id) deferrable initially deferred,
    xid bigint not null default txid_current()
);
`)}}
}

func notes(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return pgtest.Database(t, notesSchema(), "write")
}

func count(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from notes").Scan(&n))
	return n
}

func TestInTxCommitsAlthoughTheContextHasEnded(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertNote, 1)
		cancel()
		return err
	})
	require.NoError(t, err)
	require.Equal(t, 1, count(t, pool))
}

func TestInTxRollsBackOnError(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	refused := errors.New("refused")
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), insertNote, 1)
		return errors.Join(err, refused)
	})
	require.ErrorIs(t, err, refused)
	require.Zero(t, count(t, pool))
	require.Zero(t, pool.Stat().AcquiredConns())
}

func TestInTxRollsBackOnErrorWithAnEndedContext(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, insertNote, 1)
		require.NoError(t, err)
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, count(t, pool))
	require.EqualValues(t, 1, pool.Stat().NewConnsCount(), "the connection survives a rollback")
}

func TestInTxRollsBackOnPanic(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	require.PanicsWithValue(t, "boom", func() {
		_ = postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), insertNote, 1)
			require.NoError(t, err)
			panic("boom")
		})
	})
	require.Zero(t, count(t, pool))
	require.Zero(t, pool.Stat().AcquiredConns())
}

func TestInTxReturnsTheCommitsError(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "insert into notes (id, other) values (1, 99)")
		return err
	})
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "notes_other_known", pgErr.ConstraintName)
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Zero(t, count(t, pool))
}

func TestInTxReportsACommitThatBecameARollback(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "select 1/0")
		require.Error(t, err)
		return nil
	})
	require.ErrorIs(t, err, pgx.ErrTxCommitRollback)
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
}

func TestInTxDoesNotKnowTheOutcomeWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	direct := pgtest.URL(t, notesSchema(), "write")
	cut, through := cutterFor(t, direct)
	pool := open(t, through, postgres.PoolConfig{Name: "cut"})
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), insertNote, 1)
		cut.armed.Store(true)
		return err
	})
	require.ErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.True(t, postgres.IsUnavailable(err))
	require.Equal(t, 1, query[int](t, direct, "select count(*)::int from notes"), "the server had committed")
}

func TestInTxDoesNotKnowTheOutcomeOfAnEndedSession(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		var pid int
		require.NoError(t, tx.QueryRow(t.Context(), "select pg_backend_pid()").Scan(&pid))
		_, err := pool.Exec(t.Context(), "select pg_terminate_backend($1, 10000)", pid)
		return err
	})
	require.ErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.True(t, postgres.IsUnavailable(err))
}

func TestInTxOnALostConnectionIsNotStored(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	err := postgres.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := tx.Exec(t.Context(), insertNote, 1)
		require.NoError(t, err)
		require.NoError(t, tx.Conn().Close(ctx))
		return nil // as if the statement's error had been ignored
	})
	require.ErrorIs(t, err, pgconn.ErrConnClosed)
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.True(t, postgres.IsUnavailable(err))
	require.Zero(t, count(t, pool))
}

func TestInSnapshotSeesOneStateAndWritesNothing(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	err := postgres.InSnapshot(t.Context(), pool, func(tx pgx.Tx) error {
		var before, after int
		require.NoError(t, tx.QueryRow(t.Context(), "select count(*) from notes").Scan(&before))
		_, err := pool.Exec(t.Context(), insertNote, 1)
		require.NoError(t, err)
		require.NoError(t, tx.QueryRow(t.Context(), "select count(*) from notes").Scan(&after))
		require.Equal(t, before, after)
		_, err = tx.Exec(t.Context(), insertNote, 2)
		return err
	})
	require.ErrorContains(t, err, "read-only transaction")
	require.Equal(t, 1, count(t, pool))
}
