package events

// ReasonReturn is the reason for which an adjustment puts back what had been sold. Any other text is a reason too.
const ReasonReturn = "return"

// StockAdjustment is the payload of stock.adjusted: what the user says of goods that no order has moved.
type StockAdjustment struct {
	AdjustmentID string          `json:"adjustment_id"`
	Lines        []AdjustedStock `json:"lines"`
}

// AdjustedStock is the adjustment of one SKU: by a difference, or to what was counted.
type AdjustedStock struct {
	SKU          string `json:"sku"`
	Delta        int64  `json:"delta,omitempty"`          // to what is on hand
	Counted      *int64 `json:"counted,omitempty"`        // what is on hand, whatever it was before
	OnOrderDelta int64  `json:"on_order_delta,omitempty"` // to what was ordered from the vendor and has not come yet
	Reason       string `json:"reason,omitempty"`
}

// ReplenishmentRun is the payload of replenishment.due. The form itself is read at the event's dataref.
type ReplenishmentRun struct {
	RunID    string `json:"run_id"`
	Position int64  `json:"position"` // of the stock that the run looked at
	Vendors  int64  `json:"vendors"`
	Lines    int64  `json:"lines"` // products to be bought
}
