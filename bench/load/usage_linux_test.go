package load_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/bench/load"
)

// TestMeterSeesProcessesAndTheirChildren lets a shell's child use a processor, and this process too.
func TestMeterSeesProcessesAndTheirChildren(t *testing.T) {
	t.Parallel()
	shell := exec.CommandContext(t.Context(), "sh", "-c", "read go; timeout 0.5 sh -c 'while :; do :; done'; echo done; read end")
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	meter, err := load.StartMeter(os.Getpid(), shell.Process.Pid)
	require.NoError(t, err)
	_, err = in.Write([]byte("go\n"))
	require.NoError(t, err)
	_, err = out.Read(make([]byte, 8))
	require.NoError(t, err)
	useProcessor(t)
	used, err := meter.Stop()
	require.NoError(t, err)
	require.NoError(t, in.Close())
	_ = shell.Wait()

	require.Greater(t, used.Postgres, 0.05, "the time of an ended child is its parent's")
	// Both are this process, read one after the other: a tick may fall between.
	require.Positive(t, used.Generator)
	require.Positive(t, used.Service)
	require.Greater(t, used.PeakMemory, int64(1<<20))
	require.InDelta(t, 0.5, used.Steal, 0.5)
	resident, err := meter.Resident()
	require.NoError(t, err)
	require.Greater(t, resident, int64(1<<20))

	_, err = load.StartMeter(1<<30, 0)
	require.ErrorContains(t, err, "processor time of process")
}

// useProcessor computes until the kernel has counted it, several ticks of a hundredth of a second.
func useProcessor(t *testing.T) {
	t.Helper()
	spent := func() time.Duration {
		var u syscall.Rusage
		require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano())
	}
	for enough := spent() + 100*time.Millisecond; spent() < enough; {
	}
}
