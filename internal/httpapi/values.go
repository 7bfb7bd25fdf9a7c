package httpapi

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	notUnicode = "is not valid Unicode text"
	holdsNUL   = "must not contain U+0000"
)

// String reads text of min to max characters (runes, not bytes: a limit in bytes would give Chinese a third of the room).
// Control characters other than tab, line feed and carriage return are refused.
func (d *Reader) String(dst *string, min, max int) {
	s, ok := d.unicodeText()
	if !ok {
		return
	}
	runes := 0
	for _, r := range s {
		runes++
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && unicode.IsControl(r) {
			d.Invalid("must not contain control characters")
			return
		}
	}
	switch {
	case runes < min && runes == 0:
		d.Invalid("must not be empty")
	case runes < min:
		d.Invalid("must have at least " + itoa(min) + " characters")
	case runes > max:
		d.Invalid("must have at most " + itoa(max) + " characters")
	default:
		*dst = s
	}
}

// ID reads a ValidID.
func (d *Reader) ID(dst *string) {
	s, ok := d.unicodeText()
	if ok && !ValidID(s) {
		d.Invalid("must match [A-Za-z0-9_-]{1,64} and not be a single dash")
		return
	}
	if ok {
		*dst = s
	}
}

// Name reads a ValidName.
func (d *Reader) Name(dst *string) {
	s, ok := d.unicodeText()
	if ok && !ValidName(s) {
		d.Invalid("must match [a-z0-9_.-]{1,64}")
		return
	}
	if ok {
		*dst = s
	}
}

// Int reads an integer of min to max, written with a sign and digits alone: 1.0, 1e3 and -0 are refused.
func (d *Reader) Int(dst *int64, min, max int64) {
	if !d.expect('0', "must be an integer") {
		return
	}
	raw, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return
	}
	n, ok := parseInteger(raw)
	switch {
	case !ok:
		d.Invalid("must be an integer in plain digits")
	case n < min || n > max:
		d.Invalid("must be from " + strconv.FormatInt(min, 10) + " to " + strconv.FormatInt(max, 10))
	default:
		*dst = n
	}
}

// Float reads a number of min to max in any of JSON's notations.
func (d *Reader) Float(dst *float64, min, max float64) {
	if !d.expect('0', "must be a number") {
		return
	}
	raw, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return
	}
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n < min || n > max {
		d.Invalid("must be a number from " + strconv.FormatFloat(min, 'f', -1, 64) + " to " + strconv.FormatFloat(max, 'f', -1, 64))
		return
	}
	*dst = n + 0 // a negative zero becomes zero
}

// parseInteger reads digits that JSON's grammar was already checked for. What 64 bits cannot hold is not ok.
func parseInteger(raw []byte) (int64, bool) {
	digits, negative := raw, raw[0] == '-'
	if negative {
		digits = raw[1:]
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' || n > (math.MaxUint64-9)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	switch {
	case negative && n == 0, n > math.MaxInt64+1, n == math.MaxInt64+1 && !negative:
		return 0, false
	case negative:
		return -int64(n), true
	}
	return int64(n), true
}

// Bool reads true or false.
func (d *Reader) Bool(dst *bool) {
	if d.done() {
		return
	}
	kind := d.dec.PeekKind()
	if kind != 't' && kind != 'f' {
		d.expect('t', "must be true or false")
		return
	}
	if d.token() {
		*dst = kind == 't'
	}
}

// Time reads an RFC 3339 time and gives it in UTC.
func (d *Reader) Time(dst *time.Time) {
	s, ok := d.unicodeText()
	if !ok {
		return
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		d.Invalid("must be an RFC 3339 time such as 2026-01-31T12:00:00Z")
		return
	}
	*dst = t.UTC()
}

// unicodeText reads a string that is Unicode and has no U+0000.
func (d *Reader) unicodeText() (string, bool) {
	if !d.expect('"', "must be a string") {
		return "", false
	}
	raw, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return "", false
	}
	s, problem := d.unquote(raw)
	if problem != "" {
		d.Invalid(problem)
		return "", false
	}
	return s, true
}

// unquote gives the text of a JSON string that was just read, or what is wrong with it. Text without escapes is a part of
// d.text and costs no allocation.
func (d *Reader) unquote(raw []byte) (s, problem string) {
	plain := true
	for _, c := range raw[1 : len(raw)-1] {
		if c == '\\' || c >= utf8.RuneSelf {
			plain = false
			break
		}
	}
	end := int(d.dec.InputOffset())
	s = d.text[end-len(raw)+1 : end-1]
	if plain || !strings.Contains(s, `\`) && utf8.ValidString(s) {
		return s, ""
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return "", notUnicode
	}
	s = string(text)
	if strings.IndexByte(s, 0) >= 0 {
		return "", holdsNUL
	}
	return s, ""
}

func itoa(n int) string { return strconv.Itoa(n) }
