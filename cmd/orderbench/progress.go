package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// progressEvery is how often a long run says how far it is.
const progressEvery = 10 * time.Second

// progress counts the requests of a long run.
type progress struct {
	count atomic.Int64
	stop  func()
}

// progress begins to say how far a run is, until it is stopped.
func (o *soak) progress(ctx context.Context) *progress {
	p := &progress{}
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		var last int64
		for {
			select {
			case <-ticker.C:
				now := p.count.Load()
				fmt.Fprintf(o.out, "  %d of %d, %.0f requests/s\n", now, o.requests, float64(now-last)/progressEvery.Seconds())
				last = now
			case <-ctx.Done():
				return
			}
		}
	})
	p.stop = func() {
		cancel()
		telling.Wait()
	}
	return p
}
