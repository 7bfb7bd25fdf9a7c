package importer

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Bar shows progress on a terminal: how far, how fast, and how much longer.
type Bar struct {
	out    io.Writer
	bar    *progressbar.ProgressBar
	now    func() time.Time
	orders int64
	since  time.Time
}

// NewBar makes a bar on a terminal.
func NewBar(out io.Writer, now func() time.Time) *Bar { return &Bar{out: out, now: now} }

func (b *Bar) show(total int64, what string) {
	b.bar = progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(b.out), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionUseANSICodes(true), progressbar.OptionClearOnFinish(),
	)
}

// Surveyed is part of Progress.
func (b *Bar) Surveyed(bytes, total int64) {
	if b.bar == nil {
		b.show(total, "reading")
	}
	_ = b.bar.Set64(bytes) // what cannot be shown is no reason to stop
	if bytes == total {
		b.bar = nil
	}
}

// Imported is part of Progress.
func (b *Bar) Imported(bytes, total, orders int64) {
	if b.bar == nil {
		b.since = b.now()
		b.show(total, "importing")
	}
	b.orders = orders
	b.bar.Describe(fmt.Sprintf("%d orders, %.0f/s", orders, rate(orders, b.now().Sub(b.since))))
	_ = b.bar.Set64(bytes)
}

// Done is part of Progress.
func (b *Bar) Done() {
	if b.bar != nil && !b.bar.IsFinished() {
		_ = b.bar.Exit()
		_, _ = fmt.Fprintln(b.out)
	}
}

// Lines shows progress as lines of text, for logs: one every few seconds.
type Lines struct {
	out   io.Writer
	now   func() time.Time
	begun time.Time
	last  time.Time
}

// linesEvery is the time between two lines.
const linesEvery = 5 * time.Second

// NewLines makes progress of lines.
func NewLines(out io.Writer, now func() time.Time) *Lines { return &Lines{out: out, now: now} }

// Surveyed is part of Progress.
func (l *Lines) Surveyed(bytes, total int64) {
	if l.due() {
		_, _ = fmt.Fprintf(l.out, "reading: %d %%\n", 100*bytes/max(total, 1))
	}
	if bytes == total {
		l.begun = l.now()
	}
}

// Imported is part of Progress.
func (l *Lines) Imported(bytes, total, orders int64) {
	if !l.due() {
		return
	}
	took := l.now().Sub(l.begun)
	left := time.Duration(float64(took) * float64(total-bytes) / float64(max(bytes, 1)))
	_, _ = fmt.Fprintf(l.out, "importing: %d %%, %d orders, %.0f orders/s, %s left\n",
		100*bytes/max(total, 1), orders, rate(orders, took), left.Round(time.Second))
}

// Done is part of Progress.
func (l *Lines) Done() {}

func (l *Lines) due() bool {
	now := l.now()
	if l.last.IsZero() {
		l.last = now
	}
	if now.Sub(l.last) < linesEvery {
		return false
	}
	l.last = now
	return true
}

func rate(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}
