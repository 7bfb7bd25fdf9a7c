//go:build !linux

package main

import "syscall"

// lowerPriority makes this process as nice as is wanted, see setpriority(2).
func lowerPriority(nice int) error {
	if nice == 0 {
		return nil
	}
	return syscall.Setpriority(syscall.PRIO_PROCESS, 0, nice)
}
