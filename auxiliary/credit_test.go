package auxiliary

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
)

// However a line comes back in parts, of a line that was fulfilled in whole or in part: no part is below zero, each is what its event
// says to a minor unit or two, and all of them are the line.
func TestPartsOfALineAreTheLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := events.PlacedLine{LineID: "1", Quantity: rapid.Int64Range(1, 60).Draw(t, "ordered"), UnitPrice: rapid.Int64Range(0, 5_000_000_000).Draw(t, "price")}
		l.Discount = rapid.Int64Range(0, l.Quantity*l.UnitPrice).Draw(t, "discount")
		l.Tax = rapid.Int64Range(0, l.Quantity*l.UnitPrice/3+3).Draw(t, "tax")
		l.Total = l.Quantity*l.UnitPrice - l.Discount + l.Tax
		bill := orderBill{Lines: []orderBillLine{{PlacedLine: l, Fulfilled: rapid.Int64Range(1, l.Quantity).Draw(t, "fulfilled")}}}
		have := issued{document: &Invoice{Lines: bill.delivered()}}
		billed := have.document.Lines[0]
		for back := int64(0); back < billed.Quantity; {
			units := rapid.Int64Range(1, billed.Quantity-back).Draw(t, "units")
			share := portion(l.Total, back+units, l.Quantity) - portion(l.Total, back, l.Quantity)
			back += units
			part := have.part(&events.OrderReturn{Lines: []events.ReturnedLine{{LineID: "1", Quantity: units, Total: share}}})
			require.Len(t, part, 1)
			p := part[0]
			require.Equal(t, units, p.Quantity)
			require.True(t, p.Discount >= 0 && p.Tax >= 0 && p.Net >= 0 && p.Total >= 0, "%+v", p)
			require.Equal(t, p.Quantity*p.UnitPrice-p.Discount, p.Net)
			require.Equal(t, p.Net+p.Tax, p.Total)
			require.InDelta(t, share, p.Total, 2)
			have.notes = append(have.notes, &Invoice{Lines: part})
		}
		require.Empty(t, have.rest())
		sum := have.credited("1")
		require.Equal(t, [5]int64{billed.Quantity, billed.Discount, billed.Net, billed.Tax, billed.Total},
			[5]int64{sum.Quantity, sum.Discount, sum.Net, sum.Tax, sum.Total})
		require.Empty(t, have.part(&events.OrderReturn{Lines: []events.ReturnedLine{{LineID: "1", Quantity: 1, Total: 5}}}))
	})
}
