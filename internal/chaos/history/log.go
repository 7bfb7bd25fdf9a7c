package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// fileName is the history of one run of the workload. A folder may hold those of several.
const fileName = "history-%04d.jsonl"

// Log appends operations to a file. It is safe for concurrent use.
type Log struct {
	began   time.Time
	ids     atomic.Int64
	counted atomic.Int64
	acked   atomic.Int64

	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	enc  *json.Encoder
	err  error // the first that was met
}

// Open begins a new file in the folder, which is made. Times are since began, which all files of a folder have to share.
func Open(dir string, began time.Time) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make history folder: %w", err)
	}
	for n := 1; ; n++ {
		file, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(fileName, n)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the run's own folder
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("create history: %w", err)
		}
		l := &Log{began: began, file: file, out: bufio.NewWriterSize(file, 1<<18)}
		l.enc = json.NewEncoder(l.out)
		l.ids.Store(int64(n) << 40)
		return l, nil
	}
}

// Now is the monotonic time since the run began, in ns.
func (l *Log) Now() int64 { return int64(time.Since(l.began)) }

// Begin stamps the operation and, where it writes, records that it is sent.
func (l *Log) Begin(op *Op) {
	op.ID = l.ids.Add(1)
	op.Call = l.Now()
	if op.Kind.Writes() {
		l.write(op)
	}
}

// End records what was answered. An unknown outcome has no time of return: it may take effect later.
func (l *Log) End(op *Op) {
	if op.Outcome != Unknown {
		op.Return = l.Now()
	}
	l.counted.Add(int64(op.Count()))
	if op.Outcome == OK && op.Kind.Writes() {
		l.acked.Add(1)
	}
	l.write(op)
}

func (l *Log) write(op *Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.enc.Encode(op)
	}
}

// Counted is how many operations have ended, items of lists counted each, and how many writes of them were acknowledged.
func (l *Log) Counted() (ops, acknowledged int64) { return l.counted.Load(), l.acked.Load() }

// Flush hands all to the operating system. It returns the first error that was met while recording.
func (l *Log) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = l.out.Flush()
	}
	if l.err != nil {
		return fmt.Errorf("record history: %w", l.err)
	}
	return nil
}

// Close flushes and closes the file.
func (l *Log) Close() error {
	err := l.Flush()
	if closed := l.file.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close history: %w", closed)
	}
	return err
}
