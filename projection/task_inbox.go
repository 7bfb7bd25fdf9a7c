package projection

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

// taskInbox keeps each task's document by provider.
func taskInbox() view {
	return view{name: TaskInbox, code: 1, needs: needOrder, pace: together, check: checkTaskInbox, write: writeTaskInbox}
}

func checkTaskInbox(f *fact) error {
	if f.event.TaskID == "" {
		return nil
	}
	if _, err := parseID(f.event.TaskID); err != nil {
		return fmt.Errorf("task id %q: %w", f.event.TaskID, err)
	}
	return nil
}

const copyTasks = `task_inbox (id, provider, tenant, order_id, business_type, status, offered_at, updated_at, version, position, document)`

const updateTasks = `
UPDATE task_inbox i SET status = t.status, updated_at = t.updated_at, version = t.version, position = t.position, document = t.document
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::bytea[])
    AS t (id, status, updated_at, version, position, document)
WHERE i.id = t.id`

// taskRow is a row of task_inbox.
type taskRow struct {
	id, orderID pgtype.UUID
	task        *events.Task
	tenant      string
	position    int64
	document    []byte
}

func taskRowOf(o *changed, t changedTask) (taskRow, error) {
	task := &o.order.Tasks[t.index]
	id, err := parseID(task.ID)
	if err != nil {
		return taskRow{}, fmt.Errorf("task id %q: %w", task.ID, err)
	}
	document, err := task.Encode()
	if err != nil {
		return taskRow{}, fmt.Errorf("encode task %s: %w", task.ID, err)
	}
	return taskRow{id: id, orderID: o.id, task: task, tenant: o.order.Tenant, position: t.position, document: document}, nil
}

// taskColumns are the columns of tasks that are changed, in the order of the statement's parameters.
type taskColumns struct {
	id                []pgtype.UUID
	status            []string
	updatedAt         []time.Time
	version, position []int64
	document          [][]byte
}

func writeTaskInbox(b *batch, to *postgres.Bulk) error {
	var known taskColumns
	copied := false
	for _, o := range b.orders {
		for _, t := range o.tasks {
			row, err := taskRowOf(o, t)
			if err != nil {
				return err
			}
			if !t.offered {
				known.add(row)
				continue
			}
			if !copied {
				to.Copy(copyTasks, 11)
				copied = true
			}
			row.copy(to)
		}
	}
	if c := &known; len(c.id) > 0 {
		to.Query(updateTasks, c.id, c.status, c.updatedAt, c.version, c.position, c.document)
	}
	return nil
}

func (r *taskRow) copy(to *postgres.Bulk) {
	to.Row()
	to.UUID(r.id.Bytes)
	to.Text(r.task.Provider)
	to.Text(r.tenant)
	to.UUID(r.orderID.Bytes)
	to.Text(r.task.BusinessType)
	to.Text(string(r.task.Status))
	to.Time(r.task.OfferedAt)
	to.Time(r.task.UpdatedAt)
	to.Int8(r.task.Version)
	to.Int8(r.position)
	to.Bytes(r.document)
}

func (c *taskColumns) add(r taskRow) {
	c.id = append(c.id, r.id)
	c.status = append(c.status, string(r.task.Status))
	c.updatedAt = append(c.updatedAt, r.task.UpdatedAt)
	c.version = append(c.version, r.task.Version)
	c.position = append(c.position, r.position)
	c.document = append(c.document, r.document)
}
