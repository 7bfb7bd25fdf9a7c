package auxiliary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
)

// StockReport is what VerifyStock found.
type StockReport struct {
	Position    int64 // the system's, up to which it was compared
	Items       int64
	Orders      int64 // not at their end
	Differences int64
	Details     []string // the first differences
}

// Clean tells that nothing differs.
func (r *StockReport) Clean() bool { return r.Differences == 0 }

func (r *StockReport) differ(format string, args ...any) {
	r.Differences++
	if len(r.Details) < maxDifferences {
		r.Details = append(r.Details, fmt.Sprintf(format, args...))
	}
}

// VerifyStock folds the log again up to where the stock is and compares every row. What orders hold is counted once more from
// their lines. It looks at one state of the auxiliary database and may run beside the system; the orders that are not at their end
// are held in memory.
func VerifyStock(ctx context.Context, pool *pgxpool.Pool, log LogReader) (StockReport, error) {
	var report StockReport
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return report, fmt.Errorf("verify stock: %w", err)
	}
	defer conn.Release()
	err = postgres.InSnapshot(ctx, conn, func(tx pgx.Tx) error {
		cp, err := scanCheckpoint(tx.QueryRow(ctx, selectCheckpoint, StockName))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // it never ran
		}
		if err != nil {
			return err
		}
		report.Position = cp.position
		book, err := foldStock(ctx, log, cp, &report)
		if err != nil {
			return err
		}
		held, err := compareStockOrders(ctx, tx, book, &report)
		if err != nil {
			return err
		}
		return compareStock(ctx, tx, book, held, &report)
	})
	if err != nil {
		return report, fmt.Errorf("verify stock: %w", err)
	}
	return report, nil
}

// foldStock makes the stock of the log up to a checkpoint.
func foldStock(ctx context.Context, log LogReader, cp checkpoint, report *StockReport) (*stockBook, error) {
	book := newStockBook()
	var digest [32]byte
	for after := int64(0); after < cp.position; {
		records, err := log.Read(ctx, after, int(min(verifyBatch, cp.position-after)))
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			report.differ("the stock is at %d, the log ends at %d", cp.position, after)
			return book, nil
		}
		for i := range records {
			e, err := events.Decode(records[i].Position, records[i].Body)
			if err != nil {
				return nil, err
			}
			if err := book.take(&e); err != nil {
				return nil, fmt.Errorf("event %d: %w", e.Position, err)
			}
			if o := book.orders[e.OrderID]; o != nil && o.ended {
				delete(book.orders, e.OrderID)
			}
		}
		last := &records[len(records)-1]
		after, digest = last.Position, last.Digest
	}
	if digest != cp.digest {
		report.differ("the digest at %d is not the log's", cp.position)
	}
	return book, nil
}

const selectAllStockOrders = `SELECT order_id::text, tenant, lines FROM stock_orders`

// compareStockOrders compares what orders hold, and adds up what their stored rows say of each SKU.
func compareStockOrders(ctx context.Context, tx pgx.Tx, book *stockBook, report *StockReport) (map[stockKey]int64, error) {
	rows, err := tx.Query(ctx, selectAllStockOrders)
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	held, seen := map[stockKey]int64{}, int64(0)
	var id, tenant string
	var encoded []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &tenant, &encoded}, func() error {
		var lines []stockLine
		want := book.orders[id]
		switch {
		case json.Unmarshal(encoded, &lines) != nil:
			report.differ("order %s cannot be read", id)
			return nil
		case want == nil:
			report.differ("order %s holds goods and is not open in the log", id)
		case want.tenant != tenant || !slices.Equal(want.lines, lines):
			report.differ("order %s has %+v, the log says %+v", id, lines, want.lines)
		}
		for _, l := range lines {
			held[stockKey{tenant, l.SKU}] += l.Open
		}
		if want != nil {
			seen++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	report.Orders = int64(len(book.orders))
	if seen != report.Orders {
		report.differ("%d of %d open orders have no row", report.Orders-seen, report.Orders)
	}
	return held, nil
}

const selectAllStock = `SELECT ` + stockColumns + ` FROM stock s`

func compareStock(ctx context.Context, tx pgx.Tx, book *stockBook, held map[stockKey]int64, report *StockReport) error {
	rows, err := tx.Query(ctx, selectAllStock)
	if err != nil {
		return fmt.Errorf("read stock: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanStock)
	if err != nil {
		return fmt.Errorf("read stock: %w", err)
	}
	report.Items = int64(len(book.items))
	left := make(map[stockKey]*stockItem, len(book.items))
	for key, item := range book.items {
		item.changed = false
		left[key] = item
	}
	slices.SortFunc(found, func(a, b *stockItem) int { return cmp.Compare(a.position, b.position) })
	for _, have := range found {
		want := left[have.stockKey]
		delete(left, have.stockKey)
		switch {
		case want == nil:
			report.differ("%s of %s is not in the log", have.sku, have.tenant)
		case *want != *have:
			report.differ("%s of %s is %+v, the log says %+v", have.sku, have.tenant, *have, *want)
		case held[have.stockKey] != have.reserved:
			report.differ("%s of %s has %d reserved, its orders hold %d", have.sku, have.tenant, have.reserved, held[have.stockKey])
		}
	}
	for key := range left {
		report.differ("%s of %s has no row", key.sku, key.tenant)
	}
	return nil
}
