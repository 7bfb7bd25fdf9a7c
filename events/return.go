package events

import (
	"fmt"
	"slices"
	"time"
)

// OrderReturn is the payload of order.returned.
type OrderReturn struct {
	ReturnID   string         `json:"return_id"` // the user's, unique within the order
	Lines      []ReturnedLine `json:"lines"`     // each line once
	Reason     string         `json:"reason,omitempty"`
	OccurredAt time.Time      `json:"occurred_at,omitzero"` // by the user's clock; zero: it was not said
}

// ReturnedLine is how much of a line came back.
type ReturnedLine struct {
	LineID   string `json:"line_id"`
	SKU      string `json:"sku"` // the line's
	Quantity int64  `json:"quantity"`
	Restock  bool   `json:"restock"` // it can be sold again; otherwise it is written off
	Total    int64  `json:"total"`   // its share of the line's total, in minor units; the shares of all units add up to it
}

// Same says whether two returns say the same. What they come to follows from what had come back before.
func (r *OrderReturn) Same(other *OrderReturn) bool {
	return r.ReturnID == other.ReturnID && r.Reason == other.Reason && r.OccurredAt.Equal(other.OccurredAt) &&
		slices.EqualFunc(r.Lines, other.Lines, func(a, b ReturnedLine) bool {
			return a.LineID == b.LineID && a.Quantity == b.Quantity && a.Restock == b.Restock
		})
}

// Return is a return as the order document shows it.
type Return struct {
	OrderReturn
	ReturnedAt time.Time `json:"returned_at"` // when it was recorded
}

// Return finds a return by its id; nil where the order has none such.
func (o *Order) Return(id string) *Return {
	for i := range o.Returns {
		if o.Returns[i].ReturnID == id {
			return &o.Returns[i]
		}
	}
	return nil
}

// takeBack counts what came back.
func (o *Order) takeBack(e *Event, data *OrderReturn) error {
	if o.Return(data.ReturnID) != nil {
		return fmt.Errorf("return %q came twice", data.ReturnID)
	}
	left := map[string]int64{}
	for i := range o.Lines {
		left[o.Lines[i].LineID] = o.Lines[i].Quantities.Kept()
	}
	for _, back := range data.Lines {
		if back.Quantity < 1 || back.Quantity > left[back.LineID] {
			return fmt.Errorf("line %q has %d to come back, not %d", back.LineID, left[back.LineID], back.Quantity)
		}
		left[back.LineID] -= back.Quantity
	}
	for _, back := range data.Lines {
		o.Line(back.LineID).Quantities.Returned += back.Quantity
	}
	o.Returns = append(o.Returns, Return{OrderReturn: *data, ReturnedAt: e.Time})
	return nil
}
