package auxiliary

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/orderstore/orderstore/events"
)

func TestWhatCameBackBeforeTheEndIsNotBilled(t *testing.T) {
	t.Parallel()
	order := events.New(events.OrderPlaced, noon(), nil)
	bill := billOf(&order, &events.Placed{Currency: "EUR", Shipping: 5, Lines: []events.PlacedLine{
		{LineID: "1", SKU: "cup", Quantity: 4, UnitPrice: 100, Discount: 40, Tax: 8, Total: 368}, {LineID: "2", SKU: "pot", Quantity: 1, UnitPrice: 9, Total: 9},
	}})
	for _, e := range []events.Event{
		events.New(events.TaskResultPosted, noon(), results(
			events.ResultLine{LineID: "1", Quantity: 3, Outcome: events.LineFulfilled}, events.ResultLine{LineID: "2", Quantity: 1, Outcome: events.LineFulfilled})),
		events.New(events.OrderReturned, noon(), &events.OrderReturn{ReturnID: "r", Lines: []events.ReturnedLine{
			{LineID: "1", SKU: "cup", Quantity: 1, Restock: true, Total: 92}, {LineID: "2", SKU: "pot", Quantity: 1, Total: 9},
		}}),
		events.New(events.TaskResultPosted, noon(), results(events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineRejected})),
	} {
		assert.True(t, billed(e.Type))
		bill.take(&e)
	}
	assert.Equal(t, []billLine{{LineID: "1", SKU: "cup", Quantity: 2, UnitPrice: 100, Discount: 20, Net: 180, Tax: 4, Total: 184}}, bill.delivered())
	assert.EqualValues(t, 189, bill.total())
}
