package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// storeBinary is the store under test, built once.
var storeBinary string //nolint:gochecknoglobals // set once, before the first test

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Getenv(bePlain) != "" {
		return run()
	}
	dir, err := os.MkdirTemp("", "orderctl-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	storeBinary = filepath.Join(dir, "orderstore")
	build := exec.Command("go", "build", "-o", storeBinary, "../orderstore") //nolint:noctx // before any test
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// result is what a command said and how it ended.
type result struct {
	out, progress string
	err           error
}

// orderctl runs a command in this process.
func orderctl(ctx context.Context, in io.Reader, args ...string) result {
	var out, progress bytes.Buffer
	root := rootCommand()
	root.SetIn(in)
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return result{out.String(), progress.String(), err}
}

// ok runs a command that has to succeed and gives what it printed.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	r := orderctl(t.Context(), strings.NewReader(""), args...)
	require.NoError(t, r.err, "orderctl %s\n%s%s", strings.Join(args, " "), r.out, r.progress)
	return r.out
}

const (
	startWithin = 90 * time.Second
	stopWithin  = 60 * time.Second
)

// store is a development instance: the real one, in a process of its own.
type store struct {
	t    *testing.T
	data string
	at   string
	cmd  *exec.Cmd
	said *bytes.Buffer
	done chan struct{}
}

func startStore(t *testing.T) *store {
	t.Helper()
	s := &store{t: t, data: filepath.Join(t.TempDir(), "data"), at: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start starts the instance on its folder, at the address it had before, and waits until it is ready.
func (s *store) start() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.data, "endpoints.json")) // one that was killed leaves it behind
	s.said, s.done = &bytes.Buffer{}, make(chan struct{})
	s.cmd = exec.CommandContext(context.WithoutCancel(s.t.Context()), storeBinary, "dev", "--data", s.data, "--http", s.at)
	s.cmd.Stdout, s.cmd.Stderr = s.said, s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(s.t, s.cmd.Start())
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait()
	}()
	deadline := time.After(startWithin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	c := &connection{data: s.data}
	for {
		r, err := c.resolve(asUser)
		if err == nil {
			s.at = strings.TrimPrefix(r.config.BaseURL, "http://")
			return
		}
		select {
		case <-tick.C:
		case <-s.done:
			s.t.Fatalf("the store did not start: %s", s.said)
		case <-deadline:
			s.t.Fatal("the store did not start in time")
		}
	}
}

// kill ends the store without a word to it.
func (s *store) kill() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Kill())
	<-s.done
}

func (s *store) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopWithin):
		_ = s.cmd.Process.Kill()
		<-s.done
		s.t.Errorf("the store did not stop: %s", s.said)
	}
}
