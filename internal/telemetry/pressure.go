package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	pressureFile = "/proc/pressure/cpu"
	// pressureEvery is the least time between two looks.
	pressureEvery = 100 * time.Millisecond
	// busyShare is the share of time in which somebody waits for a processor, from which on a machine counts as busy.
	busyShare = 0.4
)

// Pressure knows whether programs wait for this machine's processors, as Linux counts it: pressure stall information, see
// Documentation/accounting/psi.rst of the kernel. Elsewhere nobody is known to wait.
type Pressure struct {
	file string
	now  func() time.Time

	mu      sync.Mutex
	at      time.Time
	stalled time.Duration // since the machine started
	busy    bool
}

// NewPressure makes one that has not looked yet.
func NewPressure() *Pressure { return &Pressure{file: pressureFile, now: time.Now} }

// Busy tells whether programs waited for processors for much of the time since the look before, which was 0.1 s ago or longer.
func (p *Pressure) Busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	since := now.Sub(p.at)
	if since < pressureEvery {
		return p.busy
	}
	content, err := os.ReadFile(p.file)
	stalled, ok := stalledFor(content)
	if err != nil || !ok {
		return false
	}
	if !p.at.IsZero() {
		p.busy = (stalled - p.stalled).Seconds() >= busyShare*since.Seconds()
	}
	p.at, p.stalled = now, stalled
	return p.busy
}

// stalledFor reads the total of the line that begins with "some": microseconds in which at least one task waited.
func stalledFor(content []byte) (time.Duration, bool) {
	line, _, _ := bytes.Cut(content, []byte("\n"))
	_, total, ok := bytes.Cut(line, []byte(" total="))
	if !ok || !bytes.HasPrefix(line, []byte("some ")) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(total)), 10, 64)
	return time.Duration(n) * time.Microsecond, err == nil
}
