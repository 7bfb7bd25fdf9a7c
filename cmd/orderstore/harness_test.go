package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// binaries is the folder of the programs under test, built once.
var binaries string //nolint:gochecknoglobals // set before the first test

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "orderstore-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-o", dir, "../orderstore", "../orderaux", "../orderctl") //nolint:noctx // before any test
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	binaries = dir
	return m.Run()
}

const (
	startWithin = 60 * time.Second
	stopWithin  = 60 * time.Second
)

// program is a running program of ours.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *talk
	done chan struct{} // closed when it has ended
	err  error
}

// talk is what a program has said, which may be read while it says more.
type talk struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *talk) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *talk) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// launch starts a program in a process group of its own.
func launch(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, out: &talk{}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(binaries, name), args...) //nolint:gosec // built by this test
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		if p.ended() {
			return
		}
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(stopWithin):
			p.signal(syscall.SIGKILL)
			<-p.done
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.out)
		}
	})
	return p
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *program) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the program without a word to it.
func (p *program) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
}

// killGroup ends it with all that it started in its process group.
func (p *program) killGroup() {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL))
	<-p.done
}

// terminate asks it to stop, and waits until it has.
func (p *program) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.t.Fatalf("it did not stop; it said:\n%s", p.out)
	}
	require.NoError(p.t, p.err, "it said:\n%s", p.out)
}

// system is a development instance under test.
type system struct {
	*program
	t      *testing.T
	data   string
	listen string // where it is to serve; empty: wherever
	broker string // where its broker is to be; empty: wherever
	env    []string
	at     endpoints
	as     credentials
}

func startSystem(t *testing.T) *system {
	t.Helper()
	s := &system{t: t, data: filepath.Join(t.TempDir(), "data")}
	s.start()
	return s
}

// start starts the instance on its folder, and waits until it is ready.
func (s *system) start() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.data, endpointsFile)) // one that was killed leaves it behind
	s.program = launch(s.t, s.env, "orderstore", "dev", "--data", s.data, "--http", cmp.Or(s.listen, anyPort), "--nats", cmp.Or(s.broker, anyPort))
	deadline := time.Now().Add(startWithin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for readJSON(filepath.Join(s.data, endpointsFile), &s.at) != nil {
		if s.ended() || time.Now().After(deadline) {
			s.t.Fatalf("the instance did not start; it said:\n%s", s.out)
		}
		<-tick.C
	}
	require.NoError(s.t, readJSON(filepath.Join(s.data, credentialsFile), &s.as))
}

func (s *system) client(p party) *client.Client {
	s.t.Helper()
	return newClient(s.t, s.at.HTTP, p)
}

func newClient(t *testing.T, url string, p party) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: url, ClientID: p.ClientID, ClientSecret: p.ClientSecret, HTTPClient: held(t)})
	require.NoError(t, err)
	return c
}

// user, provider, operator and auxiliary are the parties of the instance.
func (s *system) user() *client.Client     { return s.client(s.as.User) }
func (s *system) provider() *client.Client { return s.client(s.as.Provider) }
func (s *system) operator() *client.Client { return s.client(s.as.Operator) }

// verified runs orderstore verify, which has to find nothing.
func (s *system) verified() string {
	s.t.Helper()
	out, err := s.verify()
	require.NoError(s.t, err, out)
	require.Contains(s.t, out, "verify: log = stream = views")
	return out
}

func (s *system) verify() (string, error) {
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(binaries, "orderstore"), "verify", "--data", s.data) //nolint:gosec // built by this test
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// register makes the demo provider do some kinds of work.
func (s *system) register(businessTypes ...string) {
	s.t.Helper()
	_, err := s.operator().PutProvider(s.t.Context(), client.Provider{ID: s.as.Provider.Provider, BusinessTypes: businessTypes})
	require.NoError(s.t, err)
}

func sampleOrder(ref string) client.OrderSubmission {
	return client.OrderSubmission{
		Channel: "web", ExternalRef: ref, BusinessType: "retail.erp", Currency: "EUR",
		Lines: []client.LineSubmission{
			{SKU: "A-1", Name: "Pen", Quantity: 3, UnitPrice: 250}, {SKU: "B-2", Quantity: 1, UnitPrice: 1000, Discount: 100, Tax: 171},
		},
		Shipping: 490, Customer: &client.Customer{Name: "阿明 😀", Email: "ming@example.com"},
	}
}

// level waits until every stage is where the log is.
func (s *system) level() {
	s.t.Helper()
	s.levelWithin(30 * time.Second)
}

func (s *system) levelWithin(d time.Duration) {
	s.t.Helper()
	operator := s.operator()
	require.Eventually(s.t, func() bool {
		lag, err := operator.Lag(s.t.Context())
		if err != nil || lag.Stream == nil {
			return false
		}
		behind := lag.Stream.Lag
		for _, stage := range append(lag.Views, lag.Auxiliary...) {
			behind = max(behind, stage.Lag)
		}
		return behind == 0
	}, d, 20*time.Millisecond, "lag returns to zero by itself")
}

// runCommand runs a program that ends by itself.
func runCommand(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	return runCommandFor(t, startWithin, name, args...)
}

func runCommandFor(t *testing.T, within time.Duration, name string, args ...string) (string, int) {
	t.Helper()
	p := launch(t, nil, name, args...)
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("%s %s did not end; it said:\n%s", name, strings.Join(args, " "), p.out)
	}
	return p.out.String(), p.cmd.ProcessState.ExitCode()
}

// occupied is an address that somebody else listens on.
func occupied(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
