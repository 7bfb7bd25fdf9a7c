package auxiliary

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/orderstore/orderstore/events"
)

// trade makes histories of orders of some tenants, interleaved: partial results, several outcomes of the same unit, amendments,
// cancellations before and after completion, returns.
func trade(seed uint64, orders int) []events.Event {
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // any order of values will do
	histories := make([][]events.Event, orders)
	for i := range histories {
		histories[i] = oneTrade(r, i)
	}
	var all []events.Event
	for len(histories) > 0 {
		i := r.IntN(min(len(histories), 12)) // so many run beside each other
		all = append(all, histories[i][0])
		if histories[i] = histories[i][1:]; len(histories[i]) == 0 {
			histories = append(histories[:i], histories[i+1:]...)
		}
	}
	return all
}

func oneTrade(r *rand.Rand, n int) []events.Event {
	order := placed(tradeCustomer(r))
	order.Tenant = []string{"demo", "other", "third"}[r.IntN(3)]
	p, _ := order.Data.(*events.Placed)
	p.Currency = []string{"USD", "JPY", "KWD"}[r.IntN(3)]
	p.Channel = []string{"web", "pos", "app"}[r.IntN(3)]
	p.Lines, p.Total = nil, p.Shipping
	order.Time = noon().Add(time.Duration(n) * time.Hour)
	for i := range 1 + r.IntN(3) {
		l := events.PlacedLine{
			LineID: fmt.Sprint(i + 1), SKU: fmt.Sprint("sku-", r.IntN(5)), Name: "商品 <b>", Quantity: 1 + r.Int64N(9),
			UnitPrice: 100 + r.Int64N(90_000), Discount: r.Int64N(100), Tax: r.Int64N(5_000),
		}
		l.Total = l.Quantity*l.UnitPrice - l.Discount + l.Tax
		p.Lines, p.Total = append(p.Lines, l), p.Total+l.Total
	}
	all := []events.Event{order}
	next := func() int64 { return int64(len(all)) + 1 }
	if r.IntN(4) == 0 {
		amended := &events.Amended{Changed: []string{events.PartCustomer}, Lines: p.Lines, Shipping: p.Shipping + 7, Customer: tradeCustomer(r)}
		all = append(all, following(order, events.OrderAmended, next(), amended))
	}
	open := map[string]int64{}
	for _, l := range p.Lines {
		done := r.Int64N(l.Quantity + 1)
		if l.LineID == "1" {
			done = max(done, 1)
		}
		if done > 0 {
			all = append(all, fulfilled(order, next(), events.ResultLine{LineID: l.LineID, Quantity: done, Outcome: events.LineFulfilled}))
		}
		open[l.LineID] = l.Quantity - done
	}
	var rest []events.TaskQuantity
	for _, l := range p.Lines {
		if open[l.LineID] > 0 {
			rest = append(rest, events.TaskQuantity{LineID: l.LineID, Quantity: open[l.LineID]})
		}
	}
	if len(rest) > 0 {
		all = append(all, following(order, events.OrderCancelled, next(), &events.OrderCancellation{Reason: "enough", Lines: rest}))
	}
	all = append(all, following(order, events.OrderCompleted, next(), &events.Closed{}))
	late := fulfilled(order, next(), events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineFulfilled})
	late.Data.(*events.ResultPosted).Late = true
	all = append(all, late)
	fate := r.IntN(6)
	if fate > 3 {
		all = append(all, comingBack(r, order, p.Lines, open, next())...)
	}
	switch fate {
	case 0, 4:
		end := following(order, events.OrderCancelled, next(), &events.OrderCancellation{Reason: "sent back"})
		end.Status = events.OrderStatusCancelled
		all = append(all, end)
	case 1:
		back := following(order, events.TaskHeld, next(), &events.Held{})
		back.FulfillmentStatus = events.Returned
		all = append(all, back)
	}
	return all
}

// comingBack are returns of some or all of what was fulfilled, each with its share as the write side computes it.
func comingBack(r *rand.Rand, order events.Event, lines []events.PlacedLine, open map[string]int64, version int64) []events.Event {
	var all []events.Event
	back, left := map[string]int64{}, int64(0)
	for _, l := range lines {
		left += l.Quantity - open[l.LineID]
	}
	for range 1 + r.IntN(8) {
		data := &events.OrderReturn{ReturnID: fmt.Sprint("back-", version), Reason: "too small"}
		for _, l := range lines {
			units := r.Int64N(l.Quantity - open[l.LineID] - back[l.LineID] + 1)
			if units == 0 {
				continue
			}
			before := l.Total * back[l.LineID] / l.Quantity
			back[l.LineID] += units
			left -= units
			data.Lines = append(data.Lines, events.ReturnedLine{
				LineID: l.LineID, SKU: l.SKU, Quantity: units, Restock: true, Total: l.Total*back[l.LineID]/l.Quantity - before,
			})
		}
		if len(data.Lines) == 0 {
			continue
		}
		e := following(order, events.OrderReturned, version, data)
		if version++; left == 0 {
			e.FulfillmentStatus = events.Returned
		}
		if all = append(all, e); left == 0 {
			break
		}
	}
	return all
}

// tradeCustomer is one of a few people, known by an e-mail, a phone or both, written in several ways.
func tradeCustomer(r *rand.Rand) *events.Customer {
	person := r.IntN(12)
	c := &events.Customer{Name: fmt.Sprint("Person ", person)}
	switch r.IntN(6) {
	case 0:
		return nil
	case 1, 2:
		c.Email = fmt.Sprintf("Person%d@Example.COM", person)
	case 3, 4:
		c.Phone = fmt.Sprintf("+49 30 9018 %02d20", person)
	case 5:
		c.Email, c.Phone = fmt.Sprintf(" person%d@example.com ", person), fmt.Sprintf("+493090 18%02d20", person)
	}
	return c
}
