package pgtest_test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
)

// failEnv makes TestFailsOnRequest fail, for the test that looks at what a failing run leaves behind.
const failEnv = "ORDERSTORE_TEST_FAIL"

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func migrations(columns string) fstest.MapFS {
	return fstest.MapFS{"write/0001_create_notes.sql": {
		Data: fmt.Appendf(nil, "-- +goose Up\ncreate table notes (%s);\n", columns),
	}}
}

func TestDatabasesAreMigratedAndIsolated(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"one", "two", "three"} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Database(t, migrations("body text not null"), "write")
			_, err := pool.Exec(t.Context(), "insert into notes values ($1)", body)
			require.NoError(t, err)
			var all []string
			require.NoError(t, pool.QueryRow(t.Context(), "select array_agg(body) from notes").Scan(&all))
			require.Equal(t, []string{body}, all)
		})
	}
}

func TestOtherMigrationsMakeAnotherDatabase(t *testing.T) {
	t.Parallel()
	text := pgtest.Database(t, migrations("body text"), "write")
	number := pgtest.Database(t, migrations("body int"), "write")
	_, err := text.Exec(t.Context(), "insert into notes values ('words')")
	require.NoError(t, err)
	_, err = number.Exec(t.Context(), "insert into notes values ('words')")
	require.ErrorContains(t, err, "22P02")
}

func TestDatabaseGoesWithItsTest(t *testing.T) {
	t.Parallel()
	watcher := pgtest.EmptyURL(t)
	var name string
	t.Run("owner", func(t *testing.T) {
		u, err := url.Parse(pgtest.URL(t, migrations("body text"), "write"))
		require.NoError(t, err)
		name = strings.TrimPrefix(u.Path, "/")
		conn, err := pgx.Connect(t.Context(), u.String())
		require.NoError(t, err)
		require.Equal(t, name, conn.Config().Database) // left open: it must not keep the database
	})
	conn, err := pgx.Connect(t.Context(), watcher)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var left int
	require.NoError(t, conn.QueryRow(t.Context(), "select count(*) from pg_database where datname = $1", name).Scan(&left))
	require.Zero(t, left)
}

func TestFailsOnRequest(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations("body text"), "write")
	require.NoError(t, pool.Ping(t.Context()))
	require.NotContains(t, os.Environ(), failEnv+"=yes", "failing as asked")
}

func TestFailingRunLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestFailsOnRequest", "-test.v")
	run.Env = append(os.Environ(), failEnv+"=yes", "TMPDIR="+tmp)
	out, err := run.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "failing as asked")
	left, err := filepath.Glob(filepath.Join(tmp, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestLeftoversOfKilledRunsAreRemoved(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	old := filepath.Join(tmp, "orderstore-pgtest-old")
	fresh := filepath.Join(tmp, "orderstore-pgtest-fresh")
	foreign := filepath.Join(tmp, "foreign")
	for _, dir := range []string{old, fresh, foreign} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
	}
	info, err := os.Stat(old)
	require.NoError(t, err)
	longAgo := info.ModTime().AddDate(0, 0, -1)
	require.NoError(t, os.Chtimes(old, longAgo, longAgo))
	require.NoError(t, os.Chtimes(foreign, longAgo, longAgo))

	run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=TestFailsOnRequest")
	run.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := run.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoDirExists(t, old)
	require.DirExists(t, fresh)
	require.DirExists(t, foreign)
}

func BenchmarkDatabase(b *testing.B) {
	for range b.N {
		pgtest.Database(b, migrations("body text"), "write")
	}
}
