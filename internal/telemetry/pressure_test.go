package telemetry

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBusyIsWhereProgramsWaitForProcessors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cpu")
	now := time.Unix(1000, 0)
	p := &Pressure{file: file, now: func() time.Time { return now }}
	require.False(t, p.Busy(), "there is no such file")
	for _, step := range []struct {
		after time.Duration
		total string
		busy  bool
	}{
		{0, "7000000", false}, // the first look
		{time.Second, "7100000", false},
		{time.Second, "7600000", true},
		{50 * time.Millisecond, "7600000", true}, // too early to look again
		{time.Second, "7700000", false},
		{time.Second, "x", false},
	} {
		now = now.Add(step.after)
		content := "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + step.total + "\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		require.Equal(t, step.busy, p.Busy(), step.total)
	}
}
