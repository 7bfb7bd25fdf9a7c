package postgres_test

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

func open(t *testing.T, url string, cfg postgres.PoolConfig) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url, cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func show(t *testing.T, pool *pgxpool.Pool, setting string) (value string) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&value))
	return value
}

func TestOpenAppliesItsOptions(t *testing.T) {
	t.Parallel()
	url := startCluster(t, durable(t.TempDir())).URL("write")
	pool := open(t, url, postgres.PoolConfig{
		Name: "projector", MaxConns: 3, StatementTimeout: 1500 * time.Millisecond, AsyncCommit: true,
	})
	require.Equal(t, "projector", show(t, pool, "application_name"))
	require.Equal(t, "1500ms", show(t, pool, "statement_timeout"))
	require.Equal(t, "off", show(t, pool, "synchronous_commit"))
	require.EqualValues(t, 3, pool.Config().MaxConns)
	require.ErrorIs(t, postgres.CheckSettings(t.Context(), pool), postgres.ErrUnsafeSettings)

	plain := open(t, url, postgres.PoolConfig{Name: "writer"})
	require.Equal(t, "0", show(t, plain, "statement_timeout"))
	require.Equal(t, "on", show(t, plain, "synchronous_commit"))
	require.EqualValues(t, 8, plain.Config().MaxConns)
	require.Positive(t, plain.Config().MaxConnLifetimeJitter)
	require.NoError(t, postgres.CheckSettings(t.Context(), plain))

	sized := open(t, url+"&pool_max_conns=5", postgres.PoolConfig{Name: "sized"})
	require.EqualValues(t, 5, sized.Config().MaxConns)
}

func TestOpenRespectsTargetSessionAttributes(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	open(t, url+"&target_session_attrs=read-write", postgres.PoolConfig{Name: "writer"})
	_, err := postgres.Open(t.Context(), url+"&target_session_attrs=standby", postgres.PoolConfig{Name: "reader"})
	require.Error(t, err)
}

func TestUnavailability(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, err = postgres.Open(t.Context(), "postgres://nobody@"+address+"/write", postgres.PoolConfig{Name: "test"})
	require.True(t, postgres.IsUnavailable(err), "refused: %v", err)

	pool := notes(t)
	_, err = pool.Exec(t.Context(), "select pg_terminate_backend(pg_backend_pid())")
	require.True(t, postgres.IsUnavailable(err), "terminated: %v", err)

	_, err = pool.Exec(t.Context(), "select nonsense")
	require.False(t, postgres.IsUnavailable(err), "a faulty statement is nobody else's fault: %v", err)
	require.False(t, postgres.IsUnavailable(nil))
	require.False(t, postgres.IsUnavailable(t.Context().Err()))
}

func TestServerThatGoesAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, scratch(t.TempDir()))
	pool := open(t, cluster.URL("write"), postgres.PoolConfig{Name: "test"})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	require.NoError(t, cluster.Stop(t.Context()))
	_, err = conn.Exec(t.Context(), "select 1")
	require.True(t, postgres.IsUnavailable(err), "%v", err)
	err = postgres.InTx(t.Context(), pool, func(pgx.Tx) error { return nil })
	require.True(t, postgres.IsUnavailable(err), "%v", err)
}

func TestUniqueViolationsByConstraint(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	_, err := pool.Exec(t.Context(), "insert into notes (id) values (1), (1)")
	require.True(t, postgres.IsUniqueViolation(err, "notes_id_unique"))
	require.True(t, postgres.IsUniqueViolation(err, ""))
	require.False(t, postgres.IsUniqueViolation(err, "another"))
	require.False(t, postgres.IsUniqueViolation(nil, ""))
}

func TestSerializationFailuresAreRecognised(t *testing.T) {
	t.Parallel()
	pool := notes(t)
	ctx := t.Context()
	_, err := pool.Exec(ctx, insertNote, 1)
	require.NoError(t, err)
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(ctx)) }()
	var n int
	require.NoError(t, tx.QueryRow(ctx, "select count(*) from notes").Scan(&n))
	_, err = pool.Exec(ctx, "update notes set id = 2")
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "update notes set id = 3")
	require.True(t, postgres.IsSerializationFailure(err), "%v", err)
	require.False(t, postgres.IsUnavailable(err))
}

func TestSettingsThatLoseDataAreRefused(t *testing.T) {
	t.Parallel()
	pool := notes(t) // the test cluster runs without fsync
	err := postgres.CheckSettings(t.Context(), pool)
	require.ErrorIs(t, err, postgres.ErrUnsafeSettings)
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		require.ErrorContains(t, err, name)
	}
	require.NoError(t, postgres.CheckSettings(t.Context(), pool, postgres.AllowUnsafe()))

	settings, err := postgres.ReadSettings(t.Context(), pool)
	require.NoError(t, err)
	require.GreaterOrEqual(t, settings.ServerVersion, 140000)
	require.Equal(t, "replica", settings.WALLevel)
	require.False(t, settings.InRecovery)
}
