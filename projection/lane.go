package projection

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

const (
	// How long the leader waits at most for a lane to do the last of those.
	joinTime = 2 * time.Second
	// Before a log that does not chain is read again: somebody has to mend it.
	divergedPause = 5 * time.Second
)

// lane is a reader and the views that are at its position. It is used by one goroutine at a time.
type lane struct {
	g        *generation
	views    []view
	at       checkpoint
	folder   *folder
	limit    int          // events in a batch; lower while looking for one that a view cannot take
	position atomic.Int64 // at.position, for others to look at
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
	return slices.ContainsFunc(l.views, func(v view) bool { return v.name() == name })
}

func (l *lane) needs() need {
	n := needHeader
	for _, v := range l.views {
		n = max(n, v.needs())
	}
	return n
}

// forget throws away what the lane remembers of orders. The database is asked again.
func (l *lane) forget() {
	var source documents = viewDocuments{pool: l.g.p.cfg.Pool}
	if !l.has(OrderView) {
		source = timelineDocuments{pool: l.g.p.cfg.Pool, tip: l.g.p.tips[Timeline], at: func() int64 { return l.at.position }}
	}
	l.folder = newFolder(source, recentOrders, nil)
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
		l.g.p.setStatus(v.name(), l.at.position, err.Error())
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
	}()
	for len(l.views) > 0 && !l.near() {
		var err error
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case joiner := <-l.g.joins(l):
			err = l.adopt(ctx, joiner)
		case <-in.arrived:
			err = l.drain(ctx, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drain applies what waits. It comes back after each batch, so that a lane can join meanwhile.
func (l *lane) drain(ctx context.Context, in *intake) error {
	records, err := in.take(l.room())
	if err != nil || len(records) == 0 {
		return err
	}
	return l.apply(ctx, records)
}

// room is how many events the lane may take: one that catches up never goes past the leader.
func (l *lane) room() int {
	if !l.behind() {
		return l.g.p.maxBatch
	}
	return int(min(int64(l.g.p.maxBatch), max(0, l.g.leader.position.Load()-l.at.position)))
}

// behind says whether the lane is one that catches up with the leader.
func (l *lane) behind() bool { return l != l.g.leader && l.views[0].pace() == together }

func (l *lane) near() bool {
	return l.behind() && l.g.leader.position.Load()-l.at.position <= int64(l.g.p.maxBatch/2)
}

// adopt brings a lane to this lane's position and takes its views over. It holds this lane up for at most joinTime.
func (l *lane) adopt(ctx context.Context, joiner *lane) error {
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
		if err := l.apply(ctx, records); err != nil {
			return err
		}
	}
	return nil
}

// apply writes the records in one transaction, or in several where a view cannot take one of them.
func (l *lane) apply(ctx context.Context, records []stream.Record) error {
	facts := decode(records, l.needs())
	for len(facts) > 0 && len(l.views) > 0 {
		n := min(l.limit, len(facts))
		err := l.write(ctx, facts[:n])
		var bad *fault
		switch {
		case err == nil:
			facts = facts[n:]
			l.limit = min(2*l.limit, l.g.p.maxBatch)
		case errors.As(err, &bad):
			if err := l.isolate(ctx, bad, n); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// isolate makes the next batch end before the event that cannot be taken, or stops the views that cannot take it.
func (l *lane) isolate(ctx context.Context, bad *fault, n int) error {
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
		l.views = slices.DeleteFunc(l.views, func(have view) bool { return have.name() == v.name() })
	}
	l.forget()
	return nil
}

// write applies the facts to all views of the lane and moves their checkpoint, in one transaction. A *fault names views that
// cannot take them; then nothing was written.
func (l *lane) write(ctx context.Context, facts []fact) error {
	if bad := checkAll(l.views, facts); bad != nil {
		return bad
	}
	b := &batch{facts: facts}
	if l.needs() == needOrder {
		orders, err := l.folder.fold(ctx, facts)
		if err != nil {
			return l.foldFault(err)
		}
		b.orders = orders
	}
	to := checkpoint{position: facts[len(facts)-1].Position, digest: facts[len(facts)-1].Digest}
	q, err := l.queue(b, to)
	if err != nil {
		return err
	}
	began := l.g.p.cfg.Now()
	if err := q.commit(ctx, l.g.p); err != nil {
		return err
	}
	l.committed(to, len(facts), l.g.p.cfg.Now().Sub(began))
	return nil
}

func (l *lane) committed(to checkpoint, n int, took time.Duration) {
	l.at = to
	l.position.Store(to.position)
	m, name := l.g.p.metrics, l.name()
	m.events.WithLabelValues(name).Add(float64(n))
	m.batch.WithLabelValues(name).Observe(float64(n))
	m.commit.WithLabelValues(name).Observe(took.Seconds())
	l.g.p.advanced(l.views, to.position)
}

// foldFault adds whose fault it is: of all views that need orders.
func (l *lane) foldFault(err error) error {
	var bad *fault
	if !errors.As(err, &bad) {
		return err
	}
	for _, v := range l.views {
		if v.needs() == needOrder {
			bad.views = append(bad.views, v)
		}
	}
	return bad
}

// queued is a transaction ready to be sent: the checkpoint first, so that a second projector waits for the first and then
// fails before it writes anything, then one statement a view.
type queued struct {
	batch  *pgx.Batch
	views  []view // of the statements after the first
	passed int    // statements that the server has answered without an error
}

func (l *lane) queue(b *batch, to checkpoint) (*queued, error) {
	q := &queued{batch: &pgx.Batch{}}
	q.add(advanceCheckpoints, namesOf(l.views), l.at.position, l.at.digest[:], to.position, to.digest[:])
	for _, v := range l.views {
		sql, args, err := v.statement(b)
		if err != nil {
			return nil, &fault{views: []view{v}, index: -1, cause: err}
		}
		if args != nil {
			q.views = append(q.views, v)
			q.add(sql, args...)
		}
	}
	return q, nil
}

func (q *queued) add(sql string, args ...any) {
	q.batch.Queue(sql, args...).Exec(func(pgconn.CommandTag) error {
		q.passed++
		return nil
	})
}

func (q *queued) commit(ctx context.Context, p *Projection) error {
	err := postgres.CommitBatch(ctx, p.cfg.Pool, q.batch)
	if err == nil {
		return nil
	}
	if q.passed > 0 && q.passed <= len(q.views) && refused(err) {
		return &fault{views: []view{q.views[q.passed-1]}, index: -1, cause: err}
	}
	return movedError(err)
}

// refused tells whether the server did not want the rows themselves, which it will not want later either: values (class 22), constraints
// (23), a table or column that is not there (42), sizes beyond its limits (54).
func refused(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "23", "42", "54":
		return true
	}
	return false
}
