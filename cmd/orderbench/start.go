package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	startWithin = 2 * time.Minute
	stopWithin  = time.Minute
	startPoll   = 100 * time.Millisecond
)

// ownInstance is an instance that this program started, in a folder that goes away with it.
type ownInstance struct {
	dir, data string
	cmd       *exec.Cmd
	ended     chan error
}

// startInstance starts the orderstore that lies beside this program, or else the one in PATH.
func startInstance(ctx context.Context) (*ownInstance, error) {
	program, err := beside("orderstore")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "orderbench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the instance: %w", err)
	}
	// The Postgres of a service run by root is another user's, who has to get through here to its data.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing in it but the instance's folder, which is closed
		return nil, fmt.Errorf("make a folder for the instance: %w", err)
	}
	i := &ownInstance{dir: dir, data: filepath.Join(dir, "data"), ended: make(chan error, 1)}
	i.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, //nolint:gosec // our own program
		"dev", "--auxiliary=false", "--data", i.data, "--http", "127.0.0.1:0")
	i.cmd.Stderr = os.Stderr
	// An interrupt from the terminal is for this program, which stops the instance when it is done with it.
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(i.cmd)
	if err := i.launch(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if err := i.awaitReady(ctx); err != nil {
		i.stop()
		return nil, err
	}
	return i, nil
}

// launch starts the program and waits for its end on one thread: on Linux a child's parent is the thread that made it.
func (i *ownInstance) launch() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := i.cmd.Start()
		started <- err
		if err == nil {
			i.ended <- i.cmd.Wait()
		}
	}()
	return <-started
}

// beside finds a program of ours in the folder of this one, or else in PATH.
func beside(name string) (string, error) {
	if own, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(own), name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH: run make build", name)
	}
	return path, nil
}

var errEarlyEnd = errors.New("the instance ended while it started; what it said is above")

func (i *ownInstance) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	ticker := time.NewTicker(startPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if i.ready(ctx) {
				return nil
			}
		case err := <-i.ended:
			i.ended <- err
			return errEarlyEnd
		case <-ctx.Done():
			return fmt.Errorf("wait for the instance: %w", ctx.Err())
		}
	}
}

func (i *ownInstance) ready(ctx context.Context) bool {
	var at endpoints
	if readJSON(filepath.Join(i.data, "endpoints.json"), &at) != nil {
		return false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.HTTP+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// stop ends the instance and removes its folder.
func (i *ownInstance) stop() {
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(stopWithin, func() { _ = i.cmd.Process.Kill() })
	if err := <-i.ended; err != nil {
		fmt.Fprintln(os.Stderr, "orderbench: the instance did not end well:", err)
	}
	timer.Stop()
	_ = os.RemoveAll(i.dir)
}
