package dirlock_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/dirlock"
)

// holderEnv makes this test binary hold that directory instead of running tests.
const holderEnv = "ORDERSTORE_TEST_LOCK_HOLDER"

func TestMain(m *testing.M) {
	dir, ok := os.LookupEnv(holderEnv)
	if !ok {
		os.Exit(m.Run())
	}
	lock, err := dirlock.Acquire(dir)
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(lock) // a collected lock is a released one
}

func TestDirectoryHasOneHolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := dirlock.Acquire(dir)
	require.NoError(t, err)
	_, err = dirlock.Acquire(dir)
	require.ErrorIs(t, err, dirlock.ErrHeld)
	var held *dirlock.HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, os.Getpid(), held.PID)
	require.NoError(t, lock.Release())
	lock, err = dirlock.Acquire(dir)
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestKilledHolderLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holder := exec.CommandContext(t.Context(), os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+dir)
	_, err := holder.StdinPipe()
	require.NoError(t, err)
	stdout, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", line)

	_, err = dirlock.Acquire(dir)
	var held *dirlock.HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, holder.Process.Pid, held.PID)

	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	lock, err := dirlock.Acquire(dir)
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestMissingDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	_, err := dirlock.Acquire(t.TempDir() + "/missing")
	require.ErrorIs(t, err, os.ErrNotExist)
}
