package auxiliary

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// LoyaltyName is the system that gives points for completed orders.
const LoyaltyName = "loyalty"

const (
	loyaltyRecord = "points" // record id and kind
	loyaltySchema = 1
)

// Loyalty gives a point for each whole unit of the currency that a completed order brought: 12.99 USD and 12 JPY are 12 points,
// 1.500 KWD is 1. An order that is cancelled or returned after that loses them again; one that comes back in part counts for what is left
// of it.
type Loyalty struct{}

// NewLoyalty makes the system.
func NewLoyalty() *Loyalty { return &Loyalty{} }

// Name is the system's name.
func (*Loyalty) Name() string { return LoyaltyName }

// loyaltyPoints is the record's payload.
type loyaltyPoints struct {
	Points int64 `json:"points"` // what the order counts for now
	Earned int64 `json:"earned"`
	Taken  bool  `json:"taken_back"` // all of them
}

type earned struct {
	tenant   string
	points   int64
	taken    bool // all
	currency string
	kept     int64 // minor units that the order brought and that have not come back
	counts   int64 // points for them
	position int64 // 0: not changed by this batch
}

// lose takes back what units came to that a customer brought back.
func (p *earned) lose(back *events.OrderReturn) {
	for i := range back.Lines {
		p.kept -= back.Lines[i].Total
	}
	p.kept = max(p.kept, 0)
	p.counts = min(pointsOf(p.kept, p.currency), p.points)
}

func pointsOf(total int64, currency string) int64 {
	for range minorDigits(currency) {
		total /= 10
	}
	return max(total, 0)
}

const selectPoints = `SELECT order_id::text, points, taken, currency, kept, counts FROM loyalty_points WHERE order_id = ANY ($1::text[]::uuid[])`

const upsertPoints = `
INSERT INTO loyalty_points (order_id, points, taken, currency, kept, counts)
SELECT p.order_id::uuid, p.points, p.taken, p.currency, p.kept, p.counts
FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::text[], $5::bigint[], $6::bigint[]) AS p (order_id, points, taken, currency, kept, counts)
ON CONFLICT (order_id) DO UPDATE SET taken = excluded.taken, kept = excluded.kept, counts = excluded.counts`

// Needs are the events that change bills or end orders.
func (*Loyalty) Needs(t events.Type) bool { return mayEnd(t) }

// Apply gives and takes points.
func (*Loyalty) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	done := map[int64]*orderBill{}
	err := foldBills(ctx, tx, LoyaltyName, batch, withoutNames, func(e *events.Event, b *orderBill) error {
		if e.Type == events.OrderCompleted {
			done[e.Position] = b
		}
		return nil
	})
	if err != nil {
		return err
	}
	have, err := loadPoints(ctx, tx, batch.Events)
	if err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		was, bill := have[e.OrderID], done[e.Position]
		switch {
		case was == nil && bill != nil:
			points := pointsOf(bill.total(), bill.Currency)
			have[e.OrderID] = &earned{
				tenant: e.Tenant, points: points, currency: bill.Currency, kept: bill.total(), counts: points, position: e.Position,
			}
		case was == nil || was.taken:
		case credits(e):
			was.tenant, was.taken, was.kept, was.counts, was.position = e.Tenant, true, 0, 0, e.Position
		case e.Type == events.OrderReturned:
			was.lose(e.Data.(*events.OrderReturn)) //nolint:forcetypeassert // the type's payload
			was.tenant, was.position = e.Tenant, e.Position
		}
	}
	return savePoints(ctx, tx, batch, have)
}

// withoutNames drops what points do not depend on.
func withoutNames(b *orderBill) {
	b.Customer = nil
	for i := range b.Lines {
		b.Lines[i].Name = ""
	}
}

func loadPoints(ctx context.Context, tx pgx.Tx, all []events.Event) (map[string]*earned, error) {
	have := map[string]*earned{}
	var ids []string
	for i := range all {
		if e := &all[i]; e.OrderID != "" && (e.Type == events.OrderCompleted || e.Type == events.OrderReturned || credits(e)) {
			ids = append(ids, e.OrderID)
		}
	}
	if len(ids) == 0 {
		return have, nil
	}
	rows, err := tx.Query(ctx, selectPoints, distinct(ids))
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	var id string
	var row earned
	_, err = pgx.ForEachRow(rows, []any{&id, &row.points, &row.taken, &row.currency, &row.kept, &row.counts}, func() error {
		was := row
		have[id] = &was
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read points: %w", err)
	}
	return have, nil
}

func savePoints(ctx context.Context, tx pgx.Tx, batch Batch, have map[string]*earned) error {
	var ids, currencies []string
	var points, kept, counts []int64
	var taken []bool
	var made []madeRecord
	for id, p := range have {
		if p.position == 0 {
			continue
		}
		ids, points, taken = append(ids, id), append(points, p.points), append(taken, p.taken)
		currencies, kept, counts = append(currencies, p.currency), append(kept, p.kept), append(counts, p.counts)
		payload := loyaltyPoints{Points: p.counts, Earned: p.points, Taken: p.taken}
		made = append(made, madeRecord{id, loyaltyRecord, loyaltyRecord, p.tenant, payload, p.position})
	}
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, upsertPoints, ids, points, taken, currencies, kept, counts); err != nil {
		return fmt.Errorf("store points: %w", err)
	}
	return storeMade(ctx, tx, LoyaltyName, loyaltySchema, batch.Now, made)
}

const deletePoints = `DELETE FROM loyalty_points`

// Reset removes all points. They come again from the log.
func (*Loyalty) Reset(ctx context.Context, tx pgx.Tx) error {
	return reset(ctx, tx, LoyaltyName, deletePoints)
}
