package postgres_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/tlstest"
)

// hand copies a file into the server's data, as the server's own.
func hand(t *testing.T, data, from, name string) {
	t.Helper()
	content, err := os.ReadFile(from) //nolint:gosec // of this test
	require.NoError(t, err)
	path := filepath.Join(data, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	info, err := os.Stat(data)
	require.NoError(t, err)
	owner, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
}

// TestURLsSayHowConnectionsAreEncrypted has a server that lets nobody into one database but by TLS with a client certificate. Pools,
// migrations and transactions in one write go by what the URL says.
func TestURLsSayHowConnectionsAreEncrypted(t *testing.T) {
	t.Parallel()
	ours, others := tlstest.New(t), tlstest.New(t)
	cert, key := ours.Issue(t, "server")
	mine, mineKey := ours.Issue(t, "orderstore")
	somebody, somebodyKey := ours.Issue(t, "somebody")
	dir := t.TempDir()
	cfg := scratch(dir)
	cfg.Databases = []string{"secured"}
	cluster, err := postgres.StartCluster(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Stop(context.WithoutCancel(t.Context()))) })
	data := filepath.Join(dir, "data")
	rules := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(rules, []byte("host postgres all 127.0.0.1/32 scram-sha-256\n"+
		"hostssl secured all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n"), 0o600))
	hand(t, data, rules, "pg_hba.conf")
	hand(t, data, cert, "server.crt")
	hand(t, data, key, "server.key")
	hand(t, data, ours.File, "clients.crt")
	admin, err := pgx.Connect(t.Context(), cluster.URL("postgres"))
	require.NoError(t, err)
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	for _, sql := range []string{"alter system set ssl_ca_file = 'clients.crt'", "alter system set ssl = on", "select pg_reload_conf()"} {
		_, err := admin.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	address := func(mode, ca, cert, key string) string {
		u, err := url.Parse(cluster.URL("secured"))
		require.NoError(t, err)
		q := url.Values{"sslmode": {mode}}
		for name, path := range map[string]string{"sslrootcert": ca, "sslcert": cert, "sslkey": key} {
			if path != "" {
				q.Set(name, path)
			}
		}
		u.RawQuery = q.Encode()
		return u.String()
	}
	good := address("verify-full", ours.File, mine, mineKey)
	// The server tells nobody when it has read its settings.
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), good)
		return err == nil && conn.Close(t.Context()) == nil
	}, 20*time.Second, 20*time.Millisecond)

	require.NoError(t, postgres.Migrate(t.Context(), good, notesSchema(), "write"))
	pool := open(t, good, postgres.PoolConfig{Name: "secured", MaxConns: 1})
	var encrypted bool
	require.NoError(t, pool.QueryRow(t.Context(), "select ssl from pg_stat_ssl where pid = pg_backend_pid()").Scan(&encrypted))
	require.True(t, encrypted)
	b := postgres.NewBulk()
	copyNotes(b, 1, 2)
	b.Query("insert into notes (id) values ($1)", 3)
	_, err = b.Commit(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, 3, count(t, pool))

	for name, refused := range map[string]struct{ url, says string }{
		"plain text":                {address("disable", "", "", ""), "no encryption"},
		"no client certificate":     {address("verify-full", ours.File, "", ""), "client certificate"},
		"certificate of another":    {address("verify-full", ours.File, somebody, somebodyKey), "authentication failed"},
		"authority of the server":   {address("verify-full", others.File, mine, mineKey), "unknown authority"},
		"name of the server":        {elsewhere(t, good), "localhost"},
		"authority that is no file": {address("verify-full", ours.File+".none", mine, mineKey), "unable to read CA file"},
	} {
		_, err := postgres.Open(t.Context(), refused.url, postgres.PoolConfig{Name: "refused"})
		require.ErrorContains(t, err, refused.says, name)
	}
}

// elsewhere is the same server by a name that its certificate has not.
func elsewhere(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.Host = "localhost:" + u.Port()
	return u.String()
}
