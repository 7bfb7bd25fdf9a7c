package seeded_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/seeded"
)

// TestNothingIsLeftInANormalBuild looks for the bugs' names in the server as it is built. That a build which is told to makes them is shown by
// each one's being caught.
func TestNothingIsLeftInANormalBuild(t *testing.T) {
	t.Parallel()
	normal := build(t)
	require.GreaterOrEqual(t, len(seeded.All()), 25)
	seen := map[seeded.Name]bool{}
	for _, bug := range seeded.All() {
		require.False(t, seen[bug.Name], "%s is listed twice", bug.Name)
		seen[bug.Name] = true
		require.NotContains(t, string(bug.Name), " ")
		require.False(t, bytes.Contains(normal, []byte(bug.Name)), "%s is in a normal build", bug.Name)
	}
	require.False(t, bytes.Contains(normal, []byte("ORDERSTORE_SEEDED_BUG")))
}

func build(t *testing.T) []byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "orderstore")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", to, "github.com/orderstore/orderstore/cmd/orderstore").CombinedOutput() //nolint:gosec // the arguments are ours
	require.NoError(t, err, "%s", out)
	program, err := os.ReadFile(to) //nolint:gosec // the file is ours
	require.NoError(t, err)
	return program
}
