package events

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The encoders here write what encoding/json would, byte for byte and in the same order, at a fraction of its cost: an order is
// encoded several times on its way. A test compares them with encoding/json over arbitrary values, so that a field that is added to
// a type and not here is found at once.

// writer appends members of JSON objects. A value that is not its own to write is left to encoding/json.
type writer struct {
	b   []byte
	err error
}

// next separates a member or element from the one before it, if there is one.
func (w *writer) next() {
	if n := len(w.b); n > 0 && w.b[n-1] != '{' && w.b[n-1] != '[' && w.b[n-1] != ':' {
		w.b = append(w.b, ',')
	}
}

// name starts a member. Names are plain ASCII.
func (w *writer) name(name string) {
	w.next()
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) open(c byte) { w.b = append(w.b, c) }

func (w *writer) close(c byte) { w.b = append(w.b, c) }

func (w *writer) text(name, s string) {
	w.name(name)
	w.quote(s)
}

// textIf leaves the member out where the text is empty.
func (w *writer) textIf(name, s string) {
	if s != "" {
		w.text(name, s)
	}
}

func (w *writer) number(name string, n int64) {
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) numberIf(name string, n int64) {
	if n != 0 {
		w.number(name, n)
	}
}

func (w *writer) truth(name string, v bool) {
	w.name(name)
	w.b = strconv.AppendBool(w.b, v)
}

func (w *writer) truthIf(name string, v bool) {
	if v {
		w.truth(name, v)
	}
}

func (w *writer) time(name string, t time.Time) {
	w.name(name)
	if y := t.Year(); y < 0 || y > 9999 || t.Location() != time.UTC {
		w.other(t)
		return
	}
	w.b = append(w.b, '"')
	w.b = t.AppendFormat(w.b, time.RFC3339Nano)
	w.b = append(w.b, '"')
}

func (w *writer) timeIf(name string, t time.Time) {
	if !t.IsZero() {
		w.time(name, t)
	}
}

// fraction writes a number that is not whole. Very large and very small ones have an exponent.
func (w *writer) fraction(name string, f float64) {
	w.name(name)
	if f != 0 && (f < 1e-6 || f >= 1e21) {
		w.other(f)
		return
	}
	w.b = strconv.AppendFloat(w.b, f, 'f', -1, 64)
}

// raw writes JSON that is kept as it came.
func (w *writer) raw(name string, raw json.RawMessage) {
	w.name(name)
	if raw == nil {
		w.b = append(w.b, "null"...)
		return
	}
	for _, c := range raw {
		if c <= ' ' || c >= 0x80 || c == '<' || c == '>' || c == '&' {
			w.other(raw)
			return
		}
	}
	w.b = append(w.b, raw...)
}

func (w *writer) rawIf(name string, raw json.RawMessage) {
	if len(raw) > 0 {
		w.raw(name, raw)
	}
}

// any writes a member whose type has no encoder here.
func (w *writer) any(name string, v any) {
	w.name(name)
	w.other(v)
}

func (w *writer) other(v any) {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("encode %T: %w", v, err)
	}
	w.b = append(w.b, b...)
}

// plain are the bytes that stand in a JSON string as they are; encoding/json escapes <, > and & as well.
func plain(c byte) bool {
	return c >= ' ' && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
}

func (w *writer) quote(s string) {
	for i := range len(s) {
		if !plain(s[i]) {
			w.escape(s)
			return
		}
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, s...)
	w.b = append(w.b, '"')
}

// escape writes a string with bytes that are not plain ASCII. Most of those are letters of other scripts, which stand as they are.
func (w *writer) escape(s string) {
	start := len(w.b)
	w.b = append(w.b, '"')
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !plain(c) && !letterAt(s, i) {
			w.b = w.b[:start]
			w.other(s)
			return
		}
		w.b = append(w.b, c)
	}
	w.b = append(w.b, '"')
}

// letterAt says whether the byte is part of a two or three byte UTF-8 sequence that JSON leaves as it is: all but U+2028, U+2029 and what
// is invalid. Longer sequences are left to encoding/json.
func letterAt(s string, i int) bool {
	c := s[i]
	switch {
	case c >= 0xC2 && c <= 0xDF:
		return i+1 < len(s) && continues(s[i+1])
	case c >= 0xE3 && c <= 0xEC:
		return i+2 < len(s) && continues(s[i+1]) && continues(s[i+2])
	case continues(c):
		return i > 0 && (s[i-1] >= 0xC2 && s[i-1] <= 0xDF || s[i-1] >= 0xE3 && s[i-1] <= 0xEC ||
			i > 1 && continues(s[i-1]) && s[i-2] >= 0xE3 && s[i-2] <= 0xEC)
	}
	return false
}

func continues(c byte) bool { return c >= 0x80 && c <= 0xBF }

// list writes an array member, null where the slice is nil.
func list[T any](w *writer, name string, all []T, element func(*T)) {
	w.name(name)
	if all == nil {
		w.b = append(w.b, "null"...)
		return
	}
	w.open('[')
	for i := range all {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		element(&all[i])
	}
	w.close(']')
}
