package postgres

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// canKeepSearch tells whether a child that drops root can keep the capability to pass closed directories.
const canKeepSearch = true

func keepSearch(attr *syscall.SysProcAttr) {
	attr.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
}

// What the kernel sends to a child whose parent died.
const (
	deathFastShutdown = syscall.SIGINT
	deathKill         = syscall.SIGKILL
)

// endsWithParent tells whether endWithParent does anything on this system.
const endsWithParent = true

func endWithParent(cmd *exec.Cmd, sig syscall.Signal) { cmd.SysProcAttr.Pdeathsig = sig }

// runsOn tells whether pid is a live Postgres server on dataDir. The working directory of a server is its data
// directory, wherever that has been moved since; where reading it is forbidden the command line decides.
func runsOn(_ context.Context, pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil || len(cmdline) == 0 {
		return false
	}
	args := bytes.Split(cmdline, []byte{0})
	if !isServerName(filepath.Base(string(args[0]))) {
		return false
	}
	if cwd, err := os.Readlink(filepath.Join(proc, "cwd")); err == nil {
		return cwd == dataDir
	}
	return bytes.Contains(cmdline, []byte(dataDir))
}
