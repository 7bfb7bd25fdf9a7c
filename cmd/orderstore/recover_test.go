package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// copyFolder copies a folder with owners and modes, as a backup of a stopped server would.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput() //nolint:gosec // folders of this test
	require.NoError(t, err, string(out))
}

func (s *system) readiness() map[string]string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.at.HTTP+"/readyz", nil)
	require.NoError(s.t, err)
	answer, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer func() { _ = answer.Body.Close() }()
	var r readiness
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&r))
	return r.Parts
}

// refused submits an order that must not be taken.
func (s *system) refused(ref string) {
	s.t.Helper()
	err := submitWithin(s.t, s.user(), 3*time.Second, ref)
	problem, ok := errors.AsType[*client.Problem](err)
	require.True(s.t, ok, "%v", err)
	require.Equal(s.t, http.StatusServiceUnavailable, problem.Status)
	require.NotContains(s.t, problem.Detail, "stream", "how it works inside is nobody's business")
}

// A Postgres that was restored to an older point: that is noticed at the start, nothing is written, and recover brings all of it back from
// the stream while the instance runs. Orders that were acknowledged are there, and sent again they are replayed.
func TestLogRestoredToAnOlderPoint(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.register("retail.erp")
	submit := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			_, err := s.user().SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("r-", i)))
			require.NoError(t, err)
		}
	}
	submit(0, 5)
	s.level()
	s.terminate()
	older := filepath.Join(t.TempDir(), "postgres")
	copyFolder(t, filepath.Join(s.data, "postgres"), older)

	s.start()
	submit(5, 25)
	s.level()
	for task, err := range s.provider().ListTasks(t.Context(), client.TaskFilter{}) {
		require.NoError(t, err)
		_, err = s.provider().PostResult(t.Context(), task.ID, client.ResultSubmission{ResultID: "of-" + task.ID, Outcome: "completed"})
		require.NoError(t, err)
	}
	s.level()
	before := s.readiness()
	require.Equal(t, "ok", before["log"])
	lag, err := s.operator().Lag(t.Context())
	require.NoError(t, err)
	end := lag.Log
	s.terminate()
	require.NoError(t, os.RemoveAll(filepath.Join(s.data, "postgres")))
	copyFolder(t, older, filepath.Join(s.data, "postgres"))

	s.start()
	s.refused("r-new")
	s.refused("r-3")
	require.Contains(t, s.readiness()["log"], "orderstore recover brings it back")
	require.Contains(t, s.out.String(), "nothing is written")
	out, code := runCommand(t, "orderstore", "recover", "--data", s.data)
	require.Zero(t, code, out)
	require.Contains(t, out, fmt.Sprintf("; the log ends at %d with digest", end))

	require.Eventually(t, func() bool { return submitWithin(t, s.user(), 5*time.Second, "r-new") == nil }, 30*time.Second, 100*time.Millisecond)
	require.Equal(t, "ok", s.readiness()["log"])
	for i := range 25 {
		order, err := s.user().SubmitOrder(t.Context(), sampleOrder(fmt.Sprint("r-", i)))
		require.NoError(t, err)
		require.True(t, order.Meta.Replayed)
		require.Equal(t, "completed", order.Status)
	}
	s.level()
	s.verified()
	out, code = runCommand(t, "orderstore", "recover", "--data", s.data)
	require.Zero(t, code, out)
	require.True(t, strings.HasPrefix(out, "nothing to bring back: "), out)
}
