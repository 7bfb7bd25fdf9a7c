package projection

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/events"
)

// taskInbox keeps each task's document by provider.
func taskInbox() view {
	return view{name: TaskInbox, needs: needOrder, pace: together, check: checkTaskInbox, statement: taskInboxStatement}
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

const upsertTasks = `
INSERT INTO task_inbox (id, provider, tenant, order_id, business_type, status, offered_at, updated_at, version, position, document)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
    $8::timestamptz[], $9::bigint[], $10::bigint[], $11::bytea[])
ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at, version = excluded.version,
    position = excluded.position, document = excluded.document`

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

// taskColumns are the columns of task_inbox, in the order of the statement's parameters.
type taskColumns struct {
	id, orderID                    []pgtype.UUID
	provider, tenant, businessType []string
	status                         []events.TaskStatus
	offeredAt, updatedAt           []time.Time
	version, position              []int64
	document                       [][]byte
}

func taskInboxStatement(b *batch) (string, []any, error) {
	var c taskColumns
	for _, o := range b.orders {
		for _, t := range o.tasks {
			row, err := taskRowOf(o, t)
			if err != nil {
				return "", nil, err
			}
			c.add(row)
		}
	}
	if len(c.id) == 0 {
		return "", nil, nil
	}
	return upsertTasks, []any{
		c.id, c.provider, c.tenant, c.orderID, c.businessType, c.status, c.offeredAt, c.updatedAt, c.version, c.position, c.document,
	}, nil
}

func (c *taskColumns) add(r taskRow) {
	c.id = append(c.id, r.id)
	c.orderID = append(c.orderID, r.orderID)
	c.provider = append(c.provider, r.task.Provider)
	c.tenant = append(c.tenant, r.tenant)
	c.businessType = append(c.businessType, r.task.BusinessType)
	c.status = append(c.status, r.task.Status)
	c.offeredAt = append(c.offeredAt, r.task.OfferedAt)
	c.updatedAt = append(c.updatedAt, r.task.UpdatedAt)
	c.version = append(c.version, r.task.Version)
	c.position = append(c.position, r.position)
	c.document = append(c.document, r.document)
}
