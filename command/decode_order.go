package command

import (
	"math"
	"math/bits"
	"net/mail"
	"strconv"
	"strings"

	"github.com/Rhymond/go-money"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// Limits of a submitted order.
const (
	maxLines      = 1_000
	maxQuantity   = 1_000_000
	maxAttributes = 16 << 10 // bytes of JSON
	maxName       = 500      // characters, as all text
	maxRef        = 128
)

// DefaultRegion is an order's region when it names none.
const DefaultRegion = "default"

// decodeOrder reads a submitted order strictly. Its error names every bad field.
func decodeOrder(body []byte, tenant string) (*Submission, error) {
	s := &Submission{Tenant: tenant, Placed: events.Placed{Region: DefaultRegion}}
	p := orderReader{Reader: httpapi.NewReader(body), s: s, total: -1}
	p.Object(p.member)
	p.required()
	if p.OK() {
		p.computeTotals()
	}
	if err := p.Finish(); err != nil {
		return nil, err
	}
	if err := s.seal(); err != nil {
		return nil, err
	}
	return s, nil
}

type orderReader struct {
	*httpapi.Reader
	s      *Submission
	total  int64 // as submitted; -1 when left out
	given  fields
	lineID string // as the last line gave it
}

// fields are the required members that a document gave, rightly or wrongly.
type fields uint8

const (
	hasChannel fields = 1 << iota
	hasRef
	hasBusinessType
	hasCurrency
	hasLines
	hasSKU
	hasQuantity
	hasPrice
)

func (f fields) has(one fields) bool { return f&one != 0 }

func (r *orderReader) member(name string) {
	p := &r.s.Placed
	switch name {
	case "channel":
		r.given |= hasChannel
		r.Name(&p.Channel)
	case "external_ref":
		r.given |= hasRef
		r.text(&p.ExternalRef, 1, maxRef)
	case "business_type":
		r.given |= hasBusinessType
		r.Name(&r.s.BusinessType)
	case "region":
		readRegion(r.Reader, &p.Region)
	case "currency":
		r.given |= hasCurrency
		r.currency(&p.Currency)
	case "lines":
		r.given |= hasLines
		r.Array(maxLines, r.line)
	case "shipping":
		r.Int(&p.Shipping, 0, math.MaxInt64)
	case "total":
		r.Int(&r.total, 0, math.MaxInt64)
	case "customer":
		r.customer(&p.Customer)
	case "attributes":
		r.attributes()
	case "id", "tenant", "version", "status", "fulfillment_status", "sync_status", "tasks", "results", "placed_at", "updated_at", "position":
		r.ReadOnly()
	default:
		r.Unknown()
	}
}

func (r *orderReader) required() {
	r.Require("channel", r.given.has(hasChannel))
	r.Require("external_ref", r.given.has(hasRef))
	r.Require("business_type", r.given.has(hasBusinessType))
	r.Require("currency", r.given.has(hasCurrency))
	r.Require("lines", r.given.has(hasLines))
	if r.OK() && len(r.s.Placed.Lines) == 0 {
		r.InvalidAt("/lines", "must have 1 to 1000 lines")
	}
}

// readRegion reads a region: letters, digits, dots, dashes and underscores, 64 at most.
func readRegion(r *httpapi.Reader, dst *string) {
	var region string
	r.String(&region, 1, 64)
	if region == "" {
		return
	}
	if !httpapi.ValidName(strings.ToLower(region)) {
		r.Invalid("must match [A-Za-z0-9_.-]{1,64}")
		return
	}
	*dst = region
}

// text reads free text, in which no card number may stand.
func (r *orderReader) text(dst *string, least, most int) {
	var s string
	r.String(&s, least, most)
	if s != "" && httpapi.HasCardNumber(s) {
		r.Invalid("looks like a payment card number, which is not taken")
		return
	}
	*dst = s
}

func (r *orderReader) currency(dst *string) {
	var code string
	r.String(&code, 3, 3)
	if code == "" {
		return
	}
	if c := money.GetCurrency(code); c == nil || c.Code != code {
		r.Invalid("must be an ISO 4217 code such as EUR")
		return
	}
	*dst = code
}

func (r *orderReader) attributes() {
	if r.Null() {
		return
	}
	var raw jsontext.Value
	r.RawObject(&raw, maxAttributes)
	if httpapi.HasCardNumber(string(raw)) {
		r.Invalid("holds what looks like a payment card number, which is not taken")
		return
	}
	if len(raw) > 0 {
		r.s.Placed.Attributes = []byte(raw)
	}
}

func (r *orderReader) line(i int) {
	line := events.PlacedLine{LineID: strconv.Itoa(i + 1)}
	var given fields
	r.Object(func(name string) {
		switch name {
		case "line_id":
			r.ID(&line.LineID)
			r.lineID = line.LineID
		case "sku":
			given |= hasSKU
			r.text(&line.SKU, 1, maxRef)
		case "name":
			r.text(&line.Name, 0, maxName)
		case "quantity":
			given |= hasQuantity
			r.Int(&line.Quantity, 1, maxQuantity)
		case "unit_price":
			given |= hasPrice
			r.Int(&line.UnitPrice, 0, math.MaxInt64)
		case "discount":
			r.Int(&line.Discount, 0, math.MaxInt64)
		case "tax":
			r.Int(&line.Tax, 0, math.MaxInt64)
		case "total", "quantities", "vendor_id":
			r.ReadOnly()
		default:
			r.Unknown()
		}
	})
	r.Require("sku", given.has(hasSKU))
	r.Require("quantity", given.has(hasQuantity))
	r.Require("unit_price", given.has(hasPrice))
	r.s.Placed.Lines = append(r.s.Placed.Lines, line)
}

func (r *orderReader) customer(dst **events.Customer) {
	if r.Null() {
		return
	}
	c := &events.Customer{}
	r.Object(func(name string) {
		switch name {
		case "name":
			r.text(&c.Name, 0, maxName)
		case "email":
			r.email(&c.Email)
		case "phone":
			r.String(&c.Phone, 0, 40)
		case "address":
			r.address(&c.Address)
		default:
			r.Unknown()
		}
	})
	if *c != (events.Customer{}) {
		*dst = c
	}
}

// maxEmail is the longest address that SMTP can carry, in octets (RFC 5321, section 4.5.3.1.3).
const maxEmail = 254

func (r *orderReader) email(dst *string) {
	var s string
	r.String(&s, 0, maxEmail)
	if s == "" {
		return
	}
	parsed, err := mail.ParseAddress(s)
	if err != nil || parsed.Address != s || len(s) > maxEmail {
		r.Invalid("must be an e-mail address such as ada@example.com")
		return
	}
	*dst = s
}

func (r *orderReader) address(dst **events.Address) {
	if r.Null() {
		return
	}
	a := &events.Address{}
	r.Object(func(name string) {
		switch name {
		case "line1":
			r.text(&a.Line1, 0, maxName)
		case "line2":
			r.text(&a.Line2, 0, maxName)
		case "city":
			r.text(&a.City, 0, maxName)
		case "region":
			r.text(&a.Region, 0, maxName)
		case "postal_code":
			r.String(&a.PostalCode, 0, 32)
		case "country":
			r.text(&a.Country, 0, maxName)
		default:
			r.Unknown()
		}
	})
	if *a != (events.Address{}) {
		*dst = a
	}
}

// computeTotals adds up the lines and the order, and compares what was submitted as the total.
func (r *orderReader) computeTotals() {
	p := &r.s.Placed
	fits := r.lineTotals()
	sum := p.Shipping
	for i := range p.Lines {
		if fits {
			sum, fits = add(sum, p.Lines[i].Total)
		}
	}
	if !fits {
		r.InvalidAt("/total", "the order's total is too large")
		return
	}
	p.Total = sum
	if r.total >= 0 && r.total != sum {
		r.InvalidAt("/total", "differs from what the lines and shipping add up to: "+strconv.FormatInt(sum, 10))
	}
}

// lineTotals computes each line's total; false when 64 bits do not hold one.
func (r *orderReader) lineTotals() bool {
	lines, fits := r.s.Placed.Lines, true
	ids := make(map[string]bool, len(lines))
	for i := range lines {
		line := &lines[i]
		at := "/lines/" + strconv.Itoa(i)
		if ids[line.LineID] {
			r.InvalidAt(at+"/line_id", "stands twice in the order")
		}
		ids[line.LineID] = true
		total, ok := lineTotal(line)
		switch {
		case !ok:
			r.InvalidAt(at, "its total is too large")
		case total < 0:
			r.InvalidAt(at+"/discount", "is more than the line costs")
		}
		line.Total = total
		fits = fits && ok
	}
	return fits
}

// lineTotal is quantity x unit_price - discount + tax; false when 64 bits do not hold it.
func lineTotal(l *events.PlacedLine) (int64, bool) {
	high, low := bits.Mul64(uint64(l.Quantity), uint64(l.UnitPrice)) //nolint:gosec // neither is negative
	if high != 0 || low > math.MaxInt64 {
		return 0, false
	}
	return add(int64(low)-l.Discount, l.Tax)
}

func add(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b {
		return 0, false
	}
	return a + b, true
}
