package postgres_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/migrations"
)

// documented is the first block of SQL under a heading of docs/operations.md.
func documented(t *testing.T, heading string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(doc), "\n## "+heading+"\n")
	require.True(t, ok)
	_, block, ok := strings.Cut(section, "```sql\n")
	require.True(t, ok)
	block, _, _ = strings.Cut(block, "```")
	return block
}

// Who owns the databases and may not make roles is told so, and goes on once a superuser has done what the documents say.
func TestMigrateByWhoMayNotMakeRoles(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, scratch(t.TempDir()))
	execute(t, cluster.URL("postgres"), `CREATE ROLE orderstore_migrate LOGIN PASSWORD 'secret'`, `CREATE DATABASE mine OWNER orderstore_migrate`,
		`CREATE DATABASE views OWNER orderstore_migrate`, `CREATE DATABASE aux OWNER orderstore_migrate`)
	as := func(database string) string {
		u, err := url.Parse(cluster.URL(database))
		require.NoError(t, err)
		u.User = url.UserPassword("orderstore_migrate", "secret")
		return u.String()
	}
	err := postgres.Migrate(t.Context(), as("mine"), migrations.Write, "write")
	require.ErrorContains(t, err, `the role orderstore_command is missing, and orderstore_migrate may not make it: have it made as docs/operations.md says under "Database roles"`)
	execute(t, cluster.URL("postgres"), `CREATE ROLE orderstore_projection`)
	err = postgres.Migrate(t.Context(), as("views"), migrations.Read, "read")
	require.ErrorContains(t, err, "the role orderstore_query is missing")
	execute(t, cluster.URL("postgres"), `CREATE ROLE orderstore_query; CREATE ROLE orderstore_broadcast`)
	err = postgres.Migrate(t.Context(), as("views"), migrations.Read, "read")
	require.ErrorContains(t, err, "the role orderstore_projection needs BYPASSRLS")
	execute(t, cluster.URL("postgres"), `DROP ROLE orderstore_projection, orderstore_query, orderstore_broadcast`)

	execute(t, cluster.URL("postgres"), documented(t, "Database roles"))
	require.NoError(t, postgres.Migrate(t.Context(), as("mine"), migrations.Write, "write"))
	require.NoError(t, postgres.Migrate(t.Context(), as("views"), migrations.Read, "read"))
	require.NoError(t, postgres.Migrate(t.Context(), as("aux"), migrations.Auxiliary, "auxiliary"))
	require.NoError(t, postgres.Migrate(t.Context(), as("mine"), migrations.Write, "write"), "again")

	command := open(t, as("mine"), postgres.PoolConfig{Name: "test", Component: "command"})
	_, err = command.Exec(t.Context(), `SELECT extend_log(25000000)`)
	require.NoError(t, err, "partitions are made by their owner")
	_, err = command.Exec(t.Context(), `DELETE FROM order_events`)
	require.ErrorContains(t, err, "permission denied")

	execute(t, cluster.URL("postgres"), `CREATE ROLE app_query LOGIN PASSWORD 'one:for each' IN ROLE orderstore_query`)
	login, err := postgres.ParseLogin("app_query:one:for each")
	require.NoError(t, err)
	reader := open(t, as("views"), postgres.PoolConfig{Name: "test", Component: "query", Login: login, Scoped: true, MaxConns: 1})
	require.ErrorIs(t, reader.Ping(t.Context()), postgres.ErrNoScope)
	ctx := postgres.WithScope(t.Context(), postgres.OfTenant("demo", ""))
	var user, scope string
	const who = `SELECT session_user || ' as ' || current_user, current_setting('orderstore.scope') || ' ' || current_setting('orderstore.tenant')`
	require.NoError(t, reader.QueryRow(ctx, who).Scan(&user, &scope))
	require.Equal(t, "app_query as orderstore_query", user)
	require.Equal(t, "tenant demo", scope)
	require.NoError(t, reader.QueryRow(postgres.WithScope(ctx, postgres.OfProvider("acme")), who).Scan(&user, &scope))
	require.Equal(t, "provider ", scope, "the connection shows nothing of who had it before")
	_, err = postgres.Open(t.Context(), as("views"), postgres.PoolConfig{Name: "test", Component: "projection", Login: login})
	require.ErrorContains(t, err, "permission denied to set role", "a login is one component's")
	_, err = postgres.ParseLogin("nobody")
	require.Error(t, err)
}

// Grants are what the files say, whatever was granted before, and a policy that was taken away is there again after the next start.
func TestMigrateRestoresGrantsAndPolicies(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t, migrations.Read, "read")
	execute(t, url, `DROP POLICY by_scope ON timeline`, `ALTER TABLE catalog DISABLE ROW LEVEL SECURITY`,
		`GRANT DELETE ON timeline TO orderstore_query`, `UPDATE applied_grants SET digest = ''`)
	require.NoError(t, postgres.Migrate(t.Context(), url, migrations.Read, "read"))
	require.False(t, query[bool](t, url, `SELECT has_table_privilege('orderstore_query', 'timeline', 'DELETE')`))
	require.Equal(t, 6, query[int](t, url, `SELECT count(*)::int FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid AND c.relrowsecurity`))
}
