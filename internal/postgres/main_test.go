package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
)

// ownerDirEnv makes this test binary the owner of a cluster in that directory instead of running tests, so that
// tests can kill an owner.
const ownerDirEnv = "ORDERSTORE_TEST_CLUSTER_OWNER"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(ownerDirEnv); ok {
		os.Exit(ownCluster(dir))
	}
	os.Exit(pgtest.Run(m))
}

// ownCluster starts a cluster, prints its process id and URL, and ends cleanly when its standard input does.
func ownCluster(dir string) int {
	ctx := context.Background()
	cluster, err := postgres.StartCluster(ctx, durable(dir))
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println(cluster.PID(), cluster.URL("write"))
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := cluster.Stop(ctx); err != nil {
		fmt.Println("error", err)
		return 1
	}
	return 0
}

func durable(dir string) postgres.ClusterConfig {
	return postgres.ClusterConfig{
		Dir: dir, Databases: []string{"write", "read"}, Durable: true, Log: slog.New(slog.DiscardHandler),
	}
}

// scratch is durable without the flushing, for what does not depend on it.
func scratch(dir string) postgres.ClusterConfig {
	cfg := durable(dir)
	cfg.Durable = false
	return cfg
}

// owner is a process of its own that owns a cluster.
type owner struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
	stdin io.Closer
}

func startOwner(t *testing.T, binary, dir string, attr *syscall.SysProcAttr) *owner {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary)
	cmd.Env = append(os.Environ(), ownerDirEnv+"="+dir)
	cmd.SysProcAttr = attr
	cmd.Dir = "/"
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	o := &owner{cmd: cmd, lines: bufio.NewReader(stdout), stdin: stdin}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return o
}

// ready waits for the owner's cluster and returns its process id and URL.
func (o *owner) ready(t *testing.T) (pid int, url string) {
	t.Helper()
	line, err := o.lines.ReadString('\n')
	require.NoError(t, err)
	require.False(t, strings.HasPrefix(line, "error"), line)
	_, err = fmt.Sscan(line, &pid, &url)
	require.NoError(t, err, line)
	return pid, url
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, o.cmd.Process.Kill())
	_ = o.cmd.Wait()
}

func startCluster(t *testing.T, cfg postgres.ClusterConfig) *postgres.Cluster {
	t.Helper()
	cluster, err := postgres.StartCluster(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = cluster.Stop(context.WithoutCancel(t.Context())) })
	return cluster
}

func execute(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, sql := range statements {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}

func query[T any](t *testing.T, url, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var value T
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&value))
	return value
}
