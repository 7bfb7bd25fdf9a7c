package projection

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

// queued is a transaction ready to be sent: the checkpoint first, so that a second projector waits for the first and then
// fails before it writes anything, then each view's rows.
type queued struct {
	bulk   *postgres.Bulk
	before *postgres.Bulk // nil but for a seeded bug
	views  []view
	facts  []fact
	from   checkpoint
	to     checkpoint
	writes []*changed // the orders that it changes, where a view needs them
	copies []view     // whose statement is the second, third, … of those without parameters
	others []view     // whose statement is the first, second, … of those with parameters
	tell   Changes
	orders [][16]byte // of order_view that it changes
}

// advancer adds the statement that moves the views' checkpoints from one place to the next, and fails where they are not there.
type advancer func(bulk *postgres.Bulk, views []view, from, to checkpoint)

// advanceLive moves live generations.
func advanceLive(bulk *postgres.Bulk, views []view, from, to checkpoint) {
	var generations []string
	for _, n := range generationsOf(views) {
		generations = append(generations, strconv.FormatInt(n, 10))
	}
	bulk.Exec(advanceViews, strings.Join(namesOf(views), ","), strings.Join(generations, ","), from.position, from.digest[:], to.position, to.digest[:])
}

func queue(views []view, b *batch, from checkpoint, advance advancer) (*queued, error) {
	last := &b.facts[len(b.facts)-1]
	q := &queued{bulk: postgres.NewBulk(), views: views, facts: b.facts, from: from, writes: b.orders, tell: nobody{}, to: checkpoint{position: last.Position, digest: last.Digest}}
	if seeded.On(seeded.CheckpointApart) {
		q.before = postgres.NewBulk()
		advance(q.before, views, from, q.to)
		q.bulk.Exec("SELECT")
	} else {
		advance(q.bulk, views, from, q.to)
	}
	for _, v := range views {
		copies, others := q.bulk.Copies(), q.bulk.Queries()
		if err := v.write(b.without(v), q.bulk); err != nil {
			return nil, &fault{views: []view{v}, index: -1, cause: err}
		}
		if q.bulk.Copies() > copies {
			q.copies = append(q.copies, v)
		}
		if q.bulk.Queries() > others {
			q.others = append(q.others, v)
		}
	}
	return q, nil
}

// author is the view of which a statement is, by how many statements came before it; false for the checkpoint's and the commit.
func (q *queued) author(before int) (view, bool) {
	all := slices.Concat(q.copies, q.others)
	if before < 1 || before > len(all) {
		return view{}, false
	}
	return all[before-1], true
}

// telling has the transaction tell of the orders that it changes.
func (q *queued) telling(b *batch, to Changes) {
	q.tell, q.orders = to, make([][16]byte, len(b.orders))
	for i, o := range b.orders {
		q.orders[i] = o.id.Bytes
	}
}

// flight is a transaction on its way to the database.
type flight struct {
	facts  []fact
	to     checkpoint
	landed chan struct{} // closed when err and took are set
	err    error         // a *fault where a view could not take the facts; then nothing was written
	took   time.Duration
}

// send commits the transaction in the background. Who hears of changes hears of them before anybody can read them.
func (q *queued) send(ctx context.Context, commit func(context.Context, *queued) error, now func() time.Time) *flight {
	f := &flight{facts: q.facts, to: q.to, landed: make(chan struct{})}
	began := now()
	q.tell.Changing(q.orders, q.to.position)
	go func() {
		defer close(f.landed)
		if f.err = commit(ctx, q); f.err == nil {
			q.tell.Reached(q.to.position)
		}
		f.took = now().Sub(began)
	}()
	return f
}

func (q *queued) commit(ctx context.Context, pool *pgxpool.Pool) error {
	if q.before != nil {
		if _, err := q.before.Commit(ctx, pool); err != nil {
			return movedError(err)
		}
	}
	passed, err := q.bulk.Commit(ctx, pool)
	if err == nil {
		return nil
	}
	if v, ok := q.author(passed); ok && refused(err) {
		return &fault{views: []view{v}, index: -1, cause: err}
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
