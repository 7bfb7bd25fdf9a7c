package auxiliary

import (
	"context"
	"sync"

	"github.com/orderstore/orderstore/internal/stream"
)

// intake reads ahead of the convoy, up to size records.
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

// fill reads until the source gives an error, which take returns once nothing waits any more.
func (in *intake) fill(ctx context.Context, source Source) {
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
		records, err := source.Next(ctx, room)
		in.mu.Lock()
		in.waiting, in.err = append(in.waiting, records...), err
		in.mu.Unlock()
		signal(in.arrived)
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

// take gives what waits, at most limit records, without waiting for more.
func (in *intake) take(limit int) ([]stream.Record, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := min(limit, len(in.waiting))
	if n == 0 {
		return nil, in.err
	}
	records := in.waiting[:n:n]
	if in.waiting = in.waiting[n:]; len(in.waiting) == 0 {
		in.waiting = nil
	}
	if len(in.waiting) > 0 || in.err != nil {
		signal(in.arrived)
	}
	signal(in.freed)
	return records, nil
}
