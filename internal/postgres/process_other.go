//go:build !linux

package postgres

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// canKeepSearch tells whether a child that drops root can keep the capability to pass closed directories.
const canKeepSearch = false

func keepSearch(*syscall.SysProcAttr) {}

const (
	deathFastShutdown = syscall.SIGINT
	deathKill         = syscall.SIGKILL
)

// endsWithParent tells whether endWithParent does anything on this system.
const endsWithParent = false

// endWithParent does nothing here: a server that outlives its parent is stopped at the next start.
func endWithParent(*exec.Cmd, syscall.Signal) {}

// runsOn tells whether pid is a live Postgres server on dataDir.
func runsOn(ctx context.Context, pid int, dataDir string) bool {
	out, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	command := strings.TrimSpace(string(out))
	program, _, _ := strings.Cut(command, " ")
	return isServerName(filepath.Base(program)) && strings.Contains(command, dataDir)
}
