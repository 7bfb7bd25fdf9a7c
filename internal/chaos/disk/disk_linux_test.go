package disk

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// makeDisk makes a disk, or checks that a user who may not mount is told so.
func makeDisk(t *testing.T) (*Disk, bool) {
	t.Helper()
	dir := t.TempDir()
	d, err := Make(t.Context(), Config{Dir: filepath.Join(dir, "images"), Mount: filepath.Join(dir, "store"), Size: 64 << 20, UID: 1, GID: 1})
	if os.Geteuid() != 0 {
		require.ErrorIs(t, err, ErrMayNotMount)
		require.ErrorContains(t, err, "root")
		return nil, false
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close(context.WithoutCancel(t.Context()))) })
	return d, true
}

// write writes a file and tells the kernel to keep it, or not.
func write(t *testing.T, path string, content []byte, flushed bool) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.Write(content)
	require.NoError(t, err)
	if flushed {
		require.NoError(t, file.Sync())
	}
	require.NoError(t, file.Close())
}

func TestPowerCutTakesWhatWasNotFlushed(t *testing.T) {
	t.Parallel()
	d, ok := makeDisk(t)
	if !ok {
		return
	}
	content := bytes.Repeat([]byte("kept or lost. "), 10_000)
	other := bytes.ToUpper(content)
	at := func(name string) string { return filepath.Join(d.Mount(), name) }
	write(t, at("overwritten"), content, true)
	write(t, at("flushed"), content, true)
	write(t, at("unflushed"), content, false)
	write(t, at("overwritten"), other, false)

	require.NoError(t, d.Cut(t.Context()))
	lost, err := d.Swap(t.Context())
	require.NoError(t, err)

	flushed, err := os.ReadFile(at("flushed"))
	require.NoError(t, err)
	require.Equal(t, content, flushed)
	overwritten, err := os.ReadFile(at("overwritten"))
	require.NoError(t, err)
	require.Equal(t, content, overwritten)
	unflushed, err := os.ReadFile(at("unflushed"))
	if err == nil {
		require.Empty(t, unflushed, "the name may be there, the bytes not")
	} else {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	require.Equal(t, Lost{Files: 2, Bytes: int64(2 * len(content))}, lost)

	// And again, on the copy.
	write(t, at("unflushed"), content, true)
	require.NoError(t, d.Cut(t.Context()))
	lost, err = d.Swap(t.Context())
	require.NoError(t, err)
	require.Zero(t, lost)
}

func TestFullDiskIsFreedAgain(t *testing.T) {
	t.Parallel()
	d, ok := makeDisk(t)
	if !ok {
		return
	}
	taken, err := d.Fill()
	require.NoError(t, err)
	require.Greater(t, taken, int64(32<<20))
	path := filepath.Join(d.Mount(), "more")
	require.ErrorIs(t, os.WriteFile(path, make([]byte, page), 0o600), syscall.ENOSPC)
	require.NoError(t, d.Free())
	require.NoError(t, os.WriteFile(path, make([]byte, page), 0o600))
}

func TestLeftoversOfKilledRunsAreUnmounted(t *testing.T) {
	t.Parallel()
	killed, ok := makeDisk(t)
	if !ok {
		return
	}
	living, _ := makeDisk(t)
	require.NoError(t, killed.lock.Release()) // the kernel does it when a process dies
	swept, err := Sweep(t.Context())
	require.NoError(t, err)
	require.Positive(t, swept)
	_, err = deviceOf(killed.Mount())
	require.ErrorContains(t, err, "nothing is mounted")
	_, err = deviceOf(living.Mount())
	require.NoError(t, err)

	// As it was, so that it can be closed.
	killed.lock, err = dirlock.Acquire(killed.cfg.Dir)
	require.NoError(t, err)
	require.NoError(t, mountImage(t.Context(), killed.image(), killed.Mount()))
}
