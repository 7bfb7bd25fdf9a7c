package projection

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/orderstore/orderstore/internal/postgres"
)

// queued is a transaction ready to be sent: the checkpoint first, so that a second projector waits for the first and then
// fails before it writes anything, then one statement a view.
type queued struct {
	batch  *pgx.Batch
	facts  []fact
	to     checkpoint
	views  []view // of the statements after the first
	passed int    // statements that the server has answered without an error
}

func queue(views []view, b *batch, from checkpoint) (*queued, error) {
	last := &b.facts[len(b.facts)-1]
	q := &queued{batch: &pgx.Batch{}, facts: b.facts, to: checkpoint{position: last.Position, digest: last.Digest}}
	q.add(advanceCheckpoints, namesOf(views), from.position, from.digest[:], q.to.position, q.to.digest[:])
	for _, v := range views {
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

// flight is a transaction on its way to the database.
type flight struct {
	facts  []fact
	to     checkpoint
	landed chan struct{} // closed when err and took are set
	err    error         // a *fault where a view could not take the facts; then nothing was written
	took   time.Duration
}

// send commits the transaction in the background.
func (q *queued) send(ctx context.Context, p *Projection) *flight {
	f := &flight{facts: q.facts, to: q.to, landed: make(chan struct{})}
	began := p.cfg.Now()
	go func() {
		defer close(f.landed)
		f.err = q.commit(ctx, p)
		f.took = p.cfg.Now().Sub(began)
	}()
	return f
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
