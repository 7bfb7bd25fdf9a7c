package pgtest_test

import (
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func migrations() fstest.MapFS {
	return fstest.MapFS{"write/0001_create_notes.sql": {Data: []byte(
		"-- +goose Up\ncreate table notes (body text not null);\n")}}
}

func TestDatabasesAreMigratedAndIsolated(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"one", "two", "three"} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Database(t, migrations(), "write")
			_, err := pool.Exec(t.Context(), "insert into notes values ($1)", body)
			require.NoError(t, err)
			var all []string
			require.NoError(t, pool.QueryRow(t.Context(), "select array_agg(body) from notes").Scan(&all))
			require.Equal(t, []string{body}, all)
		})
	}
}
