package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
)

// reading is readers that read without pause, as the query side does.
type reading struct {
	reads  atomic.Int64
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (r *reading) stop() {
	r.cancel()
	r.done.Wait()
}

// readAlong reads through pgx and through sqlx with statements that the driver keeps prepared, by single statements and in snapshots. No read may
// fail, find less than it found before, or see a position that goes back.
func (w *world) readAlong() *reading {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	r := &reading{cancel: cancel}
	w.t.Cleanup(r.stop)
	db := sqlx.NewDb(stdlib.OpenDBFromPool(w.read), "pgx")
	id, early := w.orders[0].ID, int64(5*smallBatch)
	single := func(ctx context.Context) (position, found int64, err error) {
		row := struct {
			Position int64  `db:"position"`
			Version  *int64 `db:"version"`
		}{}
		err = sqlx.GetContext(ctx, db, &row, `SELECT c.position, v.version FROM checkpoints c LEFT JOIN order_view v ON v.id = $1 WHERE c.view = 'order_view'`, id)
		if err == nil && row.Version == nil {
			err = errors.New("the order is gone")
		}
		return row.Position, 1, err
	}
	list := func(ctx context.Context) (position, found int64, err error) {
		err = w.read.QueryRow(ctx, `SELECT c.position, (SELECT count(*) FROM timeline WHERE position <= c.position) FROM checkpoints c WHERE c.view = $1`,
			Timeline).Scan(&position, &found)
		if err == nil && found != position {
			err = fmt.Errorf("%d events are there at position %d", found, position)
		}
		return position, found, err
	}
	tasks := func(ctx context.Context) (position, found int64, err error) {
		err = w.read.QueryRow(ctx, `SELECT c.position, (SELECT count(*) FROM task_inbox) FROM checkpoints c WHERE c.view = $1`, TaskInbox).Scan(&position, &found)
		return position, found, err
	}
	snapshot := func(ctx context.Context) (position, found int64, err error) {
		tx, err := w.read.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		if err != nil {
			return 0, 0, err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		if err := holdTables(ctx, tx, OrderView, Timeline); err != nil {
			return 0, 0, err
		}
		if err := tx.QueryRow(ctx, `SELECT position FROM checkpoints WHERE view = 'timeline'`).Scan(&position); err != nil {
			return 0, 0, err
		}
		err = tx.QueryRow(ctx, `SELECT count(*) FROM timeline WHERE position <= $1`, early).Scan(&found)
		if err == nil && found != early {
			err = fmt.Errorf("a snapshot sees %d of the first %d events", found, early)
		}
		return position, found, err
	}
	for name, read := range map[string]func(context.Context) (int64, int64, error){"single": single, "list": list, "tasks": tasks, "snapshot": snapshot} {
		r.done.Go(func() { w.keepReading(ctx, r, name, read) })
	}
	return r
}

func (w *world) keepReading(ctx context.Context, r *reading, name string, read func(context.Context) (int64, int64, error)) {
	var lastPosition, lastFound int64
	for ctx.Err() == nil {
		position, found, err := read(context.WithoutCancel(ctx))
		switch {
		case err != nil:
			w.t.Errorf("%s: %v", name, err)
			return
		case position < lastPosition || found < lastFound:
			w.t.Errorf("%s: position %d after %d, %d rows after %d", name, position, lastPosition, found, lastFound)
			return
		}
		lastPosition, lastFound = position, found
		r.reads.Add(1)
	}
}
