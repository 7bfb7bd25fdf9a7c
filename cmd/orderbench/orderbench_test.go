package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

// testMain builds the service and puts it where startInstance looks for it.
func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "orderbench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-o", dir, "../orderstore") //nolint:noctx // before any test
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// setup gives a store of the test's own.
func setup(t *testing.T) *target {
	t.Helper()
	own, err := startInstance(t.Context())
	require.NoError(t, err)
	t.Cleanup(own.stop)
	at, err := connect(t.Context(), own.data)
	require.NoError(t, err)
	require.Positive(t, at.service)
	require.Positive(t, at.postmaster)
	return at
}

// clean fails unless a run is without any error or fault.
func clean(t *testing.T, run *report.Run, err error) *report.Run {
	t.Helper()
	require.NoError(t, err)
	require.NoError(t, faults([]*report.Run{run}), "%s: %s %v", run.Name, run.Errors, run.Faults)
	require.Positive(t, run.Rate, run.Name)
	require.Positive(t, run.Stored, run.Name)
	return run
}

// TestEveryMadeOrderIsTaken sends orders of all kinds to a store, which reads them strictly.
func TestEveryMadeOrderIsTaken(t *testing.T) {
	t.Parallel()
	at := setup(t)
	const each = 2_000
	for seed, kind := range []string{"", load.Unserved, load.Probes} {
		run, err := fill(t.Context(), at, load.NewMix(uint64(seed), at.reference(), kind), each, 2)
		clean(t, run, err)
		require.EqualValues(t, each, run.Stored)
	}
	stored, err := at.stored(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3*each, stored)
	lag, err := at.operator.Lag(t.Context())
	require.NoError(t, err)
	tasks := lag.Log - stored
	require.GreaterOrEqual(t, tasks, int64(2*each), "an order of a kind that is served has a second event")
	require.Less(t, tasks, int64(2*each+100), "one that nobody serves has not; the rest are the providers")
}

// TestModes measures with each mode for about a second.
func TestModes(t *testing.T) {
	t.Parallel()
	at := setup(t)
	var out bytes.Buffer
	s := session{seed: 1, out: &out, repeat: 1}
	tasks := &throughput{session: s, connections: 16, tasks: true, probes: 20, warm: 200 * time.Millisecond, measure: time.Second}

	run, err := tasks.run(t.Context(), at)
	clean(t, run, err)
	require.Equal(t, 2*run.Rate, run.Events)
	require.GreaterOrEqual(t, run.Level, 0.0)
	require.Len(t, run.Stages, 5)
	for _, stage := range run.Stages[1:] {
		assert.EqualValues(t, 20, stage.Latency.Count, stage.Name)
	}

	run, err = (&latency{session: s, rate: 50, warm: 200 * time.Millisecond, measure: time.Second}).run(t.Context(), at)
	clean(t, run, err)
	for _, stage := range run.Stages {
		assert.EqualValues(t, 50, stage.Latency.Count, stage.Name)
	}
	notice, pulled := run.Stage(natsStage), run.Stages[3]
	require.Greater(t, pulled.Latency.P50, notice.Latency.P50, "what is pulled was heard of before")

	run, err = (&stall{session: s, rate: 50, held: 500 * time.Millisecond, cycles: 1}).run(t.Context(), at)
	clean(t, run, err)
	require.EqualValues(t, 50, run.Stage(outsideAnswered).Latency.Count)
	require.EqualValues(t, 25, run.Stage(insideAnswered).Latency.Count)

	run, err = (&batch{session: s, orders: 500, requests: 2, tasks: true}).run(t.Context(), at)
	clean(t, run, err)
	require.EqualValues(t, 500, run.Stored)

	run, err = (&soak{session: s, requests: 500, connections: 8, tasks: true}).run(t.Context(), at)
	clean(t, run, err)
	require.EqualValues(t, 500, run.Stored)
	require.Contains(t, run.Notes[0], "the store holds 500 orders more")

	before, err := at.stored(t.Context())
	require.NoError(t, err)
	filling := &growth{throughput: *tasks, from: before + 200, orders: before + 5_000}
	filling.probes, filling.measure = 0, 500*time.Millisecond
	run, err = filling.run(t.Context(), at)
	clean(t, run, err)
	require.Positive(t, run.Baseline)
	after, err := at.stored(t.Context())
	require.NoError(t, err)
	require.Greater(t, after, before+5_000)
}

// TestReads measures reads of a store with a few hundred orders.
func TestReads(t *testing.T) {
	t.Parallel()
	at := setup(t)
	var out bytes.Buffer
	o := &reads{
		session: session{seed: 1, out: &out}, connections: 4, listing: 2, hot: 50, fill: 800, warm: 100 * time.Millisecond, measure: 500 * time.Millisecond,
		only: []string{"uniform", "pages", "search", "mixed"},
	}
	require.NoError(t, o.run(t.Context(), at), out.String())
	for _, row := range []string{"any of 800 orders", "page 1 of", "text search", "hot reads beside", "answered -> visible", "wanted"} {
		require.Contains(t, out.String(), row)
	}
	at.tokens = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "nobody's"})
	o.only = []string{"uniform"}
	require.ErrorIs(t, o.run(t.Context(), at), errFaulty)
	require.Contains(t, out.String(), "status 401")
}

// TestBareEcho is the server that hot reads are compared with.
func TestBareEcho(t *testing.T) {
	t.Parallel()
	in, document := io.Pipe()
	address, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- serveEcho(t.Context(), in, out) }()
	_, err := io.WriteString(document, "{\"n\":1}\n")
	require.NoError(t, err)
	at, err := bufio.NewReader(address).ReadString('\n')
	require.NoError(t, err)
	sender, err := load.NewSender(strings.TrimSpace(at), 1, nil)
	require.NoError(t, err)
	slot := sender.Reader()
	require.Empty(t, slot.Get(strings.TrimSpace(at)+"/v1/orders/1"))
	require.JSONEq(t, `{"n":1}`, string(slot.Answer()))
	require.NoError(t, document.Close())
	require.NoError(t, <-done)
}

// TestErrorsAreCounted submits with a token that the store does not know.
func TestErrorsAreCounted(t *testing.T) {
	t.Parallel()
	at := setup(t)
	known := at.tokens
	at.tokens = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "nobody's"})
	s := &soak{session: session{out: &bytes.Buffer{}}, requests: 50, connections: 4}
	run, err := s.run(t.Context(), at)
	require.NoError(t, err)
	require.Zero(t, run.Stored)
	require.EqualValues(t, 50, run.Errors.Total())
	require.Contains(t, run.Errors.String(), "50 x status 401")
	require.ErrorIs(t, faults([]*report.Run{run}), errFaulty)

	_, err = fill(t.Context(), at, load.NewMix(1, at.reference(), ""), 10, 1)
	require.ErrorContains(t, err, "status 401")

	// What is no order is refused line by line.
	at.tokens = known
	mix := load.NewMix(1, `not"json`, "")
	run, err = fill(t.Context(), at, mix, 10, 1)
	require.NoError(t, err)
	require.Equal(t, load.Tally{"line status 400": 10}, run.Errors)
}

// TestUnheardOrdersAreFaults follows orders that no provider is told of.
func TestUnheardOrdersAreFaults(t *testing.T) {
	t.Parallel()
	at := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*arrivalWithin)
	defer cancel()
	run, err := followed(ctx, at, 20, load.Phases{Measure: 100 * time.Millisecond}, load.NewMix(1, at.reference(), load.Unserved))
	require.NoError(t, err)
	require.EqualValues(t, 2, run.Faults["not heard of"])
	require.ErrorIs(t, faults([]*report.Run{run}), errFaulty)
}

// TestForeignTransactionHasWritten looks at the transaction that stall holds open from another connection.
func TestForeignTransactionHasWritten(t *testing.T) {
	t.Parallel()
	at := setup(t)
	other, err := openForeign(t.Context(), at.at.PostgresWrite)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), at.at.PostgresWrite)
	require.NoError(t, err)
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	const open = `SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL AND query LIKE '%foreign_writes%'`
	writing := func() (n int) {
		require.NoError(t, conn.QueryRow(t.Context(), open).Scan(&n))
		return n
	}
	require.NoError(t, other.hold(t.Context(), func() error {
		require.Equal(t, 1, writing())
		return nil
	}))
	require.Zero(t, writing())
	require.NoError(t, other.close(t.Context()))
	var left bool
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'orderbench')`).Scan(&left))
	require.False(t, left)
}

func TestReportWritesItsFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "measured")
	var out bytes.Buffer
	cmd := reportCommand()
	cmd.SetArgs([]string{"--start", "--for", "500ms", "--repeat", "1", "--only", "latency", "--peers=false", "--out", dir})
	cmd.SetOut(&out)
	require.NoError(t, cmd.ExecuteContext(t.Context()), out.String())
	page, err := os.ReadFile(filepath.Join(dir, "benchmarks.md"))
	require.NoError(t, err)
	for _, part := range []string{"| processors |", "fsync on", "at 300 orders/s: due -> a subscriber has the notice", "### 300 orders/s"} {
		assert.Contains(t, string(page), part)
	}
	for _, name := range []string{report.LatencyPlot, report.RatePlot, "runs.json"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.NotEmpty(t, content, name)
	}
}

func TestNoInstanceIsSaid(t *testing.T) {
	t.Parallel()
	_, err := connect(t.Context(), t.TempDir())
	require.ErrorContains(t, err, "Start one with orderstore dev --data")
}
