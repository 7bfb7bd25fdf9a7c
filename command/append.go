package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

const (
	advanceHead  = `SELECT advance_log_head(%d::smallint, %d, %d, '\x%x'::bytea)`
	copyEvents   = `order_events (position, recorded_at, subject, event, digest)`
	copyOrders   = `orders (id, tenant, channel, external_ref, content_hash, status, version, position, open_quantities, state, customer_key)`
	copyTasks    = `tasks (id, order_id, provider)`
	copyResults  = `results (provider, result_id, task_id, content_hash)`
	requireKeys  = `SELECT require_customer_keys($1::text[]::uuid[])`
	updateOrders = `
UPDATE orders o SET status = s, version = v, position = p, open_quantities = q::bigint[], kept_quantities = k::bigint[], state = d, customer_key = nullif(c, '')::uuid
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bytea[], $8::text[]) AS u (i, s, v, p, q, k, d, c)
WHERE o.id = u.i::uuid`
	upsertRegistry = `
INSERT INTO registry (kind, id, position, document) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, id) DO UPDATE SET position = excluded.position, document = excluded.document`
	addLoads = `
INSERT INTO provider_load AS l (provider, open) SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (provider) DO UPDATE SET open = l.open + excluded.open`
)

// commit stores a round in one round trip: all of it, or nothing. The first statement fails when the log's end is no longer
// where the round started from, so everything that was read and decided holds.
func (s *store) commit(ctx context.Context, r *round, p *plan, lock *headLock) error {
	if s.ledger != nil {
		return s.ledgerAppend(ctx, r, p, lock)
	}
	bulk := postgres.NewBulk()
	if seeded.On(seeded.PositionsLost) {
		bulk.Exec(`UPDATE log_head SET position = %d, digest = '\x%x'::bytea`, p.to.position, p.to.digest[:])
	} else {
		bulk.Exec(advanceHead, s.cell, p.from.position, p.to.position, p.to.digest[:])
	}
	putEvents(bulk, p.records, r.at)
	if err := putOrders(bulk, r.touched); err != nil {
		return err
	}
	if err := putTasks(bulk, r.tasks); err != nil {
		return err
	}
	if err := putResults(bulk, r.posted); err != nil {
		return err
	}
	putFacts(bulk, r)
	if err := putAnswers(bulk, r.kept, r.at); err != nil {
		return err
	}
	if err := putDeadlines(bulk, r.deadlines); err != nil {
		return err
	}
	for _, e := range r.entries {
		bulk.Query(upsertRegistry, e.Kind, e.ID, e.Position, e.Document)
	}
	if len(r.sealedUnder) > 0 {
		if sql, args := s.keys.Storing(maps.Keys(r.sealedUnder)); sql != "" {
			bulk.Query(sql, args...)
		}
		bulk.Query(requireKeys, slices.Collect(maps.Keys(r.sealedUnder)))
	}
	if len(r.destroyed) > 0 {
		bulk.Query(destroyKeys, r.destroyed, r.at)
	}
	putLoads(bulk, r.loads)
	putDays(bulk, r)
	putCircuits(bulk.Query, r)
	putReports(bulk.Query, r)
	if lock != nil {
		return lock.commit(ctx, bulk)
	}
	_, err := bulk.Commit(ctx, s.pool)
	return err
}

func putEvents(bulk *postgres.Bulk, records []record, at time.Time) {
	bulk.Copy(copyEvents, 5)
	for i := range records {
		r := &records[i]
		bulk.Row()
		bulk.Int8(r.position)
		bulk.Time(at)
		bulk.Text(r.subject)
		bulk.Bytes(r.body)
		bulk.Bytes(r.digest[:])
	}
}

// putOrders copies new orders and updates the others.
func putOrders(bulk *postgres.Bulk, touched []*orderState) error {
	var known orderColumns
	copied := false
	for _, state := range touched {
		if state.stored {
			known.add(state)
			continue
		}
		if !copied {
			bulk.Copy(copyOrders, 11)
			copied = true
		}
		if err := putOrder(bulk, state); err != nil {
			return err
		}
	}
	if c := &known; len(c.ids) > 0 {
		bulk.Query(updateOrders, c.ids, c.statuses, c.versions, c.positions, c.open, c.kept, c.states, c.customers)
	}
	return nil
}

// putOrder copies a new order. Nothing of it can have come back.
func putOrder(bulk *postgres.Bulk, state *orderState) error {
	o := state.order
	id, err := uuid.Parse(o.ID)
	if err != nil {
		return fmt.Errorf("order id: %w", err)
	}
	bulk.Row()
	bulk.UUID(id)
	bulk.Text(o.Tenant)
	bulk.Text(o.Channel)
	bulk.Text(o.ExternalRef)
	bulk.Bytes(state.hash[:])
	bulk.Text(string(o.Status))
	bulk.Int8(o.Version)
	bulk.Int8(state.position)
	bulk.Int8Array(len(o.Lines), func(i int) int64 { return o.Lines[i].Quantities.Open() })
	bulk.Bytes(state.encoded)
	return putCustomerKey(bulk, o)
}

func putCustomerKey(bulk *postgres.Bulk, o *events.Order) error {
	name := customerKey(o)
	if name == "" {
		bulk.Null()
		return nil
	}
	key, err := uuid.Parse(name)
	if err != nil {
		return fmt.Errorf("customer key: %w", err)
	}
	bulk.UUID(key)
	return nil
}

// customerKey names the key that the order's customer is sealed under; empty where there is none.
func customerKey(o *events.Order) string {
	if o.Customer == nil {
		return ""
	}
	return o.Customer.Key
}

// orderColumns are the columns of many orders, each an array.
type orderColumns struct {
	ids, statuses, open []string
	customers           []string
	kept                []*string
	states              [][]byte
	versions, positions []int64
}

func (c *orderColumns) add(state *orderState) {
	o := state.order
	c.customers = append(c.customers, customerKey(o))
	c.ids, c.open, c.kept = append(c.ids, o.ID), append(c.open, openQuantities(o)), append(c.kept, keptQuantities(o))
	c.statuses, c.states = append(c.statuses, string(o.Status)), append(c.states, state.encoded)
	c.versions, c.positions = append(c.versions, o.Version), append(c.positions, state.position)
}

func putTasks(bulk *postgres.Bulk, tasks []taskRow) error {
	if len(tasks) == 0 {
		return nil
	}
	bulk.Copy(copyTasks, 3)
	for _, t := range tasks {
		id, err := uuid.Parse(t.id)
		if err != nil {
			return fmt.Errorf("task id: %w", err)
		}
		order, err := uuid.Parse(t.orderID)
		if err != nil {
			return fmt.Errorf("order id: %w", err)
		}
		bulk.Row()
		bulk.UUID(id)
		bulk.UUID(order)
		bulk.Text(t.provider)
	}
	return nil
}

func putResults(bulk *postgres.Bulk, posted []*PostResult) error {
	if len(posted) == 0 {
		return nil
	}
	bulk.Copy(copyResults, 4)
	for _, c := range posted {
		task, err := uuid.Parse(c.TaskID)
		if err != nil {
			return fmt.Errorf("task id: %w", err)
		}
		bulk.Row()
		bulk.Text(c.Provider)
		bulk.Text(c.Result.ResultID)
		bulk.UUID(task)
		bulk.Bytes(c.Hash[:])
	}
	return nil
}

func putLoads(bulk *postgres.Bulk, loads map[string]int64) {
	var providers []string
	var by []int64
	for provider, n := range loads {
		if n != 0 {
			providers, by = append(providers, provider), append(by, n)
		}
	}
	if len(providers) > 0 {
		bulk.Query(addLoads, providers, by)
	}
}
