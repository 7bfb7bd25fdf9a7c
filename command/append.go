package command

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	advanceHead  = `SELECT advance_log_head($1, $2, $3, $4)`
	insertEvents = `
INSERT INTO order_events (position, recorded_at, subject, event, digest)
SELECT p, $5, s, e, d FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[]) AS u (p, s, e, d)`
	insertOrders = `
INSERT INTO orders (id, tenant, channel, external_ref, content_hash, status, version, position, open_quantities, state)
SELECT i::uuid, t, c, r, h, s, v, p, q::bigint[], d
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[], $9::text[], $10::bytea[])
	AS u (i, t, c, r, h, s, v, p, q, d)`
	updateOrders = `
UPDATE orders o SET status = s, version = v, position = p, open_quantities = q::bigint[], state = d
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[]) AS u (i, s, v, p, q, d)
WHERE o.id = u.i::uuid`
	insertTasks = `
INSERT INTO tasks (id, order_id, provider)
SELECT i::uuid, o::uuid, p FROM unnest($1::text[], $2::text[], $3::text[]) AS u (i, o, p)`
	insertResults = `
INSERT INTO results (provider, result_id, task_id, content_hash)
SELECT p, r, t::uuid, h FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS u (p, r, t, h)`
	upsertRegistry = `
INSERT INTO registry (kind, id, position, document) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, id) DO UPDATE SET position = excluded.position, document = excluded.document`
	addLoads = `
INSERT INTO provider_load AS l (provider, open) SELECT * FROM unnest($1::text[], $2::bigint[])
ON CONFLICT (provider) DO UPDATE SET open = l.open + excluded.open`
)

// commit stores a round in one round trip: all of it, or nothing. The first statement fails when the log's end is no longer
// where the round started from, so everything that was read and decided holds.
func (s *store) commit(ctx context.Context, r *round, p *plan) error {
	batch := &pgx.Batch{}
	batch.Queue(advanceHead, s.cell, p.from.position, p.to.position, p.to.digest[:])
	queueEvents(batch, p.records, r.at)
	queueOrders(batch, r.touched)
	queueTasks(batch, r.tasks)
	queueResults(batch, r.posted)
	for _, e := range r.entries {
		batch.Queue(upsertRegistry, e.Kind, e.ID, e.Position, e.Document)
	}
	queueLoads(batch, r.loads)
	if err := queueAnswers(batch, insertAnswers, r.kept, r.at); err != nil {
		return err
	}
	return postgres.CommitBatch(ctx, s.pool, batch)
}

func queueEvents(batch *pgx.Batch, records []record, at time.Time) {
	positions, subjects := make([]int64, len(records)), make([]string, len(records))
	bodies, digests := make([][]byte, len(records)), make([][]byte, len(records))
	for i := range records {
		positions[i], subjects[i] = records[i].position, records[i].subject
		bodies[i], digests[i] = records[i].body, records[i].digest[:]
	}
	batch.Queue(insertEvents, positions, subjects, bodies, digests, at)
}

// orderColumns are the columns of many orders, each an array.
type orderColumns struct {
	ids, tenants, channels, refs, statuses, open []string
	hashes, states                               [][]byte
	versions, positions                          []int64
}

func (c *orderColumns) add(state *orderState) {
	o := state.order
	c.ids, c.tenants = append(c.ids, o.ID), append(c.tenants, o.Tenant)
	c.channels, c.refs = append(c.channels, o.Channel), append(c.refs, o.ExternalRef)
	c.statuses, c.open = append(c.statuses, string(o.Status)), append(c.open, openQuantities(o))
	c.hashes, c.states = append(c.hashes, state.hash[:]), append(c.states, state.encoded)
	c.versions, c.positions = append(c.versions, o.Version), append(c.positions, state.position)
}

func queueOrders(batch *pgx.Batch, touched []*orderState) {
	var inserted, updated orderColumns
	for _, state := range touched {
		if state.stored {
			updated.add(state)
			continue
		}
		inserted.add(state)
	}
	if c := &inserted; len(c.ids) > 0 {
		batch.Queue(insertOrders, c.ids, c.tenants, c.channels, c.refs, c.hashes, c.statuses, c.versions, c.positions, c.open, c.states)
	}
	if c := &updated; len(c.ids) > 0 {
		batch.Queue(updateOrders, c.ids, c.statuses, c.versions, c.positions, c.open, c.states)
	}
}

func queueTasks(batch *pgx.Batch, tasks []taskRow) {
	if len(tasks) == 0 {
		return
	}
	ids, orders, providers := make([]string, len(tasks)), make([]string, len(tasks)), make([]string, len(tasks))
	for i, t := range tasks {
		ids[i], orders[i], providers[i] = t.id, t.orderID, t.provider
	}
	batch.Queue(insertTasks, ids, orders, providers)
}

func queueResults(batch *pgx.Batch, posted []*PostResult) {
	if len(posted) == 0 {
		return
	}
	providers, ids, tasks := make([]string, len(posted)), make([]string, len(posted)), make([]string, len(posted))
	hashes := make([][]byte, len(posted))
	for i, c := range posted {
		providers[i], ids[i], tasks[i], hashes[i] = c.Provider, c.Result.ResultID, c.TaskID, c.Hash[:]
	}
	batch.Queue(insertResults, providers, ids, tasks, hashes)
}

func queueLoads(batch *pgx.Batch, loads map[string]int64) {
	var providers []string
	var by []int64
	for provider, n := range loads {
		if n != 0 {
			providers, by = append(providers, provider), append(by, n)
		}
	}
	if len(providers) > 0 {
		batch.Queue(addLoads, providers, by)
	}
}
