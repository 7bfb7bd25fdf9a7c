package projection

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/internal/seeded"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	// How long the leader waits at most for a lane to do the last of those.
	joinTime = 2 * time.Second
	// A view that goes alone leaves the processors to the leader while that has a backlog: it then works one part of the time
	// and rests yieldParts parts, at most yieldMost long.
	yieldParts = 4
	gatherFor  = 40 * time.Millisecond
	yieldMost  = 200 * time.Millisecond
	// Before a log that does not chain is read again: somebody has to mend it.
	divergedPause = 5 * time.Second
)

// lane is a reader and the views that are at its position. It is used by one goroutine at a time.
type lane struct {
	g        *generation
	views    []view
	at       checkpoint
	folder   *folder
	flight   *flight      // the transaction on its way; nil while there is none
	limit    int          // events in a transaction; lower while looking for one that a view cannot take
	position atomic.Int64 // at.position, for others to look at
	busy     atomic.Bool  // more waits than is worth a transaction of its own
	worked   time.Duration
	apart    bool // its orders are folded without other events than the leader's: it never joins
}

func newLane(g *generation, views []view, at checkpoint) *lane {
	l := &lane{g: g, views: views, at: at, limit: g.p.maxBatch}
	l.position.Store(at.position)
	l.forget()
	return l
}

// name is the lane's name in metrics and logs.
func (l *lane) name() string {
	if len(l.views) == 0 {
		return "none"
	}
	if l == l.g.leader {
		return "leader"
	}
	return strings.Join(namesOf(l.views), "+")
}

func (l *lane) has(name string) bool {
	return slices.ContainsFunc(l.views, func(v view) bool { return v.name == name })
}

func (l *lane) needs() need {
	n := needHeader
	for _, v := range l.views {
		n = max(n, v.needs)
	}
	return n
}

// forget throws away what the lane remembers of orders. The database is asked again.
func (l *lane) forget() {
	l.folder = newFolder(l.documents(), recentOrders, nil)
	l.folder.skips, _ = foldSkips(l.views)
}

// run follows the log until ctx ends, no view is left, or another lane can take the views over; then it returns nil.
func (l *lane) run(ctx context.Context) error {
	for {
		err := l.follow(ctx)
		if !errors.Is(err, stream.ErrDiverged) {
			return err
		}
		l.diverged(ctx, err)
		if err := pause(ctx, divergedPause); err != nil {
			return err
		}
	}
}

func (l *lane) diverged(ctx context.Context, err error) {
	l.g.p.cfg.Logger.ErrorContext(ctx, "the log is not what the views were built from", "views", l.name(), "position", l.at.position, "cause", err)
	for _, v := range l.views {
		l.g.p.setStatus(v.name, checkpoint{position: l.at.position, generation: v.generation, code: v.code}, err.Error())
	}
}

func (l *lane) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	follower := l.g.p.cfg.NewFollower(l.at.position, l.at.digest)
	in := newIntake(l.g.p.maxBatch)
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		in.fill(ctx, follower)
	}()
	defer func() {
		cancel()
		<-filled
		follower.Close()
		if l.flight != nil {
			<-l.flight.landed
			l.flight = nil
		}
	}()
	for len(l.views) > 0 && (l.flight != nil || !l.near()) {
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case joiner := <-l.g.joins(l):
			err = l.adopt(ctx, joiner)
		case <-l.landed():
			_, err = l.settle(ctx)
			token(in.arrived) // what waits may have waited for this
		case <-in.arrived:
			err = l.drain(ctx, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drain applies what waits. It comes back after each transaction, so that a lane can join meanwhile. Few events are not worth a
// transaction of their own while another is on its way: they wait for it, and for those that come meanwhile.
func (l *lane) drain(ctx context.Context, in *intake) error {
	l.busy.Store(in.len() >= l.g.p.maxBatch/4)
	if !l.busy.Load() {
		if _, err := l.settle(ctx); err != nil || len(l.views) == 0 {
			return err
		}
	}
	if err := l.yield(ctx); err != nil {
		return err
	}
	records, err := in.take(l.room())
	if err != nil || len(records) == 0 {
		return err
	}
	return l.apply(ctx, records)
}

// yield rests a view that goes alone: a little, so that more than an event or two is worth its transaction, and while the leader is
// busy for longer.
func (l *lane) yield(ctx context.Context) error {
	if l.views[0].pace == together || l.g.leader == nil || l.busy.Load() && !l.g.leader.busy.Load() {
		return nil
	}
	if !l.g.leader.busy.Load() {
		return pause(ctx, gatherFor)
	}
	return pause(ctx, min(yieldParts*l.worked, yieldMost))
}

// room is how many events the lane may take: one that catches up never goes past the leader.
func (l *lane) room() int {
	if !l.behind() {
		return l.g.p.maxBatch
	}
	return int(min(int64(l.g.p.maxBatch), max(0, l.g.leader.position.Load()-l.ahead().position)))
}

// behind says whether the lane is one that catches up with the leader.
func (l *lane) behind() bool { return l != l.g.leader && !l.apart && l.views[0].pace == together }

func (l *lane) near() bool {
	return l.behind() && l.g.leader.position.Load()-l.at.position <= int64(l.g.p.maxBatch/2)
}

// adopt brings a lane to this lane's position and takes its views over. It holds this lane up for at most joinTime.
func (l *lane) adopt(ctx context.Context, joiner *lane) error {
	if _, err := l.settle(ctx); err != nil {
		return err
	}
	if !sameFold(l.views, joiner.views) {
		joiner.apart = true
		joiner.forget()
		l.g.start(joiner)
		return nil
	}
	within, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	err := joiner.reach(within, l.at.position)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && within.Err() == nil && !errors.Is(err, stream.ErrDiverged):
		return err
	case err != nil:
		joiner.forget()
		l.g.start(joiner)
		return nil
	case len(joiner.views) > 0 && joiner.at.digest != l.at.digest:
		joiner.diverged(ctx, stream.ErrDiverged)
		return nil
	}
	l.views = append(l.views, joiner.views...)
	l.forget()
	return nil
}

// reach applies events up to a position which the log is known to have.
func (l *lane) reach(ctx context.Context, position int64) error {
	if l.at.position == position {
		return nil
	}
	follower := l.g.p.cfg.NewFollower(l.at.position, l.at.digest)
	defer follower.Close()
	for len(l.views) > 0 && l.at.position < position {
		records, err := follower.Next(ctx, int(min(int64(l.g.p.maxBatch), position-l.at.position)))
		if err != nil {
			return err
		}
		if err := l.again(ctx, decodeFor(l.views, records)); err != nil {
			return err
		}
	}
	return nil
}

// apply writes the records in one transaction, or in several where a view cannot take one of them. The last of these may still be
// on its way when apply returns: the next one is prepared meanwhile.
func (l *lane) apply(ctx context.Context, records []stream.Record) error {
	facts := decodeFor(l.views, records)
	for len(facts) > 0 && len(l.views) > 0 {
		n := min(l.limit, len(facts))
		q, err := l.prepare(ctx, facts[:n])
		whole, flown := l.settle(ctx)
		switch {
		case flown != nil:
			return flown
		case !whole:
			continue // it was prepared on top of a transaction that was not written
		case err != nil:
			err = l.isolate(ctx, err, n)
		default:
			l.flight = q.send(ctx, l.g.p.commit, l.g.p.cfg.Now)
			facts = facts[n:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the transaction that is on its way. Where a view could not take it, the events are written again in smaller
// ones, and whatever was prepared on top of it is void: then it was not whole.
func (l *lane) settle(ctx context.Context) (whole bool, err error) {
	f := l.flight
	if f == nil {
		return true, nil
	}
	<-f.landed
	l.flight = nil
	if f.err == nil {
		l.committed(f)
		return true, nil
	}
	if err := l.isolate(ctx, f.err, len(f.facts)); err != nil {
		if seeded.On(seeded.EventsSkipped) && ctx.Err() == nil {
			return false, nil
		}
		return false, err
	}
	return false, l.again(ctx, f.facts)
}

// again writes facts one transaction after the other.
func (l *lane) again(ctx context.Context, facts []fact) error {
	for len(facts) > 0 && len(l.views) > 0 {
		n := min(l.limit, len(facts))
		q, err := l.prepare(ctx, facts[:n])
		if err == nil {
			f := q.send(ctx, l.g.p.commit, l.g.p.cfg.Now)
			<-f.landed
			err = f.err
			if err == nil {
				l.committed(f)
				facts = facts[n:]
				continue
			}
		}
		if err := l.isolate(ctx, err, n); err != nil {
			return err
		}
	}
	return nil
}

// landed is closed when the transaction that is on its way is done; it is nil while none is.
func (l *lane) landed() <-chan struct{} {
	if l.flight == nil {
		return nil
	}
	return l.flight.landed
}

// ahead is where the lane will be once the transaction on its way is committed.
func (l *lane) ahead() checkpoint {
	if l.flight == nil {
		return l.at
	}
	return l.flight.to
}

// isolate makes the next transaction end before the event that cannot be taken, or stops the views that cannot take it. It is given
// what went wrong with n facts, and returns it when that was no view's fault.
func (l *lane) isolate(ctx context.Context, err error, n int) error {
	var bad *fault
	if !errors.As(err, &bad) {
		return err
	}
	l.forget()
	if bad.index > 0 {
		l.limit = bad.index
		return nil
	}
	if bad.index < 0 && n > 1 {
		l.limit = n / 2
		return nil
	}
	l.limit = l.g.p.maxBatch
	if err := l.g.p.stop(ctx, l.views, bad.views, l.at, bad.cause); err != nil {
		return err
	}
	for _, v := range bad.views {
		l.g.stopped(v)
		l.views = slices.DeleteFunc(l.views, func(have view) bool { return have.name == v.name })
	}
	l.forget()
	return nil
}

// prepare folds the facts and makes the transaction that writes all views of the lane and moves their checkpoint. A *fault names
// views that cannot take the facts.
func (l *lane) prepare(ctx context.Context, facts []fact) (*queued, error) {
	if bad := checkAll(l.views, facts); bad != nil {
		return nil, bad
	}
	b := &batch{facts: facts}
	if l.needs() == needOrder {
		orders, err := l.folder.fold(ctx, facts)
		if err != nil {
			return nil, l.foldFault(err)
		}
		b.orders = orders
	}
	q, err := queue(l.views, b, l.ahead(), advanceLive)
	if err == nil && l.has(OrderView) {
		q.telling(b, l.g.p.cfg.Changes)
	}
	return q, err
}

func (l *lane) committed(f *flight) {
	l.at = f.to
	l.position.Store(f.to.position)
	l.limit = min(2*l.limit, l.g.p.maxBatch)
	l.worked = f.took
	m, name := l.g.p.metrics, l.name()
	m.events.WithLabelValues(name).Add(float64(len(f.facts)))
	m.batch.WithLabelValues(name).Observe(float64(len(f.facts)))
	m.commit.WithLabelValues(name).Observe(f.took.Seconds())
	l.g.p.advanced(l.views, f.to.position)
}

// foldFault adds whose fault it is: of all views that need orders.
func (l *lane) foldFault(err error) error {
	var bad *fault
	if !errors.As(err, &bad) {
		return err
	}
	for _, v := range l.views {
		if v.needs == needOrder {
			bad.views = append(bad.views, v)
		}
	}
	return bad
}
