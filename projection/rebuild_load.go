package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	// chunkEvents is how many events one transaction of a rebuild takes. All that they make of an order is one row.
	chunkEvents = 2048
	// maxShards bounds how many goroutines decode and fold: each keeps the orders that two chunks can touch.
	maxShards = 4
)

const advanceBuilds = `SELECT next_views.advance_builds(string_to_array('%s', ','), %d, '\x%x'::bytea, %d, '\x%x'::bytea)`

// advanceNext moves generations that are being built.
func advanceNext(bulk *postgres.Bulk, views []view, from, to checkpoint) {
	names := ""
	for i, v := range views {
		if i > 0 {
			names += ","
		}
		names += v.name
	}
	bulk.Exec(advanceBuilds, names, from.position, from.digest[:], to.position, to.digest[:])
}

// load applies the log up to a position.
func (b *builder) load(ctx context.Context, stage string, target int64) error {
	began := b.r.cfg.Now()
	defer func() { b.took += b.r.cfg.Now().Sub(began) }()
	for b.at.position < target {
		stop := target
		if b.limit < b.r.chunk {
			stop = min(target, b.at.position+int64(b.limit))
		}
		err := b.pass(ctx, stage, stop)
		var bad *fault
		switch {
		case err == nil:
		case errors.As(err, &bad):
			if err := b.isolate(ctx, bad); err != nil {
				return err
			}
		case errors.Is(err, errTimelineBehind):
			if err := b.awaitTimeline(ctx); err != nil {
				return err
			}
		case errors.Is(err, errMoved) && ctx.Err() == nil:
			return fmt.Errorf("the generation that is being built was changed by somebody else: begin again: %w", err)
		default:
			return err
		}
	}
	return nil
}

// pass loads until the target is reached or something goes wrong; then nothing of what went wrong is stored. Reading and decoding of a
// chunk, folding of the one before, and storing of the one before that go on at the same time.
func (b *builder) pass(ctx context.Context, stage string, target int64) (err error) {
	reading, cancel := context.WithCancel(ctx)
	chunks := make(chan []fact, 1)
	var readErr error
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(chunks)
		readErr = b.read(reading, target, chunks)
	}()
	defer func() {
		cancel()
		<-read
	}()
	l := &loader{b: b, shards: newShards(b), ahead: b.at}
	defer func() {
		if landed := l.settle(stage, target); err == nil {
			err = landed
		}
	}()
	for facts := range chunks {
		if err := l.apply(ctx, facts, stage, target); err != nil {
			return err
		}
	}
	return readErr
}

// read reads the log from where the builder is, checks that it chains, and decodes it.
func (b *builder) read(ctx context.Context, target int64, chunks chan<- []fact) error {
	at, views, limit := b.at, b.views, int64(b.r.chunk)
	for at.position < target {
		records, err := b.r.cfg.Log.Read(ctx, at.position, int(min(limit, target-at.position)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("%w: it ends at %d", errTooShort, at.position)
		}
		for i := range records {
			if stream.Chain(at.digest, records[i].Position, records[i].Body) != records[i].Digest {
				return diverged(records[i].Position)
			}
			at = checkpoint{position: records[i].Position, digest: records[i].Digest}
		}
		select {
		case chunks <- decodeParallel(views, records):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// decodeParallel is decodeFor on all processors.
func decodeParallel(views []view, records []stream.Record) []fact {
	n := shardCount()
	parts := make([][]fact, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			parts[i] = decodeFor(views, records[len(records)*i/n:len(records)*(i+1)/n])
			return nil
		})
	}
	_ = g.Wait() // none of them fails: what cannot be read is noted in the fact
	facts := make([]fact, 0, len(records))
	for _, part := range parts {
		facts = append(facts, part...)
	}
	return facts
}

func shardCount() int { return min(maxShards, max(1, runtime.GOMAXPROCS(0))) }

// loader writes what a pass reads, a transaction on its way while the next one is prepared.
type loader struct {
	b      *builder
	shards []*folder
	ahead  checkpoint // where the builder is once the flight has landed
	flight *flight
}

func (l *loader) apply(ctx context.Context, facts []fact, stage string, target int64) error {
	b := l.b
	if bad := checkAll(b.views, facts); bad != nil {
		return b.place(bad, facts)
	}
	made := &batch{facts: facts}
	if _, folds := foldSkips(b.views); folds {
		orders, err := foldParallel(ctx, l.shards, facts)
		if err != nil {
			return b.place(err, facts)
		}
		made.orders = orders
	}
	q, err := queue(b.views, made, l.ahead, advanceNext)
	if err != nil {
		return b.place(err, facts)
	}
	if err := l.settle(stage, target); err != nil {
		return err
	}
	l.flight, l.ahead = q.send(ctx, func(ctx context.Context, q *queued) error { return q.commit(ctx, b.r.next) }, b.r.cfg.Now), q.to
	return b.r.reach("loading")
}

// settle waits for the transaction that is on its way.
func (l *loader) settle(stage string, target int64) error {
	f := l.flight
	if f == nil {
		return nil
	}
	<-f.landed
	l.flight = nil
	if f.err != nil {
		return l.b.place(f.err, f.facts)
	}
	l.b.at = f.to
	l.b.events += int64(len(f.facts))
	l.b.limit = min(2*l.b.limit, l.b.r.chunk)
	l.b.tell(stage, target)
	return nil
}

// place tells of a fault at which event it is, where that is certain, and how many there were otherwise.
func (b *builder) place(err error, facts []fact) error {
	var bad *fault
	if !errors.As(err, &bad) {
		return err
	}
	placed := &fault{views: bad.views, index: bad.index, cause: bad.cause, at: facts[0].Position, of: len(facts)}
	if bad.index >= 0 {
		placed.at = facts[bad.index].Position
	}
	if len(placed.views) == 0 {
		for _, v := range b.views {
			if v.needs == needOrder {
				placed.views = append(placed.views, v)
			}
		}
	}
	return placed
}

// isolate finds the event that cannot be taken. One that the operator had the live generation go past is gone past again.
func (b *builder) isolate(ctx context.Context, bad *fault) error {
	if bad.index < 0 && bad.of > 1 {
		b.limit = bad.of / 2
		return nil
	}
	if bad.at > b.at.position+1 { // let all before it be stored
		b.limit = int(min(bad.at-b.at.position-1, int64(b.limit)))
		return nil
	}
	for _, v := range bad.views {
		passed, err := loadSkips(ctx, b.r.cfg.Pool, v.name, v.generation-1)
		if err != nil {
			return err
		}
		if !passed[bad.at] {
			return fmt.Errorf("view %s cannot take event %d, and the rebuild waits there: %w", v.name, bad.at, bad.cause)
		}
	}
	for _, v := range bad.views {
		if _, err := b.r.cfg.Pool.Exec(ctx, insertSkip, v.name, v.generation, bad.at); err != nil {
			return fmt.Errorf("skip event %d: %w", bad.at, err)
		}
		v.skips[bad.at] = true
	}
	return nil
}

// awaitTimeline waits for the view that orders are folded from.
func (b *builder) awaitTimeline(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	for {
		points, err := readCheckpoints(ctx, b.r.cfg.Pool)
		if err != nil {
			return err
		}
		if points[Timeline].position >= b.at.position {
			return nil
		}
		if pause(within, 20*time.Millisecond) != nil {
			return cmp.Or(ctx.Err(), errBehind)
		}
	}
}

// newShards makes the folders of a pass, which hold nothing yet.
func newShards(b *builder) []*folder {
	var source documents
	if b.has(OrderView) {
		source = viewDocuments{pool: b.r.next}
	} else {
		tip := &stream.Tip{}
		tip.Set(math.MaxInt64) // how far it is is looked at when it is read
		source = timelineDocuments{pool: b.r.cfg.Pool, tip: tip, at: func() int64 { return b.at.position }, views: b.views}
	}
	passed, _ := foldSkips(b.views)
	shards := make([]*folder, shardCount())
	for i := range shards {
		shards[i] = newFolder(source, 2*b.r.chunk+192, nil)
		shards[i].skips = passed
	}
	return shards
}

func (b *builder) has(name string) bool {
	for _, v := range b.views {
		if v.name == name {
			return true
		}
	}
	return false
}

// foldParallel folds each order in the shard that its id says, always the same. A *fault has the index in facts.
func foldParallel(ctx context.Context, shards []*folder, facts []fact) ([]*changed, error) {
	parts, from := make([][]fact, len(shards)), make([][]int, len(shards))
	for i := range facts {
		if facts[i].orderID.Valid {
			s := int(facts[i].orderID.Bytes[15]) % len(shards)
			parts[s], from[s] = append(parts[s], facts[i]), append(from[s], i)
		}
	}
	found, errs := make([][]*changed, len(shards)), make([]error, len(shards))
	var g errgroup.Group
	for s := range shards {
		g.Go(func() error {
			found[s], errs[s] = shards[s].fold(ctx, parts[s])
			return nil
		})
	}
	_ = g.Wait() // each has its own
	if err := firstFault(errs, from); err != nil {
		return nil, err
	}
	var all []*changed
	for _, part := range found {
		all = append(all, part...)
	}
	return all, nil
}

// firstFault is an error that is no fault, or the fault of the earliest event.
func firstFault(errs []error, from [][]int) error {
	var first *fault
	for s, err := range errs {
		var bad *fault
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		if bad == nil {
			continue
		}
		if bad.index >= 0 {
			bad = &fault{index: from[s][bad.index], cause: bad.cause}
		}
		if first == nil || bad.index < first.index {
			first = bad
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// rate is events a second.
func rate(events int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(events) / took.Seconds()
}

// Rate is how many events a second were read and stored.
func (r *Rebuilt) Rate() float64 { return rate(r.Events, r.Took) }
