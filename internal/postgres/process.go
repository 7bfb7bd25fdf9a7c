package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// quitWait is how long an immediate shutdown may take; the postmaster itself kills stragglers after 5 s.
	quitWait = 15 * time.Second
	// abandonWait is how long a server that failed to come up may take to go.
	abandonWait = 10 * time.Second
	// outputWait is how long a descendant may hold the output of a child that has ended.
	outputWait = 5 * time.Second
)

// process is a child that ends with its parent.
type process struct {
	cmd    *exec.Cmd
	pid    int
	exited chan struct{} // closed after the child has been reaped
}

// startProcess starts cmd from a goroutine that keeps its OS thread for the child's whole life: on Linux the signal
// at the parent's death is sent when the thread that started the child ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// The exit status says less than the server's log does.
		_ = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// runProcess runs cmd to its end and returns its combined output. When ctx ends first the child gets SIGTERM.
func runProcess(ctx context.Context, cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = outputWait
	p, err := startProcess(cmd)
	if err != nil {
		return "", err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		_ = p.signal(syscall.SIGTERM)
		<-p.exited
		return out.String(), ctx.Err()
	}
	if !cmd.ProcessState.Success() {
		return out.String(), &exec.ExitError{ProcessState: cmd.ProcessState}
	}
	return out.String(), nil
}

// signal sends sig; a child that has ended already is no error.
func (p *process) signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// abandon ends a server that did not come up, whatever became of ctx.
func (c *Cluster) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonWait)
	defer cancel()
	return c.shutdown(ctx)
}

// shutdown asks for a fast shutdown, then for an immediate one when ctx ends first.
func (c *Cluster) shutdown(ctx context.Context) error {
	if err := c.proc.signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	select {
	case <-c.proc.exited:
		return nil
	case <-ctx.Done():
	}
	c.cfg.Log.Warn("postgres is slow to stop, ending it at once", "pid", c.proc.pid)
	if err := c.proc.signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitWait)
	defer cancel()
	select {
	case <-c.proc.exited:
		return nil
	case <-wait.Done():
		return fmt.Errorf("stop postgres: process %d does not end", c.proc.pid)
	}
}
