// Package sample makes orders that look like those of the world: from shops, apps, tills and marketplaces, in many scripts,
// currencies and lines of business. The same seed always gives the same orders, each valid by the rules of the API.
package sample

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
)

// Order is an order as it is submitted: its JSON is the body of POST /v1/orders. Amounts are in minor units.
type Order struct {
	Channel      string         `json:"channel"`
	ExternalRef  string         `json:"external_ref"`
	BusinessType string         `json:"business_type"`
	Region       string         `json:"region,omitempty"`
	Currency     string         `json:"currency"`
	Lines        []Line         `json:"lines"`
	Shipping     int64          `json:"shipping,omitempty"`
	Customer     *Customer      `json:"customer,omitempty"`
	Attributes   map[string]any `json:"attributes,omitempty"`
	Total        *int64         `json:"total,omitempty"`
}

// Line is a line of an order.
type Line struct {
	LineID    string `json:"line_id,omitempty"`
	SKU       string `json:"sku"`
	Name      string `json:"name,omitempty"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount,omitempty"`
	Tax       int64  `json:"tax,omitempty"`
}

// Sum is the line's total.
func (l Line) Sum() int64 { return l.Quantity*l.UnitPrice - l.Discount + l.Tax }

// Customer is whom an order is for.
type Customer struct {
	Name    string   `json:"name,omitempty"`
	Email   string   `json:"email,omitempty"`
	Phone   string   `json:"phone,omitempty"`
	Address *Address `json:"address,omitempty"`
}

// Address is a postal address.
type Address struct {
	Line1      string `json:"line1,omitempty"`
	Line2      string `json:"line2,omitempty"`
	City       string `json:"city,omitempty"`
	Region     string `json:"region,omitempty"`
	PostalCode string `json:"postal_code,omitempty"`
	Country    string `json:"country,omitempty"`
}

// Sum is the order's total: its lines and the shipping.
func (o *Order) Sum() int64 {
	sum := o.Shipping
	for _, l := range o.Lines {
		sum += l.Sum()
	}
	return sum
}

// JSON is the order as a request's body, on one line.
func (o *Order) JSON() ([]byte, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode sample order %s: %w", o.ExternalRef, err)
	}
	return b, nil
}

// Orders gives n orders. The i-th is the same whatever n is, and no two have the same channel and reference, also not those of
// two seeds below 160,000.
func Orders(seed uint64, n int) iter.Seq[Order] {
	return func(yield func(Order) bool) {
		w := newWorld()
		for i := range n {
			if !yield(w.order(seed, i)) {
				return
			}
		}
	}
}

// world is what orders are drawn from.
type world struct {
	places     []place
	businesses []business
	products   map[string][]item // by business type
	drawn      []int             // place by weight
}

func newWorld() *world {
	w := &world{places: places(), businesses: businesses(), products: map[string][]item{}}
	for _, p := range catalog() {
		w.products[p.business] = append(w.products[p.business], p)
	}
	for i, p := range w.places {
		w.drawn = append(w.drawn, slices.Repeat([]int{i}, p.weight)...)
	}
	return w
}

// draw is the making of one order.
type draw struct {
	*rand.Rand
	seed     uint64
	index    int
	place    place
	business business
	order    Order
}

func one[T any](d *draw, of []T) T { return of[d.IntN(len(of))] }

// percent is true in so many of a hundred cases.
func (d *draw) percent(n int) bool { return d.IntN(100) < n }

func (w *world) order(seed uint64, i int) Order {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, uint64(i))), seed: seed, index: i}
	d.place = w.places[one(d, w.drawn)]
	d.business = one(d, w.businesses)
	for d.counted() && d.business.single {
		d.business = one(d, w.businesses)
	}
	d.order = Order{
		BusinessType: d.business.name, Currency: d.place.currency, Region: one(d, d.place.regions), Channel: d.channel(),
		Attributes: map[string]any{},
	}
	if d.percent(3) {
		d.order.Region = "" // the store says "default"
	}
	d.order.ExternalRef = d.reference()
	d.lines(w.products[d.business.name])
	d.customer()
	d.attributes()
	d.shipping()
	if len(d.order.Attributes) == 0 {
		d.order.Attributes = nil
	}
	if d.percent(60) {
		sum := d.order.Sum()
		d.order.Total = &sum
	}
	return d.order
}

func (d *draw) channel() string {
	switch n := d.IntN(100); {
	case n < 34:
		return "web"
	case n < 54:
		return "app"
	case n < 66:
		return "pos"
	case n < 70:
		return one(d, []string{"phone", "kiosk", "b2b.edi", "social"})
	}
	return one(d, d.place.marketplaces)
}

// reference is the client's order number, in the style of its channel. All styles have the order's index and the seed in them,
// and no more than 12 digits in a row.
func (d *draw) reference() string {
	n, tag := d.index, d.tag()
	switch len(d.order.Channel) * 7 % 6 {
	case 0:
		return fmt.Sprintf("%s-%06d", tag, n)
	case 1:
		return fmt.Sprintf("#%s%d", tag, 1000+n)
	case 2:
		return fmt.Sprintf("2026/%02d/%s/%05d", 1+n%12, tag, n)
	case 3:
		return fmt.Sprintf("ORD_%s_%s", tag, letters(uint64(n), 6))
	case 4:
		return fmt.Sprintf("%s.%s.%d", d.place.code, tag, n)
	}
	return fmt.Sprintf("%s-%s-R%d", letters(uint64(n), 5), tag, n%10)
}

// tag is four letters for the seed.
func (d *draw) tag() string { return letters(d.seed, 4) }

// letters writes a number with letters alone, the last `width` of them; without vowels, so that no words come out.
func letters(n uint64, width int) string {
	const alphabet = "BCDFGHJKLMNPQRSTVWXZ"
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		b[i] = alphabet[n%20]
		n /= 20
	}
	return string(b)
}
