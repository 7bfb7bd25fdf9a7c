package workload

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// pace is how fast all users go together.
type pace struct{ limiter *rate.Limiter }

func newPace(perSecond float64) *pace {
	p := &pace{limiter: rate.NewLimiter(rate.Inf, 1)}
	p.set(perSecond)
	return p
}

func (p *pace) set(perSecond float64) {
	if perSecond <= 0 {
		p.limiter.SetLimit(rate.Inf)
		return
	}
	p.limiter.SetLimit(rate.Limit(perSecond))
}

// wait says whether there is another turn.
func (p *pace) wait(ctx context.Context) bool { return p.limiter.Wait(ctx) == nil && ctx.Err() == nil }

// rest waits, and says whether the context still lives.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
