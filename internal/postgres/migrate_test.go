package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

// steps returns n migrations; each would fail if it ran twice.
func steps(n int) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 1; i <= n; i++ {
		fsys[fmt.Sprintf("write/%04d_create_t%d.sql", i, i)] = &fstest.MapFile{
			Data: fmt.Appendf(nil, "-- +goose Up\ncreate table t%d (id int);\nselect pg_sleep(0.05);\n", i),
		}
	}
	return fsys
}

func TestMigrateByManyProcessesAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	errs := make([]error, 4)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = postgres.Migrate(t.Context(), url, steps(5), "write") })
	}
	group.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, 5, query[int](t, url, "select count(*)::int from pg_tables where tablename ~ '^t[0-9]$'"))
	require.Equal(t, 5, query[int](t, url, "select max(version_id)::int from goose_db_version"))
	require.NoError(t, postgres.Migrate(t.Context(), url, steps(6), "write"), "later migrations follow")
}

func TestMigrateRefusesANewerSchema(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	require.NoError(t, postgres.Migrate(t.Context(), url, steps(3), "write"))
	err := postgres.Migrate(t.Context(), url, steps(2), "write")
	require.ErrorIs(t, err, postgres.ErrNewerSchema)
	name := query[string](t, url, "select current_database()::text")
	require.EqualError(t, err, "database "+name+" is at migration 3, this binary knows 2: use a newer orderstore")
}

func TestMigrateNamesTheFaultyMigration(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	fsys := steps(1)
	fsys["write/0002_break.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\ncreate table t2 (id int);\nselect 1/0;\n")}
	err := postgres.Migrate(t.Context(), url, fsys, "write")
	require.ErrorContains(t, err, "0002_break.sql")
	require.Equal(t, 1, query[int](t, url, "select count(*)::int from pg_tables where tablename ~ '^t[0-9]$'"),
		"a migration runs in one transaction")
	require.NoError(t, postgres.Migrate(t.Context(), url, steps(2), "write"))
	require.Error(t, postgres.Migrate(t.Context(), url, fstest.MapFS{}, "write"), "no migrations at all is a mistake")
}
