package check_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/chaos/history"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// binaries is the folder of the programs under test, built once.
var binaries string //nolint:gochecknoglobals // set before the first test

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "orderstore-check-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-o", dir, "../../../cmd/orderstore") //nolint:noctx // before any test
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	binaries = dir
	return m.Run()
}

const startWithin = 90 * time.Second

// start starts a development instance, and says where it is reached.
func start(t *testing.T) chaos.Endpoints {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(binaries, "orderstore"), "dev", "--data", data, "--http", "127.0.0.1:0") //nolint:gosec // built by this test
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	require.NoError(t, err)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			out, _ := os.ReadFile(said.Name())
			t.Logf("the store said:\n%s", out[max(0, len(out)-4000):])
		}
	})
	var at struct {
		HTTP, Metrics, NATS                            string
		PostgresWrite, PostgresRead, PostgresAuxiliary string
	}
	var raw map[string]string
	deadline := time.After(startWithin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for decode(filepath.Join(data, "endpoints.json"), &raw) != nil {
		select {
		case <-ended:
			require.Fail(t, "the store did not start")
		case <-deadline:
			require.Fail(t, "the store did not start in time")
		case <-tick.C:
		}
	}
	at.HTTP, at.NATS = raw["http"], raw["nats"]
	at.PostgresWrite, at.PostgresRead, at.PostgresAuxiliary = raw["postgres_write"], raw["postgres_read"], raw["postgres_auxiliary"]
	var logins map[string]chaos.Login
	require.NoError(t, decode(filepath.Join(data, "credentials.json"), &logins))
	here := []string{at.HTTP}
	return chaos.Endpoints{
		Write: here, Read: here, Broadcast: here, NATS: []string{at.NATS}, Logins: logins,
		Direct: chaos.Direct{
			Primary: at.PostgresWrite, Standbys: []string{at.PostgresWrite}, Views: []string{at.PostgresRead}, Auxiliary: at.PostgresAuxiliary, NATS: []string{at.NATS},
			Read: here, Write: here,
		},
	}
}

func decode(name string, into any) error {
	raw, err := os.ReadFile(name) //nolint:gosec // made by this test
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// record runs the workload until each kind of operation was done, and collects what there is then.
func record(t *testing.T) string {
	t.Helper()
	at, dir := start(t), filepath.Join(t.TempDir(), "run")
	load, err := workload.New(workload.Config{At: at, Dir: dir, Seed: 7, Users: 2, Batch: 8})
	require.NoError(t, err)
	require.NoError(t, load.Prepare(t.Context()))
	require.NoError(t, load.Start(t.Context()))
	require.Eventually(t, func() bool {
		n := load.Counted()
		return n.Ops > 1000 && n.Acknowledged > 200 && n.Received > 300
	}, 2*time.Minute, 50*time.Millisecond)
	load.StopUsers()
	settling, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, load.Settle(settling))
	for _, party := range load.Parties() {
		if party == "unit-feed" || party == "unit-webhook" { // one whose position is its own, and one whose position the store keeps
			forgot, err := load.Rewind(t.Context(), party, 5)
			require.NoError(t, err)
			require.Equal(t, 5, forgot)
		}
	}
	require.NoError(t, load.Settle(settling), "a party that was put back hears what it forgot")
	require.NoError(t, load.Close())
	require.NoError(t, check.Collect(t.Context(), at, dir))
	return dir
}

// requireClean wants a run without violations that has done some of each.
func requireClean(t *testing.T, dir string) {
	t.Helper()
	report, err := check.Offline(dir)
	require.NoError(t, err)
	require.Empty(t, report.Violations)
	require.Zero(t, report.Illegal+report.Unjudged)
	require.Greater(t, report.Ops, int64(1000))
	require.Greater(t, report.Judged, int64(900))
	require.Greater(t, report.Copies, int64(7))
	ops, err := history.All(dir)
	require.NoError(t, err)
	done := map[history.Kind]int{}
	for i := range ops {
		if ops[i].Outcome != history.Unknown {
			done[ops[i].Kind]++
		}
	}
	for _, kind := range history.Kinds() {
		require.Positive(t, done[kind], kind)
	}
	t.Logf("%+v; %v", report, done)
}
