package pgtest

import (
	"context"
	"io/fs"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	replicatedDatabase = "write"
	replicatedPoll     = 20 * time.Millisecond
	replicatedWithin   = 30 * time.Second // for what a test waits for
)

// Replicated is a durable primary of a test's own and the standby that each of its commits waits for.
type Replicated struct {
	t       testing.TB
	cfg     postgres.ClusterConfig
	primary *postgres.Cluster
	standby *postgres.Cluster
	frozen  int // process id of the standby's receiver while it is stopped; 0 while it works
}

// StartReplicated starts both, with all migrations in dir of fsys in one database. They end with the test.
func StartReplicated(t testing.TB, fsys fs.FS, dir string) *Replicated {
	t.Helper()
	base := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	r := &Replicated{t: t, cfg: postgres.ClusterConfig{
		Dir: filepath.Join(base, "primary"), Databases: []string{replicatedDatabase}, Durable: true, Log: quiet,
		ExtraSettings: map[string]string{"shared_buffers": "64MB"},
	}}
	r.startPrimary()
	t.Cleanup(func() { stopCluster(t, r.primary) })
	if err := postgres.Migrate(t.Context(), r.URL(), fsys, dir); err != nil {
		t.Fatalf("migrate the primary: %v", err)
	}
	var err error
	r.standby, err = postgres.StartStandby(t.Context(), r.primary, postgres.ClusterConfig{
		Dir: filepath.Join(base, "standby"), Durable: true, Log: quiet,
		ExtraSettings: map[string]string{"shared_buffers": "64MB", "wal_retrieve_retry_interval": "100ms"},
	})
	if err != nil {
		t.Fatalf("start the standby: %v", err)
	}
	t.Cleanup(func() { stopCluster(t, r.standby) })
	t.Cleanup(r.Thaw)
	r.execute(r.primary, `ALTER SYSTEM SET synchronous_standby_names = '*'`)
	r.execute(r.primary, `SELECT pg_reload_conf()`)
	r.await(r.primary, `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`, "the standby follows")
	return r
}

func stopCluster(t testing.TB, c *postgres.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTimeout)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Errorf("stop a cluster: %v", err)
	}
}

// URL is the primary's, the same one after Crash.
func (r *Replicated) URL() string { return r.primary.URL(replicatedDatabase) }

// Freeze stops the standby's receiver in the middle of whatever it does: nothing that is committed from now on gets to the standby,
// and its connection stays open.
func (r *Replicated) Freeze() {
	r.t.Helper()
	r.await(r.standby, `SELECT coalesce(max(pid), 0) FROM pg_stat_wal_receiver WHERE status = 'streaming'`, "the standby receives")
	r.frozen = r.number(r.standby, `SELECT max(pid) FROM pg_stat_wal_receiver`)
	if err := syscall.Kill(r.frozen, syscall.SIGSTOP); err != nil {
		r.t.Fatalf("stop the receiver: %v", err)
	}
}

// Thaw lets the standby go on.
func (r *Replicated) Thaw() {
	if r.frozen == 0 {
		return
	}
	if err := syscall.Kill(r.frozen, syscall.SIGCONT); err != nil {
		r.t.Errorf("continue the receiver: %v", err)
	}
	r.frozen = 0
}

// AwaitWaiting waits until so many backends of the primary are in a commit that waits for the standby.
func (r *Replicated) AwaitWaiting(backends int) {
	r.t.Helper()
	r.await(r.primary, `SELECT (count(*) >= `+strconv.Itoa(backends)+`)::int FROM pg_stat_activity WHERE wait_event = 'SyncRep'`,
		"a commit waits for the standby")
}

// CancelWaiting cancels all commits that wait for the standby, as an administrator may.
func (r *Replicated) CancelWaiting() {
	r.t.Helper()
	r.execute(r.primary, `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
}

// Crash kills the primary without a word to it and starts it again, at the same address. What waited for the standby is then
// visible, whether the standby has it or not.
func (r *Replicated) Crash() {
	r.t.Helper()
	at, err := url.Parse(r.URL())
	if err != nil {
		r.t.Fatalf("read the primary's address: %v", err)
	}
	if r.cfg.Port, err = strconv.Atoi(at.Port()); err != nil {
		r.t.Fatalf("read the primary's address: %v", err)
	}
	if err := syscall.Kill(r.primary.PID(), syscall.SIGKILL); err != nil {
		r.t.Fatalf("kill the primary: %v", err)
	}
	<-r.primary.Exited()
	r.startPrimary()
}

func (r *Replicated) startPrimary() {
	r.t.Helper()
	var err error
	if r.primary, err = postgres.StartCluster(r.t.Context(), r.cfg); err != nil {
		r.t.Fatalf("start the primary: %v", err)
	}
}

// execute runs a statement that writes nothing, so that it waits for nobody.
func (r *Replicated) execute(c *postgres.Cluster, sql string) {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), c.URL("postgres"))
	if err != nil {
		r.t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) }()
	if _, err := conn.Exec(r.t.Context(), sql); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

func (r *Replicated) number(c *postgres.Cluster, sql string) int {
	r.t.Helper()
	conn, err := pgx.Connect(r.t.Context(), c.URL("postgres"))
	if err != nil {
		r.t.Fatalf("connect: %v", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(r.t.Context())) }()
	var n int
	if err := conn.QueryRow(r.t.Context(), sql).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// await waits until a query gives more than 0.
func (r *Replicated) await(c *postgres.Cluster, sql, what string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), replicatedWithin)
	defer cancel()
	tick := time.NewTicker(replicatedPoll)
	defer tick.Stop()
	for r.number(c, sql) == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%s: it did not happen", what)
		}
	}
}
