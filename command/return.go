package command

import (
	"fmt"
	"math/big"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// ReturnOrder says that goods of the order came back. It is applied once, however often it is sent: its id is the user's.
type ReturnOrder struct {
	onOrder
	Return events.OrderReturn
}

func (c *ReturnOrder) apply(r *round) (reply, error) {
	rep, err := c.run(r, c)
	if err == nil && !rep.replayed {
		rep.status = http.StatusCreated
	}
	return rep, err
}

func (c *ReturnOrder) decide(d *Decision) error {
	if err := c.own(d); err != nil {
		return err
	}
	back := c.Return
	back.Lines = make([]events.ReturnedLine, len(c.Return.Lines))
	for i, line := range c.Return.Lines {
		if have := d.Order.Line(line.LineID); have != nil {
			line.SKU = have.SKU
			before := have.Quantities.Returned
			line.Total = share(&have.PlacedLine, before+line.Quantity) - share(&have.PlacedLine, before)
		}
		back.Lines[i] = line
	}
	if known := d.Order.Return(back.ReturnID); known != nil {
		if !known.Same(&back) {
			return fault.New(fault.Conflict, "return %q was made before with other content", back.ReturnID)
		}
		return nil // whatever version the order has by that
	}
	if err := c.current(d); err != nil {
		return err
	}
	if err := returnable(d.Order, back.Lines); err != nil {
		return err
	}
	return d.record(events.New(events.OrderReturned, d.at, &back))
}

// share is what so many units of a line come to, rounded down. The product may need more than 64 bits.
func share(line *events.PlacedLine, units int64) int64 {
	part := new(big.Int).Mul(big.NewInt(line.Total), big.NewInt(units))
	return part.Div(part, big.NewInt(line.Quantity)).Int64()
}

// returnable checks that of each line no more comes back than is out.
func returnable(o *events.Order, lines []events.ReturnedLine) error {
	var bad []fault.Field
	for i, back := range lines {
		at := "/lines/" + strconv.Itoa(i)
		line := o.Line(back.LineID)
		switch {
		case line == nil:
			bad = append(bad, fault.Field{Pointer: at + "/line_id", Detail: "the order has no such line"})
		case back.Quantity > line.Quantities.Kept():
			bad = append(bad, fault.Field{
				Pointer: at + "/quantity", Detail: fmt.Sprintf("%d of this line are fulfilled and have not come back", line.Quantities.Kept()),
			})
		}
	}
	if len(bad) > 0 {
		return fault.InvalidFields(bad)
	}
	return nil
}

func (a *api) returnOrder(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	version, _, err := httpapi.IfMatch(c)
	if err != nil {
		return err
	}
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	command := &ReturnOrder{onOrder: onOrder{Tenant: who.Tenant, OrderID: id.String(), IfVersion: version, Traceparent: trace(c)}}
	if err := decodeReturn(body, &command.Return); err != nil {
		return err
	}
	return a.run(c, who, body, command)
}

// decodeReturn reads a return strictly. A line that came back in two states is told in two returns.
func decodeReturn(body []byte, back *events.OrderReturn) error {
	var given fields
	r := &orderReader{Reader: httpapi.NewReader(body)}
	seen := map[string]bool{}
	r.Object(func(name string) {
		switch name {
		case "return_id":
			given |= hasRef
			r.text(&back.ReturnID, 1, maxRef)
		case "lines":
			given |= hasLines
			r.Array(maxLines, func(int) { back.Lines = append(back.Lines, r.returnedLine(seen)) })
			if len(back.Lines) == 0 && r.OK() {
				r.Invalid("must have at least one line")
			}
		case "reason":
			r.text(&back.Reason, 0, maxReason)
		case "occurred_at":
			r.Time(&back.OccurredAt)
		case "returned_at":
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	r.Require("return_id", given.has(hasRef))
	r.Require("lines", given.has(hasLines))
	return r.Finish()
}

func (r *orderReader) returnedLine(seen map[string]bool) events.ReturnedLine {
	line := events.ReturnedLine{Restock: true}
	var given fields
	r.Object(func(name string) {
		switch name {
		case "line_id":
			given |= hasLines
			r.ID(&line.LineID)
			if seen[line.LineID] && line.LineID != "" {
				r.Invalid("is in another line too")
			}
			seen[line.LineID] = true
		case "quantity":
			given |= hasQuantity
			r.Int(&line.Quantity, 1, maxQuantity)
		case "restock":
			r.Bool(&line.Restock)
		case "sku", "total":
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	r.Require("line_id", given.has(hasLines))
	r.Require("quantity", given.has(hasQuantity))
	return line
}
