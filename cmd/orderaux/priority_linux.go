package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lowerPriority makes this process as nice as is wanted, see setpriority(2): on a machine that it shares, what it does for orders that are
// stored comes after taking new ones. Linux keeps the value for each thread; threads that are started later take it over.
func lowerPriority(nice int) error {
	if nice == 0 {
		return nil
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return fmt.Errorf("thread %q: %w", thread.Name(), err)
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, nice); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("set priority: %w", err)
		}
	}
	return nil
}
