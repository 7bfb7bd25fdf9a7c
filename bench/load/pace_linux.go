package load

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// longPause is from where a pause is taken on a timer: the kernel's sleep does not hear of a context's end.
const longPause = 20 * time.Millisecond

// precise keeps the goroutine on a thread of its own until the returned function is called. The runtime's timers are rounded to
// milliseconds when a processor has nothing else to do, which is much for an answer that takes two.
func precise() func() {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

func pause(ctx context.Context, wait time.Duration) {
	if wait > longPause {
		pauseOnTimer(ctx, wait)
		return
	}
	ts := unix.NsecToTimespec(int64(wait))
	_ = unix.Nanosleep(&ts, nil) // a signal ends it early: then this one begins a little before its time
}
