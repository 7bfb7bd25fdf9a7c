package auxiliary

import (
	"math/big"

	"github.com/orderstore/orderstore/events"
)

// credited is what was taken back of a line so far.
func (i *issued) credited(lineID string) (sum billLine) {
	for _, note := range i.notes {
		for j := range note.Lines {
			if l := &note.Lines[j]; l.LineID == lineID {
				sum.Quantity += l.Quantity
				sum.Discount += l.Discount
				sum.Net += l.Net
				sum.Tax += l.Tax
				sum.Total += l.Total
			}
		}
	}
	return sum
}

// rest is what of the invoice has not been taken back.
func (i *issued) rest() []billLine {
	var lines []billLine
	for j := range i.document.Lines {
		l := &i.document.Lines[j]
		if left := creditedLine(l, i.credited(l.LineID), l.Quantity, l.Total); left.Quantity > 0 {
			lines = append(lines, left)
		}
	}
	return lines
}

// part is what a return takes back. Of what was never billed, because it came too late, nothing is taken back.
func (i *issued) part(back *events.OrderReturn) []billLine {
	var lines []billLine
	for _, given := range back.Lines {
		for j := range i.document.Lines {
			l := &i.document.Lines[j]
			if l.LineID != given.LineID {
				continue
			}
			if part := creditedLine(l, i.credited(l.LineID), given.Quantity, given.Total); part.Quantity > 0 {
				lines = append(lines, part)
			}
		}
	}
	return lines
}

// creditedLine is a part of a line after what was taken back of it before: so many units of what they came to, as the event says. The
// last part is what the others have left, so that all parts are the line to the minor unit. Of the tax each part has its share by
// quantity, rounded down over all parts so far. Where roundings meet, tax and total give way by a minor unit, so that nothing in a
// part, and in what is left, is below zero.
func creditedLine(l *billLine, before billLine, units, total int64) billLine {
	left := billLine{
		Quantity: l.Quantity - before.Quantity, Discount: l.Discount - before.Discount, Net: l.Net - before.Net,
		Tax: l.Tax - before.Tax, Total: l.Total - before.Total,
	}
	part := billLine{LineID: l.LineID, SKU: l.SKU, Name: l.Name, UnitPrice: l.UnitPrice, Quantity: min(units, left.Quantity)}
	if part.Quantity == left.Quantity {
		part.Discount, part.Net, part.Tax, part.Total = left.Discount, left.Net, left.Tax, left.Total
		return part
	}
	price := part.Quantity * l.UnitPrice
	part.Total = min(max(total, price-left.Discount, 0), price+left.Tax, left.Total)
	tax := portion(l.Tax, before.Quantity+part.Quantity, l.Quantity) - before.Tax
	tax = min(tax, left.Tax, part.Total-price+left.Discount, part.Total)
	part.Tax = max(tax, part.Total-price, part.Total-left.Net, 0)
	part.Net = part.Total - part.Tax
	part.Discount = price - part.Net
	return part
}

// portion is amount x part / whole, rounded down. The product may need more than 64 bits.
func portion(amount, part, whole int64) int64 {
	product := new(big.Int).Mul(big.NewInt(amount), big.NewInt(part))
	return product.Div(product, big.NewInt(whole)).Int64()
}
