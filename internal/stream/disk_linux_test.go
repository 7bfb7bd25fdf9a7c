package stream_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/stream"
)

// smallDisk mounts a file system of a megabyte, or tells that this user may not.
func smallDisk(t *testing.T) (string, bool) {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Log("this user may not mount a small disk:", err)
		return "", false
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir, true
}

func TestFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t)
	if !ok {
		return
	}
	dir := filepath.Join(disk, "nats")
	startServer(t, stream.ServerConfig{Dir: dir}).Shutdown()
	require.NoError(t, os.Remove(filepath.Join(dir, "version")))
	ballast, err := os.Create(filepath.Join(disk, "ballast"))
	require.NoError(t, err)
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = ballast.Write(chunk)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, ballast.Close())
	_, err = stream.StartServer(stream.ServerConfig{Dir: dir, Log: quiet()})
	require.ErrorIs(t, err, stream.ErrDiskFull)
	require.ErrorContains(t, err, dir)

	require.NoError(t, os.Remove(ballast.Name()))
	startServer(t, stream.ServerConfig{Dir: dir}).Shutdown()
}

func TestReadOnlyDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	disk, ok := smallDisk(t)
	if !ok {
		return
	}
	dir := filepath.Join(disk, "nats")
	startServer(t, stream.ServerConfig{Dir: dir}).Shutdown()
	require.NoError(t, syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"))
	_, err := stream.StartServer(stream.ServerConfig{Dir: dir, Log: quiet()})
	require.ErrorIs(t, err, stream.ErrUnreachable)
	require.ErrorContains(t, err, dir)
}
