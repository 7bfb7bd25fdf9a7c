package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leftoverWait is how long a server that was left behind may take for each of a fast shutdown, an
// immediate one, and the end that no process survives; every one of them keeps what was committed.
const leftoverWait = 10 * time.Second

func isServerName(name string) bool { return name == "postgres" || name == "postmaster" }

// stopLeftover ends a server that still runs on dataDir after its owner was killed. The caller holds the directory's
// lock, so no living owner is robbed.
func stopLeftover(ctx context.Context, dataDir string, log *slog.Logger) error {
	pidFile := filepath.Join(dataDir, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	first, rest, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(first), "-")) // single-user mode writes a minus
	if err != nil || pid <= 0 {
		return discardPIDFile(pidFile, string(content))
	}
	if !runsOn(ctx, pid, dataDir) {
		return disownPIDFile(pidFile, pid, rest)
	}
	log.Info("stopping the postgres an earlier run left behind", "pid", pid, "data", dataDir)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		if err := signalStopped(pid, sig); err != nil {
			return sentence(ErrInUse, "PostgreSQL process %d runs on %s and cannot be stopped by this user: stop it", pid, dataDir)
		}
		gone, err := awaitGone(ctx, pid, dataDir)
		if err != nil {
			return err
		}
		if gone {
			return nil
		}
	}
	return sentence(ErrInUse, "PostgreSQL process %d runs on %s and does not stop: end it", pid, dataDir)
}

// signalStopped sends sig, then SIGCONT: a suspended process acts on nothing else.
func signalStopped(pid int, sig syscall.Signal) error {
	for _, s := range []syscall.Signal{sig, syscall.SIGCONT} {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

func awaitGone(ctx context.Context, pid int, dataDir string) (bool, error) {
	for deadline := time.Now().Add(leftoverWait); runsOn(ctx, pid, dataDir); {
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := pause(ctx, readyPoll); err != nil {
			return false, fmt.Errorf("wait for the earlier postgres: %w", err)
		}
	}
	return true, nil
}

// disownPIDFile makes Postgres take the file for stale when its number meanwhile belongs to an unrelated process.
// The file is not removed: Postgres finds in it the shared memory by which it refuses to start beside surviving
// sessions of a killed server. It takes the number of its own parent for stale, so that number is written.
func disownPIDFile(pidFile string, pid int, rest string) error {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	file, err := os.OpenFile(pidFile, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("rewrite postmaster.pid: %w", err)
	}
	_, err = file.WriteString(strconv.Itoa(os.Getpid()) + "\n" + rest)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("rewrite postmaster.pid: %w", err)
	}
	return nil
}

// saysReady tells whether the server with this process id says in its file that it takes connections.
func saysReady(dataDir string, pid int) bool {
	content, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	const pidLine, statusLine = 0, 7
	return len(lines) > statusLine && strings.TrimSpace(lines[pidLine]) == strconv.Itoa(pid) &&
		strings.TrimSpace(lines[statusLine]) == "ready"
}

// discardPIDFile removes a file that a crash of the machine left empty, which Postgres itself would stop at.
func discardPIDFile(pidFile, content string) error {
	if strings.TrimSpace(content) != "" {
		return fmt.Errorf("postmaster.pid in %s starts with no process id: remove it if no server runs there",
			filepath.Dir(pidFile))
	}
	if err := os.Remove(pidFile); err != nil {
		return fmt.Errorf("remove empty postmaster.pid: %w", err)
	}
	return nil
}
