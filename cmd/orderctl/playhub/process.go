package playhub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// process is the provider's own program, where the kit runs it.
type process struct {
	command []string
	env     []string
	output  io.Writer
	ended   func() // called, without the lock, when it has ended by itself

	mu      sync.Mutex
	running *exec.Cmd
	done    chan struct{}
	err     error
	killed  bool
}

// gracePeriod is how long the program may take to end at the end of the run.
const gracePeriod = 5 * time.Second

// start runs the program.
func (p *process) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.command[0], p.command[1:]...) //nolint:gosec // it is what the caller wants run
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.WaitDelay = time.Second // its children may hold the output open
	leadGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start provider: %w", err)
	}
	done := make(chan struct{})
	p.running, p.done, p.err, p.killed = cmd, done, nil, false
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		byItself := !p.killed
		p.mu.Unlock()
		close(done)
		if byItself {
			p.ended()
		}
	}()
	return nil
}

// kill ends the program without a word to it.
func (p *process) kill() { p.end(killGroup) }

// end ends the program and waits until it is gone.
func (p *process) end(signal func(*exec.Cmd)) {
	p.mu.Lock()
	cmd, done := p.running, p.done
	p.killed = true
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	signal(cmd)
	select {
	case <-done:
	case <-time.After(gracePeriod):
		killGroup(cmd)
		<-done
	}
}

// stop asks the program to end, and makes it end when it does not.
func (p *process) stop() { p.end(askGroup) }

// gone says why the program is no longer there, where it ended by itself.
func (p *process) gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
	default:
		return nil
	}
	switch {
	case p.killed:
		return nil
	case p.err != nil:
		return fmt.Errorf("the provider has ended: %w", p.err)
	}
	return errors.New("the provider has ended")
}
