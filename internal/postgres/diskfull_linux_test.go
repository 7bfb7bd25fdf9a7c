package postgres_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/postgres"
)

// smallDisk mounts a file system of that size, or tells that this user may not.
func smallDisk(t *testing.T, size string) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Log("this user may not mount a small disk:", err)
		return "", false
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir, true
}

func TestFullDiskAtTheFirstStart(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t, "16m")
	if !ok {
		return
	}
	dir := filepath.Join(disk, "postgres")
	_, err := postgres.StartCluster(t.Context(), durable(dir))
	require.ErrorIs(t, err, postgres.ErrDiskFull)
	requireSentence(t, err, dir, "free some space")
	require.Empty(t, glob(t, filepath.Join(dir, "data*")), "nothing half-made may stay")

	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=200m"))
	cluster := startCluster(t, durable(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
	require.NoError(t, cluster.Stop(t.Context()))
}

func TestFullDiskAtALaterStart(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t, "200m")
	if !ok {
		return
	}
	dir := filepath.Join(disk, "postgres")
	require.NoError(t, startCluster(t, durable(dir)).Stop(t.Context()))
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(t, err)
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = ballast.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, ballast.Close())

	_, err = postgres.StartCluster(t.Context(), durable(dir))
	require.ErrorIs(t, err, postgres.ErrDiskFull)
	requireSentence(t, err, dir)

	require.NoError(t, os.Remove(ballast.Name()))
	cluster := startCluster(t, durable(dir))
	require.Equal(t, 1, query[int](t, cluster.URL("write"), "select 1"))
	require.NoError(t, cluster.Stop(t.Context()))
}
