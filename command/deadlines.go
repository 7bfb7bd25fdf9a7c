package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	deadlineEvery = 200 * time.Millisecond // between looks
	deadlinePage  = 500                    // tasks of one look
)

const (
	copyDeadlines   = `deadlines (task_id, due_at)`
	upsertDeadlines = `
INSERT INTO deadlines (task_id, due_at) SELECT i::uuid, d FROM unnest($1::text[], $2::timestamptz[]) AS u (i, d)
ON CONFLICT (task_id) DO UPDATE SET due_at = excluded.due_at`
	deleteDeadlines = `DELETE FROM deadlines WHERE task_id = ANY ($1::text[]::uuid[])`
	selectDue       = `SELECT task_id::text FROM deadlines WHERE due_at <= $1 ORDER BY due_at LIMIT $2`
)

// deadline is when a task is to be looked at.
type deadline struct {
	at    time.Time // zero: not any more
	fresh bool      // the task was offered in the same round: none is stored
}

// putDeadlines stores the deadlines that a round set, moved and took away.
func putDeadlines(bulk *postgres.Bulk, deadlines map[string]deadline) error {
	var moved, unset []string
	var due []time.Time
	copied := false
	for id, d := range deadlines {
		switch {
		case d.fresh && d.at.IsZero():
		case d.fresh:
			task, err := uuid.Parse(id)
			if err != nil {
				return fmt.Errorf("task id: %w", err)
			}
			if !copied {
				bulk.Copy(copyDeadlines, 2)
				copied = true
			}
			bulk.Row()
			bulk.UUID(task)
			bulk.Time(d.at)
		case d.at.IsZero():
			unset = append(unset, id)
		default:
			moved, due = append(moved, id), append(due, d.at)
		}
	}
	if len(moved) > 0 {
		bulk.Query(upsertDeadlines, moved, due)
	}
	if len(unset) > 0 {
		bulk.Query(deleteDeadlines, unset)
	}
	return nil
}

// due lists tasks whose deadline is past, the longest past first.
func (s *store) due(ctx context.Context, now time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, selectDue, now, deadlinePage)
	if err != nil {
		return nil, fmt.Errorf("list deadlines: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list deadlines: %w", err)
	}
	return ids, nil
}

// Deadlines ends the tasks whose time is up. Every node that commits may run one: what is past is decided by the committer on the
// task as it then is, so nodes that see the same deadline end the task once, and what a stopped node did not do the next look does.
type Deadlines struct {
	committer *Committer
	logger    *slog.Logger
	now       func() time.Time
}

// NewDeadlines makes the worker that ends tasks through a committer.
func NewDeadlines(c *Committer) *Deadlines {
	return &Deadlines{committer: c, logger: c.logger, now: c.now}
}

// Name names the worker.
func (w *Deadlines) Name() string { return "deadlines" }

// Run works until ctx ends. Trouble is logged and tried again.
func (w *Deadlines) Run(ctx context.Context) error {
	ticker := time.NewTicker(deadlineEvery)
	defer ticker.Stop()
	for {
		if err := w.look(ctx); err != nil && ctx.Err() == nil {
			w.logger.WarnContext(ctx, "expired tasks are put off", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look ends what is past now. Many are submitted at once, so that they share commits.
func (w *Deadlines) look(ctx context.Context) error {
	ids, err := w.committer.store.due(ctx, w.now())
	if err != nil {
		return err
	}
	failed := make(chan error, len(ids))
	for _, id := range ids {
		go func() {
			_, err := w.committer.SubmitWaiting(ctx, &ExpireTask{TaskID: id})
			failed <- err
		}()
	}
	var all error
	for range ids {
		if err := <-failed; err != nil && fault.CodeOf(err) != fault.NotFound {
			all = errors.Join(all, err)
		}
	}
	return all
}
