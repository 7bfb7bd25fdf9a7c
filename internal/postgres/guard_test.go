package postgres_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

func openPool(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), url, postgres.PoolConfig{Name: "test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// runGuard watches a server closely until the test ends.
func runGuard(t *testing.T, pool *pgxpool.Pool) *postgres.Guard {
	t.Helper()
	g := postgres.NewGuard(postgres.GuardConfig{Pool: pool, Every: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, g.Look(t.Context()))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	return g
}

func TestGuardNoticesSettingsThatAreSwitchedOff(t *testing.T) {
	t.Parallel()
	cfg := durable(t.TempDir())
	cfg.FromFiles = []string{"fsync", "full_page_writes", "synchronous_commit"}
	cluster := startCluster(t, cfg)
	g := runGuard(t, openPool(t, cluster.URL("write")))
	for setting, off := range map[string]string{"fsync": "off", "full_page_writes": "off", "synchronous_commit": "local"} {
		require.NoError(t, g.Safe())
		execute(t, cluster.URL("write"), "alter system set "+setting+" = "+off, "select pg_reload_conf()")
		require.Eventually(t, func() bool { return g.Safe() != nil }, 10*time.Second, 5*time.Millisecond)
		require.ErrorIs(t, g.Safe(), postgres.ErrUnsafeSettings)
		require.ErrorContains(t, g.Safe(), setting+" is "+off)
		execute(t, cluster.URL("write"), "alter system reset "+setting, "select pg_reload_conf()")
		require.Eventually(t, func() bool { return g.Safe() == nil }, 10*time.Second, 5*time.Millisecond)
	}
}

func twoTables() fstest.MapFS {
	return fstest.MapFS{"m/0001_create_a.sql": {Data: []byte("-- +goose Up\nCREATE TABLE a (n int);\n")}}
}

// seen reads what others see, without waiting for anybody.
func seen(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM a").Scan(&n))
	return n
}

func TestBarrierWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	r := pgtest.StartReplicated(t, twoTables(), "m")
	pool := openPool(t, r.URL())
	g := runGuard(t, pool)
	require.NoError(t, g.Barrier(t.Context()))
	r.Freeze()

	commits := make(chan error, 1)
	go func() {
		batch := &pgx.Batch{}
		batch.Queue("INSERT INTO a VALUES (1)")
		commits <- postgres.CommitBatch(context.WithoutCancel(t.Context()), pool, batch)
	}()
	r.AwaitWaiting(1)
	require.Zero(t, seen(t, pool), "nobody sees what the standby lacks")
	r.Crash()
	require.ErrorIs(t, <-commits, postgres.ErrOutcomeUnknown)
	require.Equal(t, 1, seen(t, openPool(t, r.URL())), "after the crash it is seen, though the standby lacks it")

	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, g.Barrier(short), context.DeadlineExceeded)
	passed := make(chan error, 1)
	go func() { passed <- g.Barrier(context.WithoutCancel(t.Context())) }()
	r.AwaitWaiting(1)
	select {
	case err := <-passed:
		t.Fatalf("the barrier is open while the standby lacks the row: %v", err)
	default:
	}
	r.Thaw()
	require.NoError(t, <-passed)
}

func TestCancelledWaitIsNoCommit(t *testing.T) {
	t.Parallel()
	r := pgtest.StartReplicated(t, twoTables(), "m")
	pool := openPool(t, r.URL())
	g := runGuard(t, pool)
	r.Freeze()
	for name, commit := range map[string]func(context.Context) error{
		"batch": func(ctx context.Context) error {
			batch := &pgx.Batch{}
			batch.Queue("INSERT INTO a VALUES (1)")
			return postgres.CommitBatch(ctx, pool, batch)
		},
		"bulk": func(ctx context.Context) error {
			bulk := postgres.NewBulk()
			bulk.Query("INSERT INTO a VALUES ($1)", 1)
			_, err := bulk.Commit(ctx, pool)
			return err
		},
		"transaction": func(ctx context.Context) error {
			return postgres.InTx(ctx, pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO a VALUES (1)")
				return err
			})
		},
	} {
		done := make(chan error, 1)
		go func() { done <- commit(context.WithoutCancel(t.Context())) }()
		r.AwaitWaiting(1)
		r.CancelWaiting()
		require.ErrorIs(t, <-done, postgres.ErrOutcomeUnknown, name)
	}
	require.Equal(t, 3, seen(t, pool), "what was cancelled is seen all the same")
	passed := make(chan error, 1)
	go func() { passed <- g.Barrier(context.WithoutCancel(t.Context())) }()
	r.AwaitWaiting(1)
	r.CancelWaiting()
	err := <-passed
	require.ErrorIs(t, err, postgres.ErrStandbyBehind)
	require.True(t, postgres.IsUnavailable(err))
}
