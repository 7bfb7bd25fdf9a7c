package stream

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
	"sync"
	"syscall"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/orderstore/orderstore/internal/dirlock"
	"github.com/orderstore/orderstore/internal/wholefile"
)

// serverLog passes the server's log on and keeps the first fatal fault, after which the server does not start.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	fault error
}

func newServerLog(log *slog.Logger) *serverLog { return &serverLog{log: log} }

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Noticef logs at debug level: a start writes forty lines of it.
func (l *serverLog) Noticef(format string, args ...any) { l.pass(slog.LevelDebug, format, args) }

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, args ...any) { l.pass(slog.LevelWarn, format, args) }

// Errorf logs an error.
func (l *serverLog) Errorf(format string, args ...any) { l.pass(slog.LevelError, format, args) }

func (l *serverLog) pass(level slog.Level, format string, args []any) {
	ctx := context.Background() // the server has none to give
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "nats server", "line", fmt.Sprintf(format, args...))
	}
}

// Fatalf keeps the fault instead of ending the process, as the server's own logger would.
func (l *serverLog) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.fault = faultOf(format, args)
	}
}

// Debugf drops the line: the server calls it for every message.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef drops the line.
func (l *serverLog) Tracef(string, ...any) {}

// faultOf keeps an error among the arguments reachable for errors.Is.
func faultOf(format string, args []any) error {
	text := fmt.Sprintf(format, args...)
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			return &serverFault{text: text, cause: err}
		}
	}
	return errors.New(text)
}

type serverFault struct {
	text  string
	cause error
}

func (e *serverFault) Error() string { return e.text }
func (e *serverFault) Unwrap() error { return e.cause }

// sentenceError carries one sentence to show as it is; errors.Is matches its kind.
type sentenceError struct {
	kind error
	text string
}

func sentence(kind error, format string, args ...any) error {
	return &sentenceError{kind: kind, text: fmt.Sprintf(format, args...)}
}

// Error returns the sentence alone.
func (e *sentenceError) Error() string { return e.text }

// Unwrap returns the sentinel.
func (e *sentenceError) Unwrap() error { return e.kind }

// explain turns what an operator can mend into one sentence and leaves everything else as it is.
func explain(dir string, err error) error {
	if err == nil {
		return nil
	}
	if held, ok := errors.AsType[*dirlock.HeldError](err); ok {
		return sentence(ErrServerInUse, "%s is in use by another instance (process %d): stop it or choose another data "+
			"directory", dir, held.PID)
	}
	text := err.Error()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(text, "no space left on device") {
		return sentence(ErrDiskFull, "the disk that holds %s is full: free some space and start again", dir)
	}
	if errors.Is(err, fs.ErrPermission) || strings.Contains(text, "permission denied") ||
		errors.Is(err, syscall.EROFS) || strings.Contains(text, "read-only file system") {
		return sentence(ErrUnreachable, "this user may not use %s: make it readable and writable for the user that runs "+
			"orderstore, or choose another data directory (%v)", dir, err)
	}
	return err
}

// writeStoreVersion notes who wrote the store last.
func writeStoreVersion(dir string) error {
	path := filepath.Join(dir, versionFile)
	content, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(content)) == server.VERSION {
		return nil
	}
	if err := wholefile.Write(path, []byte(server.VERSION+"\n")); err != nil {
		return fmt.Errorf("write nats store version: %w", err)
	}
	return nil
}

// newerMinor tells whether version a is newer than b in its first two numbers; the third promises the same format.
func newerMinor(a, b string) (bool, error) {
	aMajor, aMinor, err := majorMinor(a)
	if err != nil {
		return false, err
	}
	bMajor, bMinor, err := majorMinor(b)
	if err != nil {
		return false, err
	}
	return aMajor > bMajor || (aMajor == bMajor && aMinor > bMinor), nil
}

func majorMinor(version string) (major, minor int, err error) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, 0, fmt.Errorf("version %q has no minor number", version)
	}
	if major, err = strconv.Atoi(parts[0]); err != nil {
		return 0, 0, fmt.Errorf("version %q: %w", version, err)
	}
	if minor, err = strconv.Atoi(parts[1]); err != nil {
		return 0, 0, fmt.Errorf("version %q: %w", version, err)
	}
	return major, minor, nil
}
