package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestKilledLeavesNothingRunning kills the program while it measures an instance of its own.
func TestKilledLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "orderbench")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	cmd := exec.CommandContext(t.Context(), program, "latency", "--start", "--for", "5m")
	cmd.Env = append(cmd.Environ(), "TMPDIR="+dir)
	require.NoError(t, cmd.Start())
	service := 0
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, "orderbench-*", "data", "endpoints.json"))
		if err != nil || len(found) == 0 {
			return false
		}
		service = processIn(filepath.Join(filepath.Dir(found[0]), "lock"))
		return service > 0
	}, time.Minute, 50*time.Millisecond)
	require.NoError(t, syscall.Kill(service, 0), "the instance runs")

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(service, 0), syscall.ESRCH) }, time.Minute, 50*time.Millisecond)
}
