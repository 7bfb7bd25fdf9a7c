package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

// folded are the tables that systems without outside effects write, and what of them a fresh fold gives again. Which record was
// written last, and when, is not part of it.
//
//nolint:gochecknoglobals // a table that nothing changes
var folded = map[string][]foldedTable{
	InvoiceName: {
		{"invoices", "order_id, tenant, number, credit"}, {"invoice_series", "tenant, series, last"}, {"invoice_sellers", "tenant, name"},
	},
	LoyaltyName: {{"loyalty_points", "order_id, points, taken, currency, kept, counts"}},
	ProfileName: {
		{"customers", "customer_id, tenant, since, merged_into"},
		{"customer_keys", "tenant, key, customer_id"},
		{"customer_orders", "order_id, tenant, customer_id, channel, currency, total, state, placed_at, position, skus, quantities"},
	},
}

type foldedTable struct{ name, columns string }

// Folds are the systems that VerifyFold knows.
func Folds() []System { return []System{NewInvoices(), NewLoyalty(), NewProfiles()} }

// VerifyFold folds the log again with a system, in temporary tables that stand before its own, and compares. It may run beside
// the system: what it compares is one state of the database.
func VerifyFold(ctx context.Context, pool *pgxpool.Pool, log LogReader, system System) (Report, error) {
	report := Report{System: system.Name()}
	tables := slices.Concat([]foldedTable{
		{"records", "order_id, system, record_id, tenant, kind, schema_version, payload, position"}, {"order_bills", "system, order_id, bill"},
	}, folded[system.Name()])
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return report, fmt.Errorf("verify %s: %w", system.Name(), err)
	}
	defer conn.Release()
	defer func() {
		for _, table := range tables {
			_, _ = conn.Exec(context.WithoutCancel(ctx), `DROP TABLE IF EXISTS pg_temp.`+table.name)
		}
	}()
	for _, table := range tables {
		create := fmt.Sprintf(`CREATE TEMPORARY TABLE %s (LIKE public.%[1]s INCLUDING ALL)`, table.name)
		if _, err := conn.Exec(ctx, create); err != nil {
			return report, fmt.Errorf("verify %s: %w", system.Name(), err)
		}
	}
	err = postgres.InSnapshot(ctx, conn, func(tx pgx.Tx) error {
		v := verification{tx: tx, report: &report}
		if err := v.foldAgain(ctx, log, system); err != nil {
			return err
		}
		for _, table := range tables {
			if err := v.compareTable(ctx, system.Name(), table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return report, fmt.Errorf("verify %s: %w", system.Name(), err)
	}
	return report, nil
}

func (v *verification) foldAgain(ctx context.Context, log LogReader, system System) error {
	cp, err := scanCheckpoint(v.tx.QueryRow(ctx, selectCheckpoint, system.Name()))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it never ran
	}
	if err != nil {
		return err
	}
	v.report.Position = cp.position
	var digest [32]byte
	for after := int64(0); after < cp.position; {
		records, err := log.Read(ctx, after, int(min(verifyBatch, cp.position-after)))
		if err != nil {
			return err
		}
		if len(records) == 0 {
			v.report.differ("%s is at %d, the log ends at %d", system.Name(), cp.position, after)
			return nil
		}
		batch := Batch{Now: time.Unix(0, 0)}
		for i := range records {
			e, err := events.Decode(records[i].Position, records[i].Body)
			if err != nil {
				return err
			}
			batch.Events = append(batch.Events, e)
		}
		if err := system.Apply(ctx, v.tx, batch); err != nil {
			return err
		}
		last := &records[len(records)-1]
		after, digest = last.Position, last.Digest
	}
	if digest != cp.digest {
		v.report.differ("the digest at %d is not the log's", cp.position)
	}
	return nil
}

// Rows of one that the other has not, both ways.
const compareTables = `
SELECT 'stored', t::text FROM (SELECT %[2]s FROM public.%[1]s WHERE %[3]s EXCEPT ALL SELECT %[2]s FROM pg_temp.%[1]s) t
UNION ALL
SELECT 'expected', t::text FROM (SELECT %[2]s FROM pg_temp.%[1]s EXCEPT ALL SELECT %[2]s FROM public.%[1]s WHERE %[3]s) t`

func (v *verification) compareTable(ctx context.Context, system string, table foldedTable) error {
	mine := `$1 <> ''` // the table is the system's alone
	if table.name == "records" || table.name == "order_bills" {
		mine = `system = $1`
	}
	rows, err := v.tx.Query(ctx, fmt.Sprintf(compareTables, table.name, table.columns, mine), system)
	if err != nil {
		return fmt.Errorf("compare %s: %w", table.name, err)
	}
	var which, row string
	_, err = pgx.ForEachRow(rows, []any{&which, &row}, func() error {
		v.report.differ("%s: only %s: %.80s", table.name, which, row)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare %s: %w", table.name, err)
	}
	if table.name == "records" {
		return v.tx.QueryRow(ctx, `SELECT count(DISTINCT order_id) FROM pg_temp.records`).Scan(&v.report.Orders)
	}
	return nil
}
