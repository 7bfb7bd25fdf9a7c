package load

import (
	"math/rand/v2"
	"strconv"
)

// The business types of the orders that are made. Work of the kinds in Served is registered with a provider before a run; nobody ever
// serves Unserved, so its orders stay with one event and no task. Probes are the few orders that are followed until they are heard of.
const (
	Unserved = "bench.unserved"
	Probes   = "bench.probe"
)

// Served are the kinds of work of routed orders.
func Served() []string {
	return []string{"bench.retail", "bench.grocery", "bench.parts", "bench.hotel", "bench.fashion"}
}

// maxLines is the most lines of an order; lineWeights says how many of a hundred orders have 1, 2, … lines. Most carts are small,
// some are not: 2.7 lines on average.
const maxLines = 12

var lineWeights = [maxLines]int{42, 22, 12, 8, 5, 3, 2, 2, 1, 1, 1, 1} //nolint:gochecknoglobals // constant

// choice is a value that so many of a hundred orders have.
type choice struct {
	value  string
	weight int
}

// Mix makes orders. The n-th order of two mixes with the same seed differs in nothing but its reference.
type Mix struct {
	seed     uint64
	run      string
	channels []choice
	money    []choice
	business []choice
	skus     []string
	names    []string
	people   []person
}

type person struct{ name, line1, city, postal, country string }

// NewMix makes a mix. run begins every reference and must be another for each run against the same store; fixed is the business type of
// all orders, empty for the kinds in Served.
func NewMix(seed uint64, run, fixed string) *Mix {
	m := &Mix{
		seed: seed, run: run,
		channels: []choice{{"web", 45}, {"app", 25}, {"pos", 15}, {"amazon", 9}, {"ebay", 6}},
		money:    []choice{{"EUR", 50}, {"USD", 20}, {"GBP", 15}, {"CHF", 8}, {"JPY", 7}},
		names: []string{
			"Fountain pen, medium nib", "Notebook A5, dotted", "Espresso beans 1 kg", "USB-C cable 2 m", "Kinderfahrrad 16\\\"",
			"Brake pads, front axle", "Double room, breakfast", "Winter jacket, L", "緑茶 100 g", "Olivenöl extra nativ 750 ml",
		},
		people: []person{
			{"Ada Mørk", "Hauptstraße 1", "Zürich", "8001", "CH"},
			{"Jean Dupont", "12 rue de la Paix", "Paris", "75002", "FR"},
			{"Maria Rossi", "Via Roma 7", "Milano", "20121", "IT"},
			{"山田 太郎", "神宮前 1-2-3", "東京", "150-0001", "JP"},
			{"John Smith", "221B Baker Street", "London", "NW1 6XE", "GB"},
			{"Łucja Nowak", "ul. Długa 5", "Kraków", "31-146", "PL"},
		},
	}
	weights := []int{40, 25, 15, 8, 12}
	for i, kind := range Served() {
		m.business = append(m.business, choice{kind, weights[i]})
	}
	if fixed != "" {
		m.business = []choice{{fixed, 100}}
	}
	for i := range 5000 {
		m.skus = append(m.skus, "SKU-"+strconv.Itoa(10_000+i))
	}
	return m
}

// Draw is what one goroutine draws orders from. It is not safe for several at once.
type Draw struct {
	mix   *Mix
	pcg   *rand.PCG
	dice  *rand.Rand
	total int64
}

// Draw gives a goroutine its own.
func (m *Mix) Draw() *Draw {
	pcg := rand.NewPCG(0, 0)
	return &Draw{mix: m, pcg: pcg, dice: rand.New(pcg)}
}

func (d *Draw) percent(n int) bool { return d.dice.IntN(100) < n }

func (d *Draw) pick(from []choice) string {
	n := d.dice.IntN(100)
	for _, c := range from {
		if n -= c.weight; n < 0 {
			return c.value
		}
	}
	return from[len(from)-1].value
}

// Append appends the n-th order as the body of POST /v1/orders, on one line and without a line break.
func (d *Draw) Append(b []byte, n int64) []byte {
	d.pcg.Seed(d.mix.seed, uint64(n)) //nolint:gosec // any bits do
	d.total = 0
	channel := d.pick(d.mix.channels)
	b = append(b, `{"channel":"`...)
	b = append(b, channel...)
	b = append(b, `","external_ref":"`...)
	b = append(b, d.mix.run...)
	b = append(b, '-')
	b = strconv.AppendInt(b, n, 10)
	b = append(b, `","business_type":"`...)
	b = append(b, d.pick(d.mix.business)...)
	b = append(b, `","currency":"`...)
	b = append(b, d.pick(d.mix.money)...)
	b = append(b, `","lines":[`...)
	for i := range d.lineCount() {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.line(b)
	}
	b = append(b, ']')
	b = d.shipping(b, channel)
	b = d.customer(b, channel)
	if d.percent(30) {
		b = d.attributes(b)
	}
	if d.percent(60) {
		b = append(b, `,"total":`...)
		b = strconv.AppendInt(b, d.total, 10)
	}
	return append(b, '}')
}

func (d *Draw) lineCount() int {
	n := d.dice.IntN(100)
	for i, weight := range lineWeights {
		if n -= weight; n < 0 {
			return i + 1
		}
	}
	return maxLines
}

// line appends a line: a few articles sell most, one or two of each.
func (d *Draw) line(b []byte) []byte {
	skewed := d.dice.Float64()
	sku := d.mix.skus[int(skewed*skewed*skewed*float64(len(d.mix.skus)))]
	quantity := int64(1)
	if d.percent(30) {
		quantity += int64(d.dice.IntN(5))
	}
	price := int64(195 + 100*d.dice.IntN(120))
	gross := quantity * price
	var discount int64
	if d.percent(15) {
		discount = gross / 10
	}
	tax := (gross - discount) * 19 / 100
	d.total += gross - discount + tax
	b = append(b, `{"sku":"`...)
	b = append(b, sku...)
	b = append(b, `","name":"`...)
	b = append(b, d.mix.names[d.dice.IntN(len(d.mix.names))]...)
	b = append(b, `","quantity":`...)
	b = strconv.AppendInt(b, quantity, 10)
	b = append(b, `,"unit_price":`...)
	b = strconv.AppendInt(b, price, 10)
	if discount > 0 {
		b = append(b, `,"discount":`...)
		b = strconv.AppendInt(b, discount, 10)
	}
	b = append(b, `,"tax":`...)
	b = strconv.AppendInt(b, tax, 10)
	return append(b, '}')
}

func (d *Draw) shipping(b []byte, channel string) []byte {
	if channel == "pos" || d.percent(30) {
		return b
	}
	d.total += 490
	return append(b, `,"shipping":490`...)
}

// customer appends who the order is for: tills seldom know, and not everybody gives an address.
func (d *Draw) customer(b []byte, channel string) []byte {
	known := 85
	if channel == "pos" {
		known = 20
	}
	if !d.percent(known) {
		return b
	}
	p := d.mix.people[d.dice.IntN(len(d.mix.people))]
	b = append(b, `,"customer":{"name":"`...)
	b = append(b, p.name...)
	b = append(b, `","email":"customer`...)
	b = strconv.AppendInt(b, int64(d.dice.IntN(100_000)), 10)
	b = append(b, `@example.com"`...)
	if channel != "pos" && d.percent(70) {
		for _, member := range [...]struct{ name, value string }{
			{`,"address":{"line1":"`, p.line1},
			{`","city":"`, p.city},
			{`","postal_code":"`, p.postal},
			{`","country":"`, p.country},
		} {
			b = append(append(b, member.name...), member.value...)
		}
		b = append(b, `"}`...)
	}
	return append(b, '}')
}

func (d *Draw) attributes(b []byte) []byte {
	b = append(b, `,"attributes":{"campaign":"spring-`...)
	b = strconv.AppendInt(b, int64(d.dice.IntN(20)), 10)
	b = append(b, `","gift":`...)
	b = strconv.AppendBool(b, d.percent(20))
	return append(b, '}')
}
