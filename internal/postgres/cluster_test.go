package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/postgres"
)

const patience = 30 * time.Second

func alive(pid int) bool {
	// A killed process stays until it is reaped; its command line is empty by then.
	cmdline, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err == nil {
		return len(cmdline) > 0
	}
	return syscall.Kill(pid, 0) == nil && !errors.Is(err, os.ErrNotExist)
}

func TestClusterKeepsDataAndPasswordAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	first := startCluster(t, durable(dir))
	execute(t, first.URL("write"), "create table notes (body text)", "insert into notes values ('نعم 好 🙂')")
	password := readFile(t, filepath.Join(dir, "password"))
	info, err := os.Stat(filepath.Join(dir, "password"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, first.Stop(t.Context()))
	require.False(t, alive(first.PID()))
	require.NoError(t, first.Stop(t.Context()), "a stopped cluster can be stopped")

	second := startCluster(t, durable(dir))
	require.Equal(t, "نعم 好 🙂", query[string](t, second.URL("write"), "select body from notes"))
	require.Equal(t, password, readFile(t, filepath.Join(dir, "password")))
	require.Equal(t, "read", query[string](t, second.URL("read"), "select current_database()::text"))
	require.Equal(t, "UTF8", query[string](t, second.URL("read"), "show server_encoding"))
	require.Equal(t, "UTC", query[string](t, second.URL("read"), "show timezone"))
	require.NotContains(t, readFile(t, filepath.Join(dir, "server.log")), "not properly shut down")
}

func TestClusterAsksForThePassword(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, scratch(t.TempDir()))
	wrong := strings.Replace(cluster.URL("write"), "orderstore:", "orderstore:x", 1)
	_, err := postgres.Open(t.Context(), wrong, postgres.PoolConfig{Name: "test"})
	require.ErrorContains(t, err, "28P01")
	require.False(t, postgres.IsUnavailable(errors.Unwrap(err)), "a wrong password is not cured by waiting")
}

func TestClusterOfKilledOwnerStartsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	owner := startOwner(t, os.Args[0], dir, nil)
	pid, url := owner.ready(t)
	execute(t, url, "create table notes (body text)", "insert into notes values ('kept')")
	owner.kill(t)

	cluster := startCluster(t, durable(dir))
	require.False(t, alive(pid), "the earlier server must be gone")
	require.Equal(t, "kept", query[string](t, cluster.URL("write"), "select body from notes"))
}

func TestClusterEndsWithItsKilledOwner(t *testing.T) {
	t.Parallel()
	owner := startOwner(t, os.Args[0], t.TempDir(), nil)
	pid, _ := owner.ready(t)
	owner.kill(t)
	if !postgres.EndsWithParent {
		t.Log("this system does not tell children that their parent died; the next start stops them")
		require.NoError(t, syscall.Kill(pid, syscall.SIGINT))
	}
	require.Eventually(t, func() bool { return !alive(pid) }, patience, 20*time.Millisecond)
}

func TestClusterOwnerKilledDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	owner := startOwner(t, os.Args[0], dir, nil)
	unfinished := filepath.Join(dir, "data.tmp-*", "base", "1", "*")
	require.Eventually(t, func() bool {
		found, _ := filepath.Glob(unfinished)
		return len(found) > 0
	}, patience, time.Millisecond)
	owner.kill(t)
	_, err := os.Stat(filepath.Join(dir, "data"))
	require.ErrorIs(t, err, os.ErrNotExist, "killed too late to show anything")

	cluster := startCluster(t, durable(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
	require.Empty(t, glob(t, filepath.Join(dir, "data.tmp-*")))
}

func TestClusterStartCutOffByItsContext(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgres")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := postgres.StartCluster(ctx, scratch(dir))
		failed <- err
	}()
	require.Eventually(t, func() bool { return len(glob(t, filepath.Join(dir, "data.tmp-*"))) > 0 }, patience, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)

	cluster := startCluster(t, scratch(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
}

func TestSecondClusterOnOneDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startCluster(t, scratch(dir))
	_, err := postgres.StartCluster(t.Context(), scratch(dir))
	require.ErrorIs(t, err, postgres.ErrInUse)
	requireSentence(t, err, dir, strconv.Itoa(os.Getpid()))
	require.Equal(t, 1, query[int](t, first.URL("write"), "select 1"), "the first must be unharmed")
}

func TestKilledServerIsNoticedAndRecovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startCluster(t, durable(dir))
	execute(t, first.URL("write"), "create table notes (body text)", "insert into notes values ('kept')")
	require.NoError(t, syscall.Kill(first.PID(), syscall.SIGKILL))
	select {
	case <-first.Exited():
	case <-time.After(patience):
		require.Fail(t, "the death of the server went unnoticed")
	}
	require.NoError(t, first.Stop(t.Context()))

	second := startCluster(t, durable(dir))
	require.Equal(t, "kept", query[string](t, second.URL("write"), "select body from notes"))
}

func TestStalePIDFileOfAnotherServersNumber(t *testing.T) {
	t.Parallel()
	bystander := startCluster(t, scratch(t.TempDir()))
	dir := t.TempDir()
	killed := startCluster(t, scratch(dir))
	require.NoError(t, syscall.Kill(killed.PID(), syscall.SIGKILL))
	<-killed.Exited()
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	_, rest, found := strings.Cut(readFile(t, pidFile), "\n")
	require.True(t, found)
	content := strconv.Itoa(bystander.PID()) + "\n" + rest
	require.NoError(t, os.WriteFile(pidFile, []byte(content), 0o600))

	cluster := startCluster(t, scratch(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
	require.Equal(t, 1, query[int](t, bystander.URL("write"), "select 1"), "a server of another directory was harmed")
}

func TestEmptyPIDFileAfterAPowerCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, startCluster(t, scratch(dir)).Stop(t.Context()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "postmaster.pid"), nil, 0o600))
	cluster := startCluster(t, scratch(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
}

func TestDataOfAnotherMajorVersionIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, startCluster(t, scratch(dir)).Stop(t.Context()))
	version := filepath.Join(dir, "data", "PG_VERSION")
	ours := readFile(t, version)
	overwrite(t, version, "99\n")
	_, err := postgres.StartCluster(t.Context(), scratch(dir))
	require.ErrorIs(t, err, postgres.ErrOtherVersion)
	requireSentence(t, err, "PostgreSQL 99", "install")

	overwrite(t, version, ours)
	startCluster(t, scratch(dir))
}

func TestFailedStartQuotesTheServer(t *testing.T) {
	t.Parallel()
	cfg := scratch(t.TempDir())
	cfg.ExtraSettings = map[string]string{"shared_buffers": "plenty"}
	_, err := postgres.StartCluster(t.Context(), cfg)
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers": "plenty"`)

	cfg.ExtraSettings = map[string]string{"work_mem": "5MB"}
	cluster := startCluster(t, cfg)
	require.Equal(t, "5MB", query[string](t, cluster.URL("write"), "show work_mem"))
}

func TestLostPasswordIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, startCluster(t, scratch(dir)).Stop(t.Context()))
	password := filepath.Join(dir, "password")
	ours := readFile(t, password)
	overwrite(t, password, "another\n")
	_, err := postgres.StartCluster(t.Context(), scratch(dir))
	require.ErrorContains(t, err, password)

	require.NoError(t, os.Remove(password))
	_, err = postgres.StartCluster(t.Context(), scratch(dir))
	require.ErrorContains(t, err, password)

	require.NoError(t, os.WriteFile(password, []byte(ours), 0o600))
	startCluster(t, scratch(dir))
}

func TestSlowStopEndsAtOnceWhenTheContextDoes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cluster := startCluster(t, durable(dir))
	execute(t, cluster.URL("write"), "create table notes (body text)", "insert into notes values ('kept')")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, cluster.Stop(ctx))
	require.False(t, alive(cluster.PID()))
	again := startCluster(t, durable(dir))
	require.Equal(t, "kept", query[string](t, again.URL("write"), "select body from notes"))
}

// requireSentence wants one sentence on one line that names all parts.
func requireSentence(t *testing.T, err error, parts ...string) {
	t.Helper()
	require.NotContains(t, err.Error(), "\n")
	for _, part := range parts {
		require.ErrorContains(t, err, part)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// overwrite keeps the file's owner and mode.
func overwrite(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	require.NoError(t, err)
	return found
}
