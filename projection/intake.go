package projection

import (
	"context"
	"sync"

	"github.com/orderstore/orderstore/internal/stream"
)

// maxBatch is how many events one transaction takes at most. There is no timer: it takes what waits.
const maxBatch = 2000

// intake reads ahead of its lane, up to one batch.
type intake struct {
	arrived chan struct{} // holds a token when there may be something to take
	freed   chan struct{} // holds a token when there may be room
	size    int

	mu      sync.Mutex
	waiting []stream.Record
	err     error
}

func newIntake(size int) *intake {
	return &intake{size: size, arrived: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// fill reads until ctx ends or the follower gives an error, which take then returns.
func (in *intake) fill(ctx context.Context, follower Follower) {
	for {
		room := in.room()
		if room == 0 {
			select {
			case <-in.freed:
				continue
			case <-ctx.Done():
				return
			}
		}
		records, err := follower.Next(ctx, room)
		in.mu.Lock()
		in.waiting = append(in.waiting, records...)
		in.err = err
		in.mu.Unlock()
		token(in.arrived)
		if err != nil {
			return
		}
	}
}

func (in *intake) room() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return max(0, in.size-len(in.waiting))
}

// len is how many records wait.
func (in *intake) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.waiting)
}

// take gives what waits, up to limit, without waiting. The error comes once nothing waits any more.
func (in *intake) take(limit int) ([]stream.Record, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := min(limit, len(in.waiting))
	if n == 0 {
		if len(in.waiting) > 0 {
			return nil, nil
		}
		return nil, in.err
	}
	records := in.waiting[:n:n]
	in.waiting = in.waiting[n:]
	if len(in.waiting) == 0 {
		in.waiting = nil
	}
	if len(in.waiting) > 0 || in.err != nil {
		token(in.arrived)
	}
	token(in.freed)
	return records, nil
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
