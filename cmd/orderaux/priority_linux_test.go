package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asNice is set for the copy of this test that lowers its own priority.
const asNice = "ORDERAUX_TEST_NICE"

// Every thread of the process is as nice as wanted, those too that are started later.
func TestAllThreadsAreNice(t *testing.T) {
	t.Parallel()
	if os.Getenv(asNice) == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAllThreadsAreNice$") //nolint:gosec // this test
		again.Env = append(os.Environ(), asNice+"=1")
		out, err := again.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	require.NoError(t, lowerPriority(7))
	release, started := make(chan struct{}), make(chan struct{})
	for range 8 {
		go func() {
			f, err := os.Open("/proc/self/stat") // a system call apiece, which may need a thread apiece
			if err == nil {
				_ = f.Close()
			}
			started <- struct{}{}
			<-release
		}()
	}
	for range 8 {
		<-started
	}
	defer close(release)
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, thread := range threads {
		stat, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
		require.NoError(t, err)
		// The fields after the name in parentheses begin with the 3rd; the nice value is the 19th, see proc(5).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		nice, err := strconv.Atoi(fields[19-3])
		require.NoError(t, err)
		require.Equal(t, 7, nice, "thread %s", thread.Name())
	}
}
