package auxiliary

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// StockName is the system that counts what is on hand, reserved and free of each SKU.
const StockName = "stock"

// Stock folds orders, adjustments and the catalog into one row an SKU.
type Stock struct {
	beside []func(ctx context.Context)
}

// NewStock makes the system, without what is done beside it: the bucket, and the runs of the replenishment.
func NewStock() *Stock { return &Stock{} }

// Beside does what follows from what is stored, until ctx ends.
func (s *Stock) Beside(ctx context.Context) {
	var all sync.WaitGroup
	for _, run := range s.beside {
		all.Go(func() { run(ctx) })
	}
	all.Wait()
}

// Name is the system's name.
func (*Stock) Name() string { return StockName }

// Needs are the events that move goods or end orders, and what is told of products and vendors.
func (*Stock) Needs(t events.Type) bool {
	switch t {
	case events.StockAdjusted, events.ProductChanged, events.VendorChanged:
		return true
	}
	return mayEnd(t)
}

// Apply folds a batch in memory, so that an SKU that many orders move is written once.
func (*Stock) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	book := newStockBook()
	var vendors []stockVendor
	ids := stockOrdersOf(batch.Events)
	if err := loadStockOrders(ctx, tx, book, ids); err != nil {
		return err
	}
	if err := loadStock(ctx, tx, book, book.skusOf(batch.Events)); err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if err := book.take(e); err != nil {
			return fmt.Errorf("%s at %d: %w", e.Type, e.Position, err)
		}
		if v, ok := vendorIn(e); ok {
			vendors = append(vendors, v)
		}
	}
	if err := saveStockVendors(ctx, tx, vendors); err != nil {
		return err
	}
	if err := saveStockOrders(ctx, tx, book); err != nil {
		return err
	}
	return saveStock(ctx, tx, book)
}

const (
	deleteStock        = `DELETE FROM stock`
	deleteHeld         = `DELETE FROM stock_orders`
	deleteStockVendors = `DELETE FROM stock_vendors`
)

// Reset forgets everything but which runs were told of.
func (*Stock) Reset(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{deleteStock, deleteHeld, deleteStockVendors} {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("reset stock: %w", err)
		}
	}
	return nil
}
