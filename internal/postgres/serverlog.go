package postgres

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/orderstore/orderstore/internal/dirlock"
)

const (
	// A log beyond maxServerLog bytes is set aside at the next start; one older file is kept.
	maxServerLog = 16 << 20
	// failureOutput is how much of what a failed start wrote is looked at.
	failureOutput = 64 << 10
)

// serverLog is the server's own log file, opened for one start.
type serverLog struct {
	file *os.File
	from int64
}

func openServerLog(path string) (*serverLog, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxServerLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, fmt.Errorf("set server log aside: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open server log: %w", err)
	}
	if info, err = file.Stat(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open server log: %w", err)
	}
	return &serverLog{file: file, from: info.Size()}, nil
}

// written returns what this start has written; what cannot be read is left out, as it only serves a message.
func (l *serverLog) written() string {
	content, _ := io.ReadAll(io.NewSectionReader(l.file, l.from, failureOutput))
	return string(content)
}

func (l *serverLog) close() { _ = l.file.Close() }

// startError says why the server ended while starting.
type startError struct {
	logFile string
	output  string
}

// Error quotes the server's last meaningful line.
func (e *startError) Error() string {
	line := meaningfulLine(e.output)
	if line == "" {
		line = "it wrote nothing"
	}
	return fmt.Sprintf("postgres does not start: %s (see %s)", line, e.logFile)
}

func (e *startError) portTaken() bool {
	return strings.Contains(e.output, "could not create any TCP/IP sockets")
}

func (e *startError) orphansLeft() bool {
	return strings.Contains(e.output, "pre-existing shared memory block")
}

var severityPattern = regexp.MustCompile(`(?m)^.*?(?:PANIC|FATAL|ERROR|fatal|error): +(.+)$`)

// meaningfulLine returns the last line that carries an error, without its prefix, else the last line.
func meaningfulLine(output string) string {
	if all := severityPattern.FindAllStringSubmatch(output, -1); len(all) > 0 {
		return strings.TrimSpace(all[len(all)-1][1])
	}
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func diskFullText(output string) bool {
	return strings.Contains(output, "No space left on device") || strings.Contains(output, "Disk quota exceeded")
}

func diskFull(dir string) error {
	return sentence(ErrDiskFull, "the disk that holds %s is full: free some space and start again", dir)
}

// explain turns what an operator can mend into one sentence and leaves everything else as it is.
func explain(dir string, err error) error {
	if _, ok := errors.AsType[*sentenceError](err); ok {
		return err
	}
	if held, ok := errors.AsType[*dirlock.HeldError](err); ok {
		return sentence(ErrInUse, "%s is in use by another instance (process %d): stop it or choose another data directory",
			dir, held.PID)
	}
	if failed, ok := errors.AsType[*startError](err); ok && diskFullText(failed.output) {
		return diskFull(dir)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return diskFull(dir)
	}
	if errors.Is(err, fs.ErrPermission) {
		return sentence(ErrUnreachable, "this user may not use %s: make it readable and writable for the user that runs "+
			"orderstore, or choose another data directory (%v)", dir, err)
	}
	return err
}

// Ended says, once Exited is closed, why the server ended without being told to: by the last lines of its log.
func (c *Cluster) Ended() error {
	output, err := tailOf(c.logFile(), failureOutput)
	switch {
	case err != nil || output == "":
		return fmt.Errorf("postgres has ended by itself (see %s)", c.logFile())
	case diskFullText(output):
		return diskFull(c.dir)
	}
	return fmt.Errorf("postgres has ended by itself: %s (see %s)", meaningfulLine(output), c.logFile())
}

// tailOf reads the last bytes of a file.
func tailOf(path string, most int64) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the cluster's own log
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.NewSectionReader(file, max(info.Size()-most, 0), most))
	return string(content), err
}
