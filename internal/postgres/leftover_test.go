package postgres

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func testConfig(dir string) ClusterConfig {
	return ClusterConfig{Dir: dir, Databases: []string{"write"}, Durable: true, Log: slog.New(slog.DiscardHandler)}
}

// leaveServer makes a cluster with one note in it and leaves a server without an owner on its data.
func leaveServer(t *testing.T, dir string) *process {
	t.Helper()
	ctx := t.Context()
	first, err := StartCluster(ctx, testConfig(dir))
	require.NoError(t, err)
	require.NoError(t, first.Stop(ctx))

	found := findInstallations(ctx, os.Getenv("PATH"), binGlobs())
	as, err := chooseIdentity(ctx, first.dir, first.dataDir(), found[0])
	require.NoError(t, err)
	left := &Cluster{
		cfg: testConfig(dir), dir: first.dir, password: first.password, findPort: freePort, released: make(chan struct{}),
	}
	require.NoError(t, left.launch(ctx, found[0], as))
	t.Cleanup(func() { _ = left.proc.signal(syscall.SIGKILL) })
	conn, err := pgx.Connect(ctx, left.URL("write"))
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "create table notes as select 'kept' as body")
	require.NoError(t, err)
	// The session stays open: a server may be left in the middle of work.
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return left.proc
}

func requireNoteKept(t *testing.T, dir string) {
	t.Helper()
	ctx := t.Context()
	cluster, err := StartCluster(ctx, testConfig(dir))
	require.NoError(t, err)
	defer func() { require.NoError(t, cluster.Stop(context.WithoutCancel(ctx))) }()
	conn, err := pgx.Connect(ctx, cluster.URL("write"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	var body string
	require.NoError(t, conn.QueryRow(ctx, "select body from notes").Scan(&body))
	require.Equal(t, "kept", body)
}

func TestServerWithoutAnOwnerIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := leaveServer(t, dir)
	requireNoteKept(t, dir)
	<-left.exited
}

func TestSuspendedServerWithoutAnOwnerIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := leaveServer(t, dir)
	require.NoError(t, left.signal(syscall.SIGSTOP))
	requireNoteKept(t, dir)
	<-left.exited
}

func TestTakenPortIsReplaced(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	squatter, err := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
	require.NoError(t, err)
	defer squatter.Close()
	taken := squatter.Addr().(*net.TCPAddr).Port

	dir, err := prepareDir(t.TempDir())
	require.NoError(t, err)
	asked := 0
	c := &Cluster{cfg: testConfig(dir), dir: dir, released: make(chan struct{})}
	c.findPort = func(ctx context.Context) (int, error) {
		asked++
		if asked <= 2 {
			return taken, nil
		}
		return freePort(ctx)
	}
	require.NoError(t, c.start(ctx))
	defer func() { require.NoError(t, c.shutdown(context.WithoutCancel(ctx))) }()
	require.Equal(t, 3, asked)
	require.NotEqual(t, taken, c.port)
	require.NoError(t, c.probe(ctx))
}

func TestPortThatStaysTakenIsReported(t *testing.T) {
	t.Parallel()
	squatter, err := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
	require.NoError(t, err)
	defer squatter.Close()
	dir, err := prepareDir(t.TempDir())
	require.NoError(t, err)
	c := &Cluster{cfg: testConfig(dir), dir: dir, released: make(chan struct{})}
	c.findPort = func(context.Context) (int, error) { return squatter.Addr().(*net.TCPAddr).Port, nil }
	err = c.start(t.Context())
	require.ErrorContains(t, err, "could not create any TCP/IP sockets")
	<-c.proc.exited
}

func TestMissingInstallationSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	found := findInstallations(t.Context(), empty, []string{filepath.Join(empty, "*", "bin")})
	require.Empty(t, found)
	_, err := chooseInstallation(filepath.Join(empty, "data"), found)
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "apt-get install postgresql")
}

func TestInstallationFitsTheData(t *testing.T) {
	t.Parallel()
	found := []installation{{binDir: "/newer", major: 17}, {binDir: "/older", major: 15}}
	dir := t.TempDir()
	inst, err := chooseInstallation(dir, found)
	require.NoError(t, err)
	require.Equal(t, "/newer", inst.binDir, "new data takes the newest")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600))
	inst, err = chooseInstallation(dir, found)
	require.NoError(t, err)
	require.Equal(t, "/older", inst.binDir)
	_, err = chooseInstallation(dir, found[:1])
	require.ErrorIs(t, err, ErrOtherVersion)
}

func TestServerLogIsSetAsideWhenLong(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.log")
	require.NoError(t, os.WriteFile(path, make([]byte, maxServerLog+1), 0o600))
	log, err := openServerLog(path)
	require.NoError(t, err)
	defer log.close()
	_, err = log.file.WriteString("2026-01-01 UTC [1] LOG:  hello\n2026-01-01 UTC [1] FATAL:  the reason\n2026 [1] LOG:  bye\n")
	require.NoError(t, err)
	require.Equal(t, "the reason", meaningfulLine(log.written()))
	old, err := os.Stat(path + ".1")
	require.NoError(t, err)
	require.EqualValues(t, maxServerLog+1, old.Size())
}

func TestMeaninglessPIDFileIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "postmaster.pid")
	require.NoError(t, os.WriteFile(path, []byte("hello\n"), 0o600))
	err := stopLeftover(t.Context(), dir, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, dir)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "hello\n", string(content))
}

func TestUnrelatedProcessIsNotTakenForAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.False(t, runsOn(t.Context(), os.Getpid(), dir))
	path := filepath.Join(dir, "postmaster.pid")
	require.NoError(t, os.WriteFile(path, []byte(strconv.Itoa(os.Getppid())+"\nrest\n"), 0o600))
	require.NoError(t, stopLeftover(t.Context(), dir, slog.New(slog.DiscardHandler)))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(os.Getpid())+"\nrest\n", string(content))
	require.NotErrorIs(t, syscall.Kill(os.Getppid(), 0), syscall.ESRCH, "the process must live on")
}
