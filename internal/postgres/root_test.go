package postgres_test

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/postgres"
)

// ordinaryUser is nobody on every common system; the kernel needs no entry for it.
const ordinaryUser = 65534

func asOrdinaryUser() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ordinaryUser, Gid: ordinaryUser}}
}

// openDir returns a directory everybody can reach, unlike t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "orderstore-open-") //nolint:usetesting // t.TempDir is closed to other users
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func copyTestBinary(t *testing.T, dir string) string {
	t.Helper()
	source, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer source.Close()
	path := filepath.Join(dir, "owner")
	target, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(target, source)
	require.NoError(t, err)
	require.NoError(t, target.Close())
	return path
}

func uidOf(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func TestClusterBeneathAClosedDirectory(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	require.NoError(t, os.Chmod(parent, 0o700))
	dir := filepath.Join(parent, "a", "b", "postgres")
	cluster := startCluster(t, scratch(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
	if os.Geteuid() == 0 {
		require.NotZero(t, uidOf(t, filepath.Join(dir, "data")), "root must hand the data over")
	}
}

func TestRootKeepsAnOrdinaryUsersClusterThatUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can become another user; the other tests ran as an ordinary one")
		return
	}
	parent := openDir(t)
	dir := filepath.Join(parent, "postgres")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.Chown(dir, ordinaryUser, ordinaryUser))
	binary := copyTestBinary(t, parent)

	first := startOwner(t, binary, dir, asOrdinaryUser())
	_, url := first.ready(t)
	execute(t, url, "create table notes (body text)", "insert into notes values ('kept')")
	require.NoError(t, first.stdin.Close())
	require.NoError(t, first.cmd.Wait())

	byRoot := startCluster(t, durable(dir))
	require.Equal(t, "kept", query[string](t, byRoot.URL("write"), "select body from notes"))
	require.NoError(t, byRoot.Stop(t.Context()))
	require.Equal(t, ordinaryUser, uidOf(t, filepath.Join(dir, "data")))

	again := startOwner(t, binary, dir, asOrdinaryUser())
	_, url = again.ready(t)
	require.Equal(t, "kept", query[string](t, url, "select body from notes"))
}

func TestDirectoryClosedToAnOrdinaryUserIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		dir := filepath.Join(t.TempDir(), "closed")
		require.NoError(t, os.Mkdir(dir, 0o500))
		_, err := postgres.StartCluster(t.Context(), durable(filepath.Join(dir, "postgres")))
		require.ErrorIs(t, err, postgres.ErrUnreachable)
		requireSentence(t, err, dir)
		return
	}
	parent := openDir(t)
	owner := startOwner(t, copyTestBinary(t, parent), filepath.Join(parent, "postgres"), asOrdinaryUser())
	line, err := owner.lines.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "error this user may not use "+filepath.Join(parent, "postgres"))
}

func TestDataCopiedByRootIsHandedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, startCluster(t, scratch(dir)).Stop(t.Context()))
	uid := os.Geteuid()
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, -1)
	}))
	cluster := startCluster(t, scratch(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
}
