package main

import (
	"os/exec"
	"syscall"
)

// endWithParent lets the kernel ask the child to stop when this program is killed.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM }
