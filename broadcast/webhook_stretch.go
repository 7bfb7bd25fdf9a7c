package broadcast

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	stretchesKept = 32               // some 16 MiB
	stretchFor    = 10 * time.Second // after that it is read again
)

// stretches are what was last read of the timeline for those who are older than the ring. When a node takes many subscriptions over, or
// starts, all of them lack nearly the same events: they are read once for all of a party's, and one reader of a party looks at a time.
type stretches struct {
	mu      sync.Mutex
	kept    []*stretch // the newest last
	reading map[party]chan struct{}
}

// stretch is all events of a party after a position up to another.
type stretch struct {
	whose    party
	from, to int64
	events   []*told
	read     time.Time
}

// after gives a party's events after a position, and up to where nothing is missing.
func (s *stretches) after(ctx context.Context, r *reader, whose party, after int64) ([]*told, int64, error) {
	for {
		s.mu.Lock()
		if one := s.find(whose, after, r.live.tip.Position()); one != nil {
			s.mu.Unlock()
			begin := sort.Search(len(one.events), func(i int) bool { return one.events[i].notice.Position > after })
			return one.events[begin:], one.to, nil
		}
		other := s.reading[whose]
		if other == nil {
			break
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	mine := make(chan struct{})
	s.reading[whose] = mine
	s.mu.Unlock()
	found, reached, err := r.scan(ctx, whose, after)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reading, whose)
	close(mine)
	if err == nil && reached > after {
		s.keep(&stretch{whose: whose, from: after, to: reached, events: found, read: time.Now()})
	}
	return found, reached, err
}

// find looks for one that goes on behind a position. One that goes beyond the read side's end is of a database that was put back since.
func (s *stretches) find(whose party, after, tip int64) *stretch {
	for _, one := range slices.Backward(s.kept) {
		if one.whose == whose && one.from <= after && after < one.to && one.to <= tip && time.Since(one.read) < stretchFor {
			return one
		}
	}
	return nil
}

func (s *stretches) keep(one *stretch) {
	s.kept = slices.DeleteFunc(s.kept, func(old *stretch) bool { return time.Since(old.read) >= stretchFor })
	if len(s.kept) >= stretchesKept {
		s.kept = slices.Delete(s.kept, 0, 1)
	}
	s.kept = append(s.kept, one)
}
