package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is what the kernel says of one.
type process struct {
	pid, parent int
	state       byte // T: stopped, Z: ended
}

// freeze stops processes and all that they started, and waits until they stand still. It returns those that it stopped, also with an error.
func freeze(ctx context.Context, pids []int) ([]int, error) {
	var stopped []int
	known := map[int]bool{}
	stop := func(pid int) error {
		known[pid] = true
		stopped = append(stopped, pid)
		return signalAll([]int{pid}, syscall.SIGSTOP)
	}
	for _, pid := range pids {
		if err := stop(pid); err != nil {
			return stopped, err
		}
	}
	for deadline := time.Now().Add(standstill); ; {
		all, err := processes()
		if err != nil {
			return stopped, err
		}
		still := true
		// One that was started while its parent was being stopped is found in the next round.
		for _, p := range all {
			if !known[p.pid] && known[p.parent] && p.state != 'Z' {
				still = false
				if err := stop(p.pid); err != nil {
					return stopped, err
				}
			}
			still = still && (!known[p.pid] || p.state == 'T' || p.state == 'Z')
		}
		if still {
			return stopped, nil
		}
		if time.Now().After(deadline) {
			return stopped, fmt.Errorf("they do not stand still within %s", standstill)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return stopped, err
		}
	}
}

func signalAll(pids []int, signal syscall.Signal) error {
	var err error
	for _, pid := range pids {
		if fault := syscall.Kill(pid, signal); fault != nil && !errors.Is(fault, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("signal %d: %w", pid, fault))
		}
	}
	return err
}

// awaitEnd waits until none of the processes runs. One that ended and was not waited for yet holds nothing.
func awaitEnd(ctx context.Context, pids []int) error {
	for deadline := time.Now().Add(standstill); ; {
		left := 0
		for _, pid := range pids {
			if p, ok := look(strconv.Itoa(pid)); ok && p.state != 'Z' && p.state != 'X' {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes that were killed have not ended", left)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []process
	for _, entry := range entries {
		if p, ok := look(entry.Name()); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// look reads what the kernel says of a process; not ok: there is none.
func look(name string) (process, bool) {
	pid, err := strconv.Atoi(name)
	if err != nil {
		return process{}, false
	}
	content, err := os.ReadFile(filepath.Join("/proc", name, "stat"))
	if err != nil {
		return process{}, false
	}
	// The command's name stands in parentheses and may hold any character.
	_, rest, found := bytes.Cut(content[bytes.LastIndexByte(content, ')')+1:], []byte(" "))
	fields := bytes.Fields(rest)
	if !found || len(fields) < 2 {
		return process{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return process{pid: pid, parent: parent, state: fields[0][0]}, err == nil
}
