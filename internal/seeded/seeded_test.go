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

// TestNothingIsLeftInANormalBuild builds the server both ways: only the one that is told to has the bugs.
func TestNothingIsLeftInANormalBuild(t *testing.T) {
	t.Parallel()
	normal, tagged := build(t), build(t, "-tags", "seededbugs")
	require.GreaterOrEqual(t, len(seeded.All()), 25)
	seen := map[seeded.Name]bool{}
	for _, bug := range seeded.All() {
		require.False(t, seen[bug.Name], "%s is listed twice", bug.Name)
		seen[bug.Name] = true
		require.NotContains(t, string(bug.Name), " ")
		require.False(t, bytes.Contains(normal, []byte(bug.Name)), "%s is in a normal build", bug.Name)
		require.True(t, bytes.Contains(tagged, []byte(bug.Name)), "%s is made nowhere", bug.Name)
	}
	require.False(t, bytes.Contains(normal, []byte("ORDERSTORE_SEEDED_BUG")))
}

func build(t *testing.T, flags ...string) []byte {
	t.Helper()
	to := filepath.Join(t.TempDir(), "orderstore")
	args := append(append([]string{"build", "-o", to}, flags...), "github.com/orderstore/orderstore/cmd/orderstore")
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput() //nolint:gosec // the arguments are ours
	require.NoError(t, err, "%s", out)
	program, err := os.ReadFile(to) //nolint:gosec // the file is ours
	require.NoError(t, err)
	return program
}
