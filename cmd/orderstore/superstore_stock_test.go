package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// The stock that each product begins with, and where it is to be bought again. Nobody bought 150 of one product, so the form of this
// opening is empty; a loss of lossUnits of each makes one that is not.
const (
	openingUnits = 200
	reorderUnits = 50
	lossUnits    = 130
)

// counted is what the test itself finds in the file of real orders.
type counted struct {
	units  map[string]int64  // sold, by product
	vendor map[string]string // by product
	after  int64             // the position of the opening stock
}

func countSuperstore(t *testing.T) counted {
	t.Helper()
	file, err := os.Open(superstore)
	require.NoError(t, err)
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	require.NoError(t, err)
	product, quantity := slices.Index(rows[0], "Product ID"), slices.Index(rows[0], "Quantity")
	c := counted{units: map[string]int64{}, vendor: map[string]string{}}
	for _, row := range rows[1:] {
		n, err := strconv.ParseInt(row[quantity], 10, 64)
		require.NoError(t, err)
		c.units[row[product]] += n
		c.vendor[row[product]] = strings.Join(strings.Split(row[product], "-")[:2], "-")
	}
	return c
}

// stockSuperstore puts the products into the catalog and brings the opening stock.
func (s *system) stockSuperstore() counted {
	s.t.Helper()
	c := countSuperstore(s.t)
	operator := s.operator()
	var all sync.WaitGroup
	free := make(chan struct{}, 32)
	for sku, vendor := range c.vendor {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			_, err := operator.PutProduct(s.t.Context(), client.Product{SKU: sku, Tenant: "demo", VendorID: vendor, ReorderLevel: reorderUnits})
			if err != nil {
				s.t.Error(err)
			}
		})
	}
	all.Wait()
	c.after = s.adjustAll(c, "opening", openingUnits)
	return c
}

// adjustAll adjusts each product by so many units, a thousand products at a time. It gives the last position.
func (s *system) adjustAll(c counted, id string, by int64) (position int64) {
	s.t.Helper()
	var lines []client.AdjustedStock
	for sku := range c.units {
		lines = append(lines, client.AdjustedStock{SKU: sku, Delta: by, Reason: id})
	}
	n := 0
	for part := range slices.Chunk(lines, 1000) {
		n++
		done, err := s.user().AdjustStock(s.t.Context(), client.StockAdjustment{AdjustmentID: fmt.Sprint(id, n), Lines: part})
		require.NoError(s.t, err)
		position = done.Position
	}
	return position
}

// form is what is to be bought when each product had so many units to begin with.
func (c counted) form(opening int64) []client.ReplenishedVendor {
	byVendor := map[string][]client.ReplenishedLine{}
	for sku, sold := range c.units {
		if left := opening - sold; left <= reorderUnits {
			byVendor[c.vendor[sku]] = append(byVendor[c.vendor[sku]], client.ReplenishedLine{
				SKU: sku, Available: left, ReorderLevel: reorderUnits, TargetLevel: 2 * reorderUnits, Quantity: 2*reorderUnits - left,
			})
		}
	}
	form := []client.ReplenishedVendor{}
	for vendor, lines := range byVendor {
		slices.SortFunc(lines, func(a, b client.ReplenishedLine) int { return strings.Compare(a.SKU, b.SKU) })
		form = append(form, client.ReplenishedVendor{VendorID: vendor, Lines: lines})
	}
	slices.SortFunc(form, func(a, b client.ReplenishedVendor) int { return strings.Compare(a.VendorID, b.VendorID) })
	return form
}

// checkForm compares levels and form with the file, once as it is and once after a loss.
func (s *system) checkForm(c counted) {
	s.t.Helper()
	user, levels := s.user(), map[string]int64{}
	for item, err := range user.ListStock(s.t.Context(), client.StockFilter{PageSize: 200}) {
		require.NoError(s.t, err)
		require.Zero(s.t, item.Reserved, item.SKU)
		levels[item.SKU] = openingUnits - item.OnHand
	}
	require.Equal(s.t, c.units, levels, "what is gone was sold")
	opening, err := user.Replenishment(s.t.Context(), client.ReplenishmentFilter{})
	require.NoError(s.t, err)
	require.Equal(s.t, c.form(openingUnits), opening.Vendors)
	position := s.adjustAll(c, "loss", -lossUnits)
	after, err := user.Replenishment(s.t.Context(), client.ReplenishmentFilter{Position: position})
	require.NoError(s.t, err)
	require.NotEmpty(s.t, after.Vendors)
	require.Equal(s.t, c.form(openingUnits-lossUnits), after.Vendors)
	var told []client.Event
	for scanned := int64(0); scanned < position; {
		page, err := user.Feed(s.t.Context(), client.FeedRequest{After: scanned, Types: []string{"stock.adjusted"}, Limit: 500, Wait: time.Second})
		require.NoError(s.t, err)
		told, scanned = append(told, page.Events...), page.ScannedTo
	}
	require.Len(s.t, told, 4, "two parts of the opening stock and two of the loss")
	require.Equal(s.t, fmt.Sprintf("/v1/stock?position=%d", c.after), told[1].DataRef)
}
