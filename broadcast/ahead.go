package broadcast

import (
	"context"

	"github.com/orderstore/orderstore/internal/stream"
)

// ahead is a batch that is read while the one before it is being published.
type ahead struct {
	after   int64
	cancel  context.CancelFunc
	done    chan struct{}
	records []stream.Record
	err     error
}

// read gives the records after a position, and has those after them read meanwhile if there are likely to be any.
func (r *Relay) read(ctx context.Context, last int64) ([]stream.Record, error) {
	records, err := r.awaited(ctx, last)
	if err != nil || len(records) < relayBatch {
		return records, err
	}
	a := &ahead{after: last + int64(len(records)), done: make(chan struct{})}
	ctx, a.cancel = context.WithCancel(ctx)
	go func() {
		defer close(a.done)
		a.records, a.err = r.log.Read(ctx, a.after, relayBatch)
	}()
	r.ahead = a
	return records, nil
}

// awaited takes what was read ahead, if it is that, or reads.
func (r *Relay) awaited(ctx context.Context, last int64) ([]stream.Record, error) {
	a := r.ahead
	if a == nil || a.after != last {
		r.forget()
		return r.log.Read(ctx, last, relayBatch)
	}
	<-a.done
	r.forget()
	if len(a.records) > 0 || a.err != nil {
		return a.records, a.err
	}
	return r.log.Read(ctx, last, relayBatch)
}

// forget gives up what is being read ahead.
func (r *Relay) forget() {
	if r.ahead == nil {
		return
	}
	r.ahead.cancel()
	<-r.ahead.done
	r.ahead = nil
}
