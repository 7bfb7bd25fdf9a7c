package command

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// expect notes the deadlines that an order's tasks have to have stored.
func (s *verifier) expect(o *events.Order) {
	for i := range o.Tasks {
		if due, _ := o.Tasks[i].Due(); !due.IsZero() {
			s.due[o.Tasks[i].ID] = due
		}
	}
}

const scanDeadlines = `
SELECT d.task_id::text, d.due_at, coalesce(t.order_id::text, '') FROM deadlines d LEFT JOIN tasks t ON t.id = d.task_id`

// compareDeadlines compares what is stored with what this pass's tasks say: a deadline that is missing would never pass.
func (s *verifier) compareDeadlines(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, scanDeadlines)
	if err != nil {
		return fmt.Errorf("read deadlines: %w", err)
	}
	var id, order string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at, &order}, func() error {
		if passOf(order, s.passes) != s.pass {
			return nil
		}
		want, known := s.due[id]
		delete(s.due, id)
		if !known || !want.Equal(at) {
			s.v.differs(s.v.Position, "the deadline of task %s is stored as %s, the log says %s", id, stamp(at), stamp(want))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read deadlines: %w", err)
	}
	for id, want := range s.due {
		s.v.differs(s.v.Position, "the deadline of task %s, %s, is not stored", id, stamp(want))
	}
	return nil
}

// stamp writes a deadline; there may be none.
func stamp(at time.Time) string {
	if at.IsZero() {
		return "none"
	}
	return at.UTC().Format(time.RFC3339Nano)
}
