package command

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

// The kinds of facts.
const (
	factAdjustment = "stock_adjustment"
	factRun        = "replenishment_run"
)

// TellFact puts into the log, once, what a party says under an id of its own and what is about no order.
type TellFact struct {
	ref         factRef
	member      string // what the id is called in the answer
	eventType   events.Type
	payload     any
	hash        [sha256.Size]byte
	traceparent string
}

// factRef is the sender's own name of a fact, unique for ever.
type factRef struct{ tenant, kind, id string }

// fact is one that is stored.
type fact struct {
	hash     [sha256.Size]byte
	position int64
}

// AdjustStock says what became of a tenant's goods without an order.
func AdjustStock(tenant string, a *events.StockAdjustment, traceparent string) (*TellFact, error) {
	ref := factRef{tenant: tenant, kind: factAdjustment, id: a.AdjustmentID}
	return newFact(ref, "adjustment_id", events.StockAdjusted, a, traceparent)
}

// RaiseReplenishment says that products of a tenant have to be bought.
func RaiseReplenishment(tenant string, run *events.ReplenishmentRun, traceparent string) (*TellFact, error) {
	ref := factRef{tenant: tenant, kind: factRun, id: run.RunID}
	return newFact(ref, "run_id", events.ReplenishmentDue, run, traceparent)
}

func newFact(ref factRef, member string, t events.Type, payload any, traceparent string) (*TellFact, error) {
	content, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("hash %s: %w", ref.kind, err)
	}
	return &TellFact{ref, member, t, payload, sha256.Sum256(content), traceparent}, nil
}

func (c *TellFact) wants(w *wants) { w.facts = append(w.facts, c.ref) }

func (c *TellFact) apply(r *round) (reply, error) {
	if known, ok := r.facts[c.ref]; ok && !seeded.On(seeded.FactTwice) {
		if known.hash != c.hash && c.ref.kind != factRun {
			return reply{}, fault.New(fault.Conflict, "%s %q was used before with other content", c.member, c.ref.id).
				With("position", known.position)
		}
		return c.reply(known.position, http.StatusOK, true)
	}
	e := events.New(c.eventType, r.at, c.payload)
	e.Tenant, e.Traceparent, e.Position = c.ref.tenant, c.traceparent, r.next()
	r.events = append(r.events, e)
	r.facts[c.ref] = fact{hash: c.hash, position: e.Position}
	if !seeded.On(seeded.FactTwice) {
		r.told = append(r.told, c.ref)
	}
	return c.reply(e.Position, http.StatusCreated, false)
}

func (c *TellFact) reply(position int64, status int, replayed bool) (reply, error) {
	document, err := json.Marshal(map[string]any{c.member: c.ref.id, "position": position})
	if err != nil {
		return reply{}, fmt.Errorf("encode answer: %w", err)
	}
	return reply{status: status, document: document, position: position, replayed: replayed}, nil
}

const (
	selectFacts = `
SELECT f.tenant, f.kind, f.id, f.content_hash, f.position
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant, kind, id) JOIN facts f USING (tenant, kind, id)`
	copyFacts = `facts (tenant, kind, id, content_hash, position)`
)

func queueFacts(batch *pgx.Batch, refs []factRef, r *round) {
	if len(refs) == 0 {
		return
	}
	var tenants, kinds, ids []string
	for _, ref := range refs {
		tenants, kinds, ids = append(tenants, ref.tenant), append(kinds, ref.kind), append(ids, ref.id)
	}
	batch.Queue(selectFacts, tenants, kinds, ids).Query(func(rows pgx.Rows) error {
		var ref factRef
		var hash []byte
		var stored fact
		_, err := pgx.ForEachRow(rows, []any{&ref.tenant, &ref.kind, &ref.id, &hash, &stored.position}, func() error {
			copy(stored.hash[:], hash)
			r.facts[ref] = stored
			return nil
		})
		return err
	})
}

func putFacts(bulk *postgres.Bulk, r *round) {
	if len(r.told) == 0 {
		return
	}
	bulk.Copy(copyFacts, 5)
	for _, ref := range r.told {
		told := r.facts[ref]
		bulk.Row()
		bulk.Text(ref.tenant)
		bulk.Text(ref.kind)
		bulk.Text(ref.id)
		bulk.Bytes(told.hash[:])
		bulk.Int8(told.position)
	}
}
