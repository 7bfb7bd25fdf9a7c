package command

import (
	"math"
	"strconv"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	maxStock  = 1_000_000_000 // units of one SKU that one adjustment can add or count
	maxReason = 200
)

// decodeAdjustment reads a stock adjustment strictly. A line adjusts by a delta or to a count, or what is on order, or both.
func decodeAdjustment(body []byte) (*events.StockAdjustment, error) {
	a := &events.StockAdjustment{}
	var given fields
	r := &orderReader{Reader: httpapi.NewReader(body)}
	r.Object(func(name string) {
		switch name {
		case "adjustment_id":
			given |= hasRef
			r.text(&a.AdjustmentID, 1, maxRef)
		case "lines":
			given |= hasLines
			seen := map[string]bool{}
			r.Array(maxLines, func(i int) {
				line := decodeAdjusted(r, i)
				if line.SKU != "" && seen[line.SKU] {
					r.InvalidAt("/lines/"+strconv.Itoa(i)+"/sku", "is in another line too")
				}
				seen[line.SKU] = true
				a.Lines = append(a.Lines, line)
			})
			if len(a.Lines) == 0 && r.OK() {
				r.InvalidAt("/lines", "must have at least one line")
			}
		default:
			r.Unknown()
		}
	})
	r.Require("adjustment_id", given.has(hasRef))
	r.Require("lines", given.has(hasLines))
	return a, r.Finish()
}

func decodeAdjusted(r *orderReader, i int) events.AdjustedStock {
	var line events.AdjustedStock
	given := map[string]bool{}
	at := func(name string) string { return "/lines/" + strconv.Itoa(i) + "/" + name }
	r.Object(func(name string) {
		given[name] = true
		switch name {
		case "sku":
			r.text(&line.SKU, 1, maxRef)
		case "delta":
			r.Int(&line.Delta, -maxStock, maxStock)
		case "counted":
			line.Counted = new(int64)
			r.Int(line.Counted, 0, maxStock)
		case "on_order_delta":
			r.Int(&line.OnOrderDelta, -maxStock, maxStock)
		case "reason":
			r.text(&line.Reason, 0, maxReason)
		default:
			r.Unknown()
		}
	})
	if !r.OK() {
		return line
	}
	switch {
	case !given["sku"]:
		r.InvalidAt(at("sku"), "is required")
	case given["delta"] && given["counted"]:
		r.InvalidAt(at("counted"), "cannot be given together with delta")
	case !given["delta"] && !given["counted"] && !given["on_order_delta"]:
		r.InvalidAt(at("delta"), "is required, or counted, or on_order_delta")
	}
	return line
}

// decodeRun reads what a replenishment run found.
func decodeRun(body []byte) (tenant string, run *events.ReplenishmentRun, err error) {
	run = &events.ReplenishmentRun{}
	given := map[string]bool{}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		given[name] = true
		switch name {
		case "tenant":
			r.ID(&tenant)
		case "run_id":
			r.String(&run.RunID, 1, maxRef)
		case "position":
			r.Int(&run.Position, 0, math.MaxInt64)
		case "vendors":
			r.Int(&run.Vendors, 0, math.MaxInt32)
		case "lines":
			r.Int(&run.Lines, 0, math.MaxInt32)
		default:
			r.Unknown()
		}
	})
	for _, name := range []string{"tenant", "run_id", "position"} {
		r.Require(name, given[name])
	}
	return tenant, run, r.Finish()
}
