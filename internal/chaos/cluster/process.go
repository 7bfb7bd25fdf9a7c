package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one program of the cluster, a process of its own. Killed and frozen it is with all that it started.
type Process struct {
	Name string
	Kind string // "command", "relay", "read", "broadcast", "auxiliary", "nats", "postgres"

	ready   string // URL that answers 200 once it works; empty: it is not asked
	control control

	mu     sync.Mutex
	frozen []int
}

// control starts and ends what a process is.
type control interface {
	life
	start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// life tells whether it runs.
type life interface {
	pid() int
	exited() <-chan struct{}
}

// PID is the process's id; 0: it does not run.
func (p *Process) PID() int {
	select {
	case <-p.control.exited():
		return 0
	default:
	}
	pid := p.control.pid()
	if s := stateOf(pid); s != "" && s != "Z" && s != "X" {
		return pid
	}
	select { // it has ended, which is about to be noticed
	case <-p.control.exited():
	case <-time.After(endWithin):
	}
	return 0
}

// Start starts it, unless it runs.
func (p *Process) Start(ctx context.Context) error {
	if p.PID() != 0 {
		return nil
	}
	if err := p.control.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends it by SIGKILL, and waits until it is gone.
func (p *Process) Kill() error {
	pid := p.PID()
	if pid == 0 {
		return fmt.Errorf("kill %s: it does not run", p.Name)
	}
	tree := family(pid)
	for _, each := range tree {
		_ = syscall.Kill(each, syscall.SIGKILL) // one that has ended meanwhile is no loss
	}
	p.mu.Lock()
	p.frozen = nil
	p.mu.Unlock()
	select {
	case <-p.control.exited():
		return nil
	case <-time.After(endWithin):
		return fmt.Errorf("kill %s: process %d does not end", p.Name, pid)
	}
}

// Freeze stops it where it is until Thaw, and says how many processes stand still.
func (p *Process) Freeze() (int, error) {
	pid := p.PID()
	if pid == 0 {
		return 0, fmt.Errorf("freeze %s: it does not run", p.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range family(pid) {
		if syscall.Kill(each, syscall.SIGSTOP) == nil {
			p.frozen = append(p.frozen, each)
		}
	}
	for _, each := range p.frozen {
		if !await(time.Second, func() bool { s := stateOf(each); return s == "T" || s == "" || s == "Z" }) {
			return 0, fmt.Errorf("freeze %s: process %d goes on", p.Name, each)
		}
	}
	return len(p.frozen), nil
}

// Thaw lets it go on.
func (p *Process) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range slices.Backward(p.frozen) {
		_ = syscall.Kill(each, syscall.SIGCONT) // one that was killed meanwhile needs none
	}
	p.frozen = nil
}

// Ready tells whether it says that it works.
func (p *Process) Ready(ctx context.Context) bool {
	if p.PID() == 0 {
		return false
	}
	if p.ready == "" {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Await waits until it says that it works.
func (p *Process) Await(ctx context.Context, within time.Duration) error {
	if await(within, func() bool { return p.Ready(ctx) || ctx.Err() != nil }) {
		return ctx.Err()
	}
	return fmt.Errorf("%s is not ready within %s", p.Name, within)
}

// Forget takes it that whatever was frozen has been killed.
func (p *Process) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = nil
}

const endWithin = 20 * time.Second

// family is a process with all of its descendants, itself first.
func family(pid int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, err := strconv.Atoi(statField(id, 1)); err == nil {
			children[parent] = append(children[parent], id)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

func stateOf(pid int) string { return statField(pid, 0) }

// statField is a field of /proc/PID/stat after the name of the program: 0 the state, 1 the parent.
func statField(pid, n int) string {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if n >= len(fields) {
		return ""
	}
	return fields[n]
}

// await looks until something is so.
func await(within time.Duration, so func() bool) bool {
	deadline, tick := time.After(within), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}

// program is a control of a program of ours.
type program struct {
	path string
	args []string
	env  []string
	log  string // file that it says things to

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

func (g *program) start(ctx context.Context) error {
	out, err := os.OpenFile(g.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	g.mu.Lock()
	path, args := g.path, g.args
	g.mu.Unlock()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...) //nolint:gosec // built by the runner
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), g.env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = out.Close()
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cmd, g.done = cmd, done
	return nil
}

func (g *program) pid() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cmd.Process.Pid
}

func (g *program) exited() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return g.done
}

func (g *program) Stop(ctx context.Context) error {
	select {
	case <-g.exited():
		return nil
	default:
	}
	if err := syscall.Kill(g.pid(), syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-g.exited():
	case <-ctx.Done():
		_ = syscall.Kill(g.pid(), syscall.SIGKILL)
		<-g.exited()
	}
	return nil
}
