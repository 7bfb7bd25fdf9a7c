// Package dirlock gives one process at a time a directory. The kernel drops the lock with the process, however it
// dies, so there is nothing stale to clean up.
package dirlock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrHeld is wrapped by the error of Acquire when another process, or this one, holds the directory.
var ErrHeld = errors.New("directory is in use")

const lockFile = "lock"

// Lock is a held directory.
type Lock struct{ file *os.File }

// HeldError tells who holds a directory. It unwraps to ErrHeld.
type HeldError struct {
	// PID is the holder as it noted itself; 0 where it had not yet.
	PID int
}

// Error names the holder.
func (e *HeldError) Error() string { return fmt.Sprintf("directory is in use by process %d", e.PID) }

// Unwrap returns ErrHeld.
func (e *HeldError) Unwrap() error { return ErrHeld }

// Path returns the file by which dir is locked.
func Path(dir string) string { return filepath.Join(dir, lockFile) }

// Acquire locks dir, which must exist, or returns a *HeldError at once.
func Acquire(dir string) (*Lock, error) {
	file, err := os.OpenFile(Path(dir), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := holderOf(file)
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &HeldError{PID: holder}
		}
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	// The number only serves messages; the lock itself is the kernel's. A full disk must not refuse it.
	if file.Truncate(0) == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	return &Lock{file: file}, nil
}

func holderOf(file *os.File) int {
	content, err := io.ReadAll(io.NewSectionReader(file, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}

// Release gives the directory back. The file stays: removing it would let two processes lock two files of one name.
func (l *Lock) Release() error { return l.file.Close() }
