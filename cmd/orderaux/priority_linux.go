package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// lowerPriority makes this process as nice as is wanted, see setpriority(2): on a machine that it shares, what it does for orders that are
// stored comes after taking new ones. Linux keeps the value for each thread, and a thread takes over that of the one that starts it: once
// a look finds no thread that the looks before did not find, all that are started later are as nice.
func lowerPriority(nice int) error {
	if nice == 0 {
		return nil
	}
	seen := map[string]bool{}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		more := false
		for _, thread := range threads {
			more = more || !seen[thread.Name()]
			seen[thread.Name()] = true
			if err := setNice(thread.Name(), nice); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

func setNice(thread string, nice int) error {
	id, err := strconv.Atoi(thread)
	if err != nil {
		return fmt.Errorf("thread %q: %w", thread, err)
	}
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, nice); err != nil && err != syscall.ESRCH { // it has ended
		return fmt.Errorf("set priority: %w", err)
	}
	return nil
}
