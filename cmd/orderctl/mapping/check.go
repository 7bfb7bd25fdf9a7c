package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

// checker collects what is wrong, with where.
type checker struct {
	place func(path []string) string
	errs  []error
}

func (c *checker) fault(path []string, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s: %w", c.place(path), fmt.Errorf(format, args...)))
}

func (c *checker) oneOf(path []string, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.fault(path, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
}

func (m *Mapping) check(place func(path []string) string) error {
	c := &checker{place: place}
	if m.Format == "" {
		c.fault([]string{"format"}, "csv or ndjson is needed")
	}
	c.oneOf([]string{"format"}, m.Format, "csv", "ndjson")
	c.oneOf([]string{"damaged_text"}, m.DamagedText, "reject", "keep")
	if m.Encoding != "" && m.Encoding != "auto" {
		if _, err := rows.NamedEncoding(m.Encoding); err != nil {
			c.fault([]string{"encoding"}, "%w", err)
		}
	}
	m.checkCSV(c)
	m.checkOrder(c)
	m.checkLine(c)
	return errors.Join(c.errs...)
}

func (m *Mapping) checkCSV(c *checker) {
	path := []string{"csv"}
	if m.Format == "ndjson" && m.CSV != (CSV{}) {
		c.fault(path, "is for the format csv")
	}
	if d := m.CSV.Delimiter; d != "" && (utf8.RuneCountInString(d) != 1 || strings.ContainsAny(d, "\"\r\n\uFFFD")) {
		c.fault(append(path, "delimiter"), "%q is not one character that can separate fields", d)
	}
	q := m.CSV.Quote
	if q == "" || q == "none" {
		return
	}
	if utf8.RuneCountInString(q) != 1 || strings.ContainsAny(q, "\r\n\uFFFD") || q == m.CSV.Delimiter || (q == "," && m.CSV.Delimiter == "") {
		c.fault(append(path, "quote"), "%q is not one character that can quote fields, nor none", q)
	}
}

func (m *Mapping) checkOrder(c *checker) {
	o := m.Order
	for _, required := range []struct {
		name string
		text *Text
	}{{"external_ref", o.ExternalRef}, {"channel", o.Channel}, {"business_type", o.BusinessType}, {"currency", o.Currency}} {
		if required.text == nil {
			c.fault([]string{"order", required.name}, "is needed")
		}
	}
	for path, text := range m.texts() {
		text.check(c, strings.Split(path, "\x00"))
	}
	for path, money := range m.monies() {
		money.check(c, strings.Split(path, "\x00"))
	}
}

func (m *Mapping) checkLine(c *checker) {
	path := []string{"line"}
	if m.Line.Each != "" && m.Format != "ndjson" {
		c.fault(append(path, "each"), "is for the format ndjson")
	}
	if m.Line.SKU == nil {
		c.fault(append(path, "sku"), "is needed")
	}
	if m.Line.Quantity == nil {
		c.fault(append(path, "quantity"), "is needed")
	}
	switch {
	case m.Line.UnitPrice == nil && m.Line.Total == nil:
		c.fault(path, "unit_price or total is needed")
	case m.Line.UnitPrice != nil && m.Line.Total != nil:
		c.fault(append(path, "total"), "excludes unit_price")
	case m.Line.Total != nil && m.Line.Discount != nil:
		c.fault(append(path, "discount"), "follows from total")
	}
}

// texts are all text fields, by their paths; the parts of a path are separated by NUL.
func (m *Mapping) texts() map[string]*Text {
	all := map[string]*Text{
		"order\x00external_ref": m.Order.ExternalRef, "order\x00channel": m.Order.Channel,
		"order\x00business_type": m.Order.BusinessType, "order\x00region": m.Order.Region, "order\x00currency": m.Order.Currency,
		"line\x00line_id": m.Line.LineID, "line\x00sku": m.Line.SKU, "line\x00name": m.Line.Name, "line\x00quantity": m.Line.Quantity,
	}
	if customer := m.Order.Customer; customer != nil {
		const at = "order\x00customer\x00"
		all[at+"name"], all[at+"email"], all[at+"phone"] = customer.Name, customer.Email, customer.Phone
		if a := customer.Address; a != nil {
			const at = "order\x00customer\x00address\x00"
			all[at+"line1"], all[at+"line2"], all[at+"city"] = a.Line1, a.Line2, a.City
			all[at+"region"], all[at+"postal_code"], all[at+"country"] = a.Region, a.PostalCode, a.Country
		}
	}
	for name, text := range m.Order.Attributes {
		all["order\x00attributes\x00"+name] = text
	}
	maps.DeleteFunc(all, func(_ string, t *Text) bool { return t == nil })
	return all
}

// monies are all amounts, by their paths.
func (m *Mapping) monies() map[string]*Money {
	all := map[string]*Money{
		"order\x00shipping": m.Order.Shipping, "order\x00total": m.Order.Total,
		"line\x00unit_price": m.Line.UnitPrice, "line\x00total": m.Line.Total, "line\x00discount": m.Line.Discount, "line\x00tax": m.Line.Tax,
	}
	maps.DeleteFunc(all, func(_ string, amount *Money) bool { return amount == nil })
	return all
}

func (t *Text) check(c *checker, path []string) {
	if (t.Column == "") == (t.Value == nil) {
		c.fault(path, "either column or value is needed")
	}
	for _, name := range t.Transform {
		c.oneOf(append(path, "transform"), name, "trim", "lower", "upper", "slug")
	}
	for _, date := range t.Date {
		if _, err := layoutOf(date); err != nil {
			c.fault(append(path, "date"), "%w", err)
		}
	}
	if _, err := time.LoadLocation(t.Zone); err != nil {
		c.fault(append(path, "zone"), "%w", err)
	}
	if t.Zone != "" && len(t.Date) == 0 {
		c.fault(append(path, "zone"), "is for a date")
	}
	c.oneOf(append(path, "type"), t.Type, "string", "integer", "number", "boolean")
	if t.Type != "" && path[1] != "attributes" {
		c.fault(append(path, "type"), "is for attributes")
	}
}

func (a *Money) check(c *checker, path []string) {
	if (a.Column == "") == (a.Value == nil) {
		c.fault(path, "either column or value is needed")
	}
	c.oneOf(append(path, "unit"), a.Unit, "major", "minor")
	c.oneOf(append(path, "rounding"), a.Rounding, "exact", "half_even", "half_up", "down")
	c.oneOf(append(path, "decimal_mark"), a.DecimalMark, ".", ",")
	if a.GroupingMark != "" && (strings.ContainsAny(a.GroupingMark, "0123456789+-") || a.GroupingMark == a.decimalMark()) {
		c.fault(append(path, "grouping_mark"), "%q cannot separate digits", a.GroupingMark)
	}
}

func (a *Money) decimalMark() string {
	if a.DecimalMark == "" {
		return "."
	}
	return a.DecimalMark
}

// Table says how the rows of the file are read.
func (m *Mapping) Table() rows.Format {
	f := rows.Format{NDJSON: m.Format == "ndjson", NoHeader: m.CSV.Header != nil && !*m.CSV.Header, Columns: m.columns()}
	f.Delimiter, _ = utf8.DecodeRuneInString(m.CSV.Delimiter)
	if m.CSV.Delimiter == "" {
		f.Delimiter = ','
	}
	if m.CSV.Quote == "none" {
		f.NoQuotes = true
		return f
	}
	if m.CSV.Quote != "" {
		f.Quote, _ = utf8.DecodeRuneInString(m.CSV.Quote)
	}
	return f
}

// columns are all columns that the mapping reads.
func (m *Mapping) columns() []string {
	all := slices.Clone([]string(m.GroupBy))
	for _, t := range m.texts() {
		all = append(all, t.Column)
	}
	for _, a := range m.monies() {
		all = append(all, a.Column)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(column string) bool { return column == "" })
}
