package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/check"
	"github.com/orderstore/orderstore/internal/chaos/disk"
	"github.com/orderstore/orderstore/internal/chaos/workload"
	"github.com/orderstore/orderstore/internal/seeded"
)

const (
	startWithin  = 60 * time.Second
	settleWithin = 90 * time.Second // for all to be told; what takes longer is caught as lag
	stuckAfter   = 20 * time.Second // without anything told: no more is waited for
	copyWithin   = 10 * time.Second
	endWithin    = 20 * time.Second
	diskSize     = 6 << 30 // sparse
)

// trial is one run: a server of one process with its own Postgres and broker.
type trial struct {
	program, dir string
	bug          seeded.Name
	seed         uint64
	load         time.Duration // between two faults
	breaks       []string      // by name, in order

	web, nats string
	disk      *disk.Disk // nil: the server's data lies in a folder
	cmd       *exec.Cmd
	ended     chan struct{} // closed once cmd has
	users     *workload.Load
}

func (t *trial) run(ctx context.Context) *verdict {
	began := time.Now()
	v := &verdict{bug: t.bug}
	v.err = t.judge(ctx, v)
	v.took = time.Since(began)
	if t.cmd != nil {
		t.end()
	}
	if t.disk != nil {
		v.err = errors.Join(v.err, t.disk.Close(context.WithoutCancel(ctx)))
	}
	return v
}

// judge runs the load and the faults, and holds what is left against the invariants. A server that does not come up again after a fault has
// broken the last of them, whatever else it broke.
func (t *trial) judge(ctx context.Context, v *verdict) error {
	if err := t.prepare(ctx); err != nil {
		return err
	}
	defer func() { _ = t.users.Close() }() // it is closed twice where all went well
	if err := t.users.Start(ctx); err != nil {
		return fmt.Errorf("start load: %w", err)
	}
	switch err := t.breakThings(ctx, v); {
	case errors.Is(err, errNotStarted):
		v.report.Acknowledged = t.users.Counted().Acknowledged
		v.report.Violations = append(v.report.Violations, chaos.Violation{Invariant: 10, Path: "server", What: err.Error()})
		return nil
	case err != nil:
		return err
	}
	if !rest(ctx, t.load) {
		return ctx.Err()
	}
	t.users.StopUsers()
	at, err := t.endpoints()
	if err != nil {
		return err
	}
	if err := t.settle(ctx, at.Direct.Primary); err != nil {
		return err
	}
	if err := check.CollectWithin(ctx, at, t.history(), copyWithin); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	v.report, err = check.Offline(t.history())
	return err
}

// breakThings injects the faults, one after the other.
func (t *trial) breakThings(ctx context.Context, v *verdict) error {
	for _, name := range t.breaks {
		if !rest(ctx, t.load) {
			return ctx.Err()
		}
		evidence, err := faults()[name](ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.bites = append(v.bites, bite{name, evidence})
	}
	return nil
}

// settle waits until the parties have heard all, or hear nothing any more. Who has not heard all is found by the checker.
func (t *trial) settle(ctx context.Context, primary string) error {
	t.users.Moved(primary)
	settling, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	go func() {
		last, since := int64(-1), time.Now()
		for rest(settling, time.Second) {
			if now := t.users.Counted().Received; now != last {
				last, since = now, time.Now()
			}
			if time.Since(since) > stuckAfter {
				cancel()
			}
		}
	}()
	_ = t.users.Settle(settling) // see above
	if err := t.users.Close(); err != nil {
		return fmt.Errorf("end load: %w", err)
	}
	return ctx.Err()
}

func (t *trial) data() string    { return filepath.Join(t.dir, "data") }
func (t *trial) history() string { return filepath.Join(t.dir, "run") }
func (t *trial) said() string    { return filepath.Join(t.dir, "said") }
func (t *trial) where() string   { return filepath.Join(t.data(), "endpoints.json") }

// prepare starts the server and makes the load's clients.
func (t *trial) prepare(ctx context.Context) error {
	if err := os.MkdirAll(t.dir, 0o755); err != nil { //nolint:gosec // Postgres runs as another user below it
		return fmt.Errorf("make folder: %w", err)
	}
	if slices.Contains(t.breaks, "cut the power") {
		var err error
		if t.disk, err = disk.Make(ctx, disk.Config{Dir: filepath.Join(t.dir, "images"), Mount: t.data(), Size: diskSize}); err != nil {
			return err
		}
	}
	for _, address := range []*string{&t.web, &t.nats} {
		free, err := freeAddress(ctx)
		if err != nil {
			return err
		}
		*address = free
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	at, err := t.endpoints()
	if err != nil {
		return err
	}
	t.users, err = workload.New(workload.Config{At: at, Dir: t.history(), Seed: t.seed, Rate: 400})
	if err != nil {
		return fmt.Errorf("make load: %w", err)
	}
	if err := t.users.Prepare(ctx); err != nil {
		return fmt.Errorf("prepare load: %w", err)
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	var by net.ListenConfig
	l, err := by.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// errNotStarted says that the server was started and is not there. Test with errors.Is.
var errNotStarted = errors.New("the server did not start")

// start starts the server and waits until it says where it is.
func (t *trial) start(ctx context.Context) error {
	said, err := os.OpenFile(t.said(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = said.Close() }() // the server has its own
	if err := os.Remove(t.where()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget endpoints: %w", err)
	}
	t.cmd = exec.CommandContext(context.WithoutCancel(ctx), t.program, "dev", "--data", t.data(), "--http", t.web, "--nats", t.nats) //nolint:gosec // the program is ours
	t.cmd.Env = append(os.Environ(), "ORDERSTORE_SEEDED_BUG="+string(t.bug))
	t.cmd.Stdout, t.cmd.Stderr = said, said
	if err := t.cmd.Start(); err != nil {
		return fmt.Errorf("start server: %w", err)
	}
	t.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}(t.cmd, t.ended)
	for until := time.Now().Add(startWithin); time.Now().Before(until); {
		if _, err := t.endpoints(); err == nil {
			return nil
		}
		select {
		case <-t.ended:
			return fmt.Errorf("%w: it ended by itself, see %s", errNotStarted, t.said())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%w within %s: see %s", errNotStarted, startWithin, t.said())
}

// endpoints are where the server says that it is.
func (t *trial) endpoints() (chaos.Endpoints, error) {
	var at chaos.Endpoints
	var told map[string]string
	if err := decode(t.where(), &told); err != nil {
		return at, err
	}
	if err := decode(filepath.Join(t.data(), "credentials.json"), &at.Logins); err != nil {
		return at, err
	}
	web, broker := []string{told["http"]}, []string{told["nats"]}
	at.Write, at.Read, at.Broadcast, at.NATS = web, web, web, broker
	at.Direct = chaos.Direct{
		Primary: told["postgres_write"], Views: []string{told["postgres_read"]}, Auxiliary: told["postgres_auxiliary"],
		NATS: broker, Read: web, Write: web,
	}
	return at, nil
}

func decode(name string, into any) error {
	raw, err := os.ReadFile(name) //nolint:gosec // a file of the run
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(name), err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(name), err)
	}
	return nil
}

// end stops the server in good order, or kills it where it does not.
func (t *trial) end() {
	if err := t.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return // it has ended already
	}
	killed := time.AfterFunc(endWithin, func() { _ = t.cmd.Process.Kill() })
	defer killed.Stop()
	<-t.ended
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
