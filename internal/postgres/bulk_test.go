package postgres_test

import (
	"context"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

func copyNotes(b *postgres.Bulk, ids ...int32) {
	b.Copy("notes (id)", 1)
	for _, id := range ids {
		b.Row()
		b.Int4(id)
	}
}

func TestBulkIsOneTransaction(t *testing.T) {
	t.Parallel()
	for name, queries := range map[string]bool{"copies alone": false, "with parameters": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := notes(t)
			b := postgres.NewBulk()
			b.Exec("select %d", 1)
			copyNotes(b, 1, 2)
			copyNotes(b, 3)
			n := 3
			if queries {
				b.Query(insertNote, 4)
				b.Query("update notes set id = 5 where id = $1", 4)
				n = 4
			}
			_, err := b.Commit(t.Context(), pool)
			require.NoError(t, err)
			require.Equal(t, n, count(t, pool))
			var transactions int
			require.NoError(t, pool.QueryRow(t.Context(), "select count(distinct xid) from notes").Scan(&transactions))
			require.Equal(t, 1, transactions)
		})
	}
}

// TestBulkSaysWhichStatementWasRefused has each statement of a transaction refused in turn. Nothing of it is stored, and the connection,
// of which there is one, goes on.
func TestBulkSaysWhichStatementWasRefused(t *testing.T) {
	t.Parallel()
	const good, bad = "select 1", "select 1/0"
	pool := open(t, pgtest.URL(t, notesSchema(), "write"), postgres.PoolConfig{Name: "one", MaxConns: 1})
	for refused := range 5 {
		for _, queries := range []bool{true, false} {
			if !queries && refused > 2 {
				continue
			}
			b := postgres.NewBulk()
			b.Exec("%s", pick(refused == 0, bad, good))
			copyNotes(b, 1, pick[int32](refused == 1, 1, 2))
			copyNotes(b, 3, pick[int32](refused == 2, 3, 4))
			if queries {
				b.Query(insertNote, pick(refused == 3, 3, 5))
				b.Query(insertNote, pick(refused == 4, 3, 6))
			}
			passed, err := b.Commit(t.Context(), pool)
			require.Error(t, err)
			require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
			require.Equal(t, refused, passed)
			require.Zero(t, count(t, pool))
		}
	}
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

func TestBulkReturnsTheCommitsError(t *testing.T) {
	t.Parallel()
	for _, queries := range []bool{false, true} {
		pool := notes(t)
		b := postgres.NewBulk()
		b.Exec("insert into notes (id, other) values (2, 99)")
		if queries {
			b.Query(insertNote, 7)
		}
		passed, err := b.Commit(t.Context(), pool)
		require.ErrorContains(t, err, "notes_other_known")
		require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
		require.Equal(t, pick(queries, 2, 1), passed+pick(queries, 0, 1), "no statement is to blame")
		require.Zero(t, count(t, pool))
	}
}

func TestBulkKnowsThatWhatWasNotSentIsNotStored(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	b := postgres.NewBulk()
	copyNotes(b, 1)
	b.Query(insertNote, "no number")
	passed, err := b.Commit(t.Context(), pool)
	require.Error(t, err)
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Equal(t, 1, passed)

	b = postgres.NewBulk()
	copyNotes(b, 1)
	b.Query("insert into nowhere values ($1)", 1)
	passed, err = b.Commit(t.Context(), pool)
	require.ErrorContains(t, err, "42P01")
	require.Equal(t, 1, passed)
	require.Zero(t, count(t, pool))

	_, err = postgres.NewBulk().Commit(t.Context(), pool)
	require.Error(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b = postgres.NewBulk()
	copyNotes(b, 1)
	_, err = b.Commit(ctx, pool)
	require.ErrorIs(t, err, context.Canceled, "waiting for a connection ends with the context")
	require.NotErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.Zero(t, count(t, pool))
}

func TestBulkDoesNotKnowTheOutcomeWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	direct := pgtest.URL(t, notesSchema(), "write")
	cut, through := cutterFor(t, direct)
	pool := open(t, through, postgres.PoolConfig{Name: "cut"})
	commit := func(ids ...int32) error {
		b := postgres.NewBulk()
		copyNotes(b, ids...)
		_, err := b.Commit(t.Context(), pool)
		return err
	}
	require.NoError(t, commit(1))
	cut.armed.Store(true)
	err := commit(2, 3)
	require.ErrorIs(t, err, postgres.ErrOutcomeUnknown)
	require.True(t, postgres.IsUnavailable(err))
	require.Equal(t, 3, query[int](t, direct, "select count(*)::int from notes"), "the server had committed")

	cut.armed.Store(false)
	require.NoError(t, commit(4), "the pool replaces the connection")
}

func typesSchema() fstest.MapFS {
	return fstest.MapFS{"write/0001_create_types.sql": {Data: []byte(`-- +goose Up
create table types (n bigint, i int, t text, tn text, b bytea, u uuid, at timestamptz, a8 bigint[], a4 int[], j jsonb);
`)}}
}

func TestBulkWritesEachType(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, typesSchema(), "write")
	id, at := uuid.New(), time.Date(1969, 7, 20, 20, 17, 40, 123456000, time.UTC)
	large := make([]byte, 300<<10)
	b := postgres.NewBulk()
	b.Copy("types (n, i, t, tn, b, u, at, a8, a4, j)", 10)
	row := func(n int64, text string, bytes []byte, a8 []int64, a4 []int32) {
		b.Row()
		b.Int8(n)
		b.Int4(-7)
		b.Text(text)
		b.TextOrNull("")
		b.Bytes(bytes)
		b.UUID(id)
		b.Time(at)
		b.Int8Array(len(a8), func(i int) int64 { return a8[i] })
		b.Int4Array(a4)
		b.JSONB([]byte(`{"k": 1}`))
	}
	row(math.MinInt64, "Zürich 東京", []byte{0, 1, 255}, []int64{1, -2}, []int32{3})
	row(1, "", large, []int64{}, nil)
	_, err := b.Commit(t.Context(), pool)
	require.NoError(t, err)
	checkTypes(t, pool, math.MinInt64, "Zürich 東京", []byte{0, 1, 255}, "{1,-2}", "{3}", id, at)
	checkTypes(t, pool, 1, "", large, "{}", "{}", id, at)
}

func checkTypes(t *testing.T, pool *pgxpool.Pool, n int64, text string, bytes []byte, a8, a4 string, id uuid.UUID, at time.Time) {
	t.Helper()
	var got struct {
		i          int
		text       string
		none       *string
		bytes      []byte
		id, a8, a4 string
		at         time.Time
		k          int
	}
	err := pool.QueryRow(t.Context(), "select i, t, tn, b, u::text, at, a8::text, a4::text, (j->>'k')::int from types where n = $1", n).
		Scan(&got.i, &got.text, &got.none, &got.bytes, &got.id, &got.at, &got.a8, &got.a4, &got.k)
	require.NoError(t, err)
	require.Equal(t, -7, got.i)
	require.Equal(t, text, got.text)
	require.Nil(t, got.none)
	require.Equal(t, bytes, got.bytes)
	require.Equal(t, id.String(), got.id)
	require.True(t, at.Equal(got.at))
	require.Equal(t, a8, got.a8)
	require.Equal(t, a4, got.a4)
	require.Equal(t, 1, got.k)
}
