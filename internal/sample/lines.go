package sample

import "math"

// lines fills in the order's lines: mostly few, sometimes as many as forty.
func (d *draw) lines(products []item) {
	n := d.lineCount()
	for i := range n {
		p := products[d.IntN(len(products))]
		line := Line{SKU: p.sku, Name: p.name, Quantity: d.quantity(), UnitPrice: d.price(p.price)}
		if d.percent(5) {
			line.Name = ""
		}
		if d.business.name == "hotel" {
			line.Quantity = int64(1 + d.IntN(14)) // nights
		}
		gross := line.Quantity * line.UnitPrice
		if d.percent(18) {
			line.Discount = d.round(gross*int64(one(d, []int{5, 10, 15, 20, 30, 50}))/100, gross)
		}
		line.Tax = (gross - line.Discount) * d.place.tax / 1000
		if d.index%3 == 0 {
			line.LineID = lineID(d.index, i)
		}
		d.order.Lines = append(d.order.Lines, line)
	}
}

func lineID(order, i int) string {
	switch order % 2 {
	case 0:
		return "L" + string(rune('A'+i%26)) + string(rune('a'+i/26))
	}
	return "pos-" + letters(uint64(i), 3)
}

// counted says that the order is one in sixteen whose lines are not left to chance.
func (d *draw) counted() bool { return d.index%16 == 5 }

// lineCount is long-tailed. Every sixteenth order takes the next of 1 to 40, so that each count comes up.
func (d *draw) lineCount() int {
	const most = 40
	if d.counted() {
		return 1 + d.index/16*7%most
	}
	if d.business.single {
		return 1 + d.IntN(2)
	}
	return min(1+int(d.ExpFloat64()*2.2), most)
}

func (d *draw) quantity() int64 {
	if !d.business.wholesale {
		return min(1+int64(d.ExpFloat64()*0.9), 24)
	}
	if d.percent(10) {
		return 500
	}
	return int64(1 + d.IntN(40)*d.IntN(13))
}

// price turns euro cents into a price of the place, as they are written there: to the step, and sometimes just below.
func (d *draw) price(cents int64) int64 {
	minor := float64(cents) / 100 * d.place.rate * math.Pow10(d.place.decimals)
	price := max(int64(math.Round(minor/float64(d.place.step))), 1) * d.place.step
	if d.place.decimals == 2 && price > 200 && d.percent(60) {
		price = price/100*100 - 1 // …,99
	}
	return price
}

// round takes an amount to the place's step, but never over most.
func (d *draw) round(amount, most int64) int64 {
	return min((amount+d.place.step/2)/d.place.step*d.place.step, most)
}

func (d *draw) shipping() {
	if !d.business.shipped || d.order.Channel == "pos" || d.percent(35) {
		return
	}
	d.order.Shipping = d.price(one(d, []int64{390, 490, 690, 1290}))
}
