package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// taskStatuses are the statuses that an inbox can be filtered by.
func taskStatuses() []string {
	return []string{
		"offered", "accepted", "completed", "incomplete", "rejected", "expired", "delegated", "on_hold",
		"cancellation_requested", "cancelled", "cancellation_refused",
	}
}

// taskRow is a row of task_inbox, or the lack of one, with the position at which that was so.
type taskRow struct {
	Checkpoint int64   `db:"checkpoint"`
	ID         *string `db:"id"`
	Position   *int64  `db:"position"`
	Document   []byte  `db:"document"`
}

// Task ids go up with time: the inbox starts with the oldest task.
const selectTasks = `
SELECT c.position AS checkpoint, t.id::text, t.position, t.document
FROM checkpoints c LEFT JOIN LATERAL (
    SELECT t.id, t.position, t.document FROM task_inbox t
    WHERE t.provider = $1 AND t.id > $2 ORDER BY t.id LIMIT $3
) t ON true
WHERE c.view = 'task_inbox' ORDER BY t.id`

// Each status is read by itself, in order, so that a few open tasks are found among millions of finished ones.
const selectTasksByStatus = `
SELECT c.position AS checkpoint, t.id::text, t.position, t.document
FROM checkpoints c LEFT JOIN LATERAL (
    SELECT t.id, t.position, t.document FROM unnest($4::text[]) AS s (status), LATERAL (
        SELECT t.id, t.position, t.document FROM task_inbox t
        WHERE t.provider = $1 AND t.status = s.status AND t.id > $2 ORDER BY t.id LIMIT $3
    ) t ORDER BY t.id LIMIT $3
) t ON true
WHERE c.view = 'task_inbox' ORDER BY t.id`

// taskPage is a part of an inbox.
type taskPage struct {
	seen  int64
	items [][]byte
	last  string // id of the last item
	more  bool
}

const lowestID = "00000000-0000-0000-0000-000000000000"

func readTasks(ctx context.Context, db sqlx.QueryerContext, provider, after string, statuses []string, limit int) (taskPage, error) {
	sql, args := selectTasks, []any{provider, after, limit + 1}
	if len(statuses) > 0 {
		sql, args = selectTasksByStatus, append(args, statuses)
	}
	var rows []taskRow
	if err := sqlx.SelectContext(ctx, db, &rows, sql, args...); err != nil {
		return taskPage{}, fmt.Errorf("read tasks: %w", err)
	}
	var page taskPage
	for _, row := range rows {
		page.seen = row.Checkpoint
		if row.ID == nil {
			continue
		}
		if len(page.items) == limit {
			page.more = true
			break
		}
		item, err := taskItem(row, provider)
		if err != nil {
			return page, fmt.Errorf("task %s: %w", *row.ID, err)
		}
		page.items, page.last = append(page.items, item), *row.ID
	}
	return page, nil
}

// taskItem is the task with the position at which its order can be pulled.
func taskItem(row taskRow, provider string) ([]byte, error) {
	cut, err := disclose.Task(row.Document, provider)
	if err != nil {
		return nil, err
	}
	members, err := disclose.Members(cut)
	if err != nil {
		return nil, err
	}
	members = append(members, disclose.Member{Name: "order_position", Value: strconv.AppendInt(nil, *row.Position, 10)})
	return disclose.Object(members), nil
}

func (q *queries) listTasks(c echo.Context, who auth.Identity) error {
	if err := onlyKnown(c, "status", "limit", "cursor"); err != nil {
		return err
	}
	s, err := scopeOf(who)
	if err != nil {
		return err
	}
	statuses, err := many(c, "status", taskStatuses())
	if err != nil {
		return err
	}
	limit, err := httpapi.LimitParam(c, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	list := "tasks " + strings.Join(slices.Clone(statuses), " ")
	after := lowestID
	if err := q.openCursor(c, list, s.owner(), &after); err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	var page taskPage
	err = q.fresh(c, w, listTimeout, []string{viewTasks}, func(ctx context.Context) (int64, error) {
		var err error
		page, err = readTasks(ctx, q.db, s.provider, after, statuses, limit)
		return page.seen, err
	})
	if err != nil {
		return err
	}
	next := ""
	if page.more {
		next = q.cfg.Cursor.Seal(list, s.owner(), page.last)
	}
	return answerPage(c, page.seen, listBody(page.items, next))
}
