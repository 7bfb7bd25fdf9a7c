package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/Rhymond/go-money"
	"github.com/shopspring/decimal"
	"golang.org/x/text/unicode/norm"

	"github.com/orderstore/orderstore/cmd/orderctl/rows"
)

var errEmpty = errors.New("is empty")

// of gives the field's value in a row, empty where it has none. A nil Text has none.
func (t *Text) of(row rows.Row) (string, error) {
	if t == nil {
		return "", nil
	}
	value, _ := row.Text(t.Column)
	if t.Value != nil {
		value = *t.Value
	}
	for _, name := range t.Transform {
		value = transform(name, value)
	}
	if t.Map != nil && value != "" {
		mapped, ok := t.Map[value]
		if !ok {
			mapped, ok = t.Map["*"]
		}
		if !ok {
			return "", fmt.Errorf("%q is not in the map", shorten(value))
		}
		value = mapped
	}
	if value == "" && t.Default != nil {
		value = *t.Default
	}
	if value == "" || len(t.Date) == 0 {
		return value, nil
	}
	return t.date(value)
}

// typed gives an attribute's value; nil where it has none.
func (t *Text) typed(row rows.Row) (any, error) {
	value, err := t.of(row)
	if err != nil || value == "" {
		return nil, err
	}
	switch t.Type {
	case "integer":
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not an integer", shorten(value))
		}
		return n, nil
	case "number":
		number := json.Number(strings.TrimSpace(value))
		if _, err := json.Marshal(number); err != nil {
			return nil, fmt.Errorf("%q is not a number", shorten(value))
		}
		return number, nil
	case "boolean":
		b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(value)))
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", shorten(value))
		}
		return b, nil
	}
	return value, nil
}

func (t *Text) date(value string) (string, error) {
	zone, err := time.LoadLocation(t.Zone)
	if err != nil {
		return "", fmt.Errorf("time zone: %w", err)
	}
	for _, pattern := range t.Date {
		layout, err := layoutOf(pattern)
		if err != nil {
			return "", err
		}
		at, err := time.ParseInLocation(layout, strings.TrimSpace(value), zone)
		if err != nil {
			continue
		}
		if strings.ContainsAny(pattern, "Hhm") {
			return at.UTC().Format(time.RFC3339Nano), nil
		}
		return at.Format(time.DateOnly), nil
	}
	return "", fmt.Errorf("%q is not a date like %s", shorten(value), strings.Join(t.Date, " or "))
}

// layoutOf turns a pattern such as M/D/YYYY into Go's layout.
func layoutOf(pattern string) (string, error) {
	layout := strings.NewReplacer(
		"YYYY", "2006", "YY", "06", "MMMM", "January", "MMM", "Jan", "MM", "01", "M", "1", "DD", "02", "D", "2",
		"HH", "15", "hh", "03", "h", "3", "mm", "04", "m", "4", "ss", "05", "s", "5", "A", "PM", "Z", "Z07:00", "T", "T",
	).Replace(pattern)
	rest := strings.NewReplacer("YYYY", "", "YY", "", "M", "", "D", "", "H", "", "h", "", "m", "", "s", "", "A", "", "Z", "", "T", "").Replace(pattern)
	if strings.ContainsFunc(rest, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) || !strings.Contains(pattern, "YY") ||
		!strings.Contains(pattern, "M") || !strings.Contains(pattern, "D") {
		return "", fmt.Errorf("%q is not a date layout of YYYY, MM, DD, HH, mm, ss and the like", pattern)
	}
	return layout, nil
}

func transform(name, value string) string {
	switch name {
	case "trim":
		return strings.TrimSpace(value)
	case "lower":
		return strings.ToLower(value)
	case "upper":
		return strings.ToUpper(value)
	case "slug":
		return slug(value)
	}
	return value
}

// slug keeps ASCII letters, digits, underscores and dots, takes accents off, and joins the rest with single hyphens.
func slug(value string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(norm.NFKD.String(value)) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '_' || r == '.':
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			b.WriteRune(r)
			gap = false
		default:
			gap = true
		}
	}
	return b.String()
}

// fraction is how many decimals a currency has.
func fraction(code string) (int32, error) {
	currency := money.GetCurrency(code)
	if currency == nil || currency.Code != code { // it would also take lower case, which the store does not
		return 0, fmt.Errorf("%q is not a currency", shorten(code))
	}
	return int32(currency.Fraction), nil //nolint:gosec // a currency has up to four decimals
}

// of gives the amount in minor units of a currency with so many decimals; false where the row has none. A nil Money has none.
func (a *Money) of(row rows.Row, decimals int32) (int64, bool, error) {
	if a == nil {
		return 0, false, nil
	}
	value, _ := row.Text(a.Column)
	if a.Value != nil {
		value = *a.Value
	}
	if value = strings.TrimSpace(value); value == "" && a.Default != nil {
		value = *a.Default
	}
	if value == "" {
		return 0, false, nil
	}
	if a.GroupingMark != "" {
		value = strings.ReplaceAll(value, a.GroupingMark, "")
	}
	if a.decimalMark() == "," {
		if strings.Contains(value, ".") {
			return 0, false, fmt.Errorf("%q is not an amount with a decimal comma", shorten(value))
		}
		value = strings.Replace(value, ",", ".", 1)
	}
	if a.Unit == "minor" {
		decimals = 0
	}
	amount, err := a.minor(value, decimals)
	return amount, err == nil, err
}

// maxDigits is more than any amount has that fits into 64 bits; it keeps a number like 1e999999999 from being written out.
const maxDigits = 60

func (a *Money) minor(value string, decimals int32) (int64, error) {
	if len(value) > maxDigits {
		return 0, fmt.Errorf("%q is not an amount", shorten(value))
	}
	d, err := decimal.NewFromString(value)
	if err != nil || d.Exponent() < -maxDigits || d.Exponent() > maxDigits {
		return 0, fmt.Errorf("%q is not an amount", shorten(value))
	}
	d = d.Shift(decimals)
	rounded := d
	switch a.Rounding {
	case "half_even":
		rounded = d.RoundBank(0)
	case "half_up":
		rounded = d.Round(0)
	case "down":
		rounded = d.Truncate(0)
	default:
		if rounded = d.Truncate(0); !rounded.Equal(d) {
			return 0, fmt.Errorf("%q has more decimals than the currency", shorten(value))
		}
	}
	if rounded.IsNegative() {
		return 0, fmt.Errorf("%q is below zero", shorten(value))
	}
	whole := rounded.BigInt()
	if !whole.IsInt64() {
		return 0, fmt.Errorf("%q is too large", shorten(value))
	}
	return whole.Int64(), nil
}

// quantityOf reads a whole number; 3.0 is one.
func quantityOf(value string) (int64, error) {
	whole := Money{}
	return whole.minor(strings.TrimSpace(value), 0)
}

// shorten keeps a message readable whatever the file holds.
func shorten(value string) string {
	const most = 60
	if runes := []rune(value); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return value
}
