package events

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// reader reads the JSON that the encoders here write: members in their order, no white space. Whatever deviates from that is bad, and
// is then left to encoding/json, which knows all of JSON: reading it takes five times as long. What is read is the same as what
// encoding/json reads; a fuzz test compares them.
type reader struct {
	s     string // the whole document, of which the strings that are read are parts
	at    int
	first bool // no member of the object was read yet
	bad   bool
}

// fail gives up: nothing is left to be read.
func (r *reader) fail() { r.bad, r.at = true, len(r.s) }

func (r *reader) byte(c byte) {
	if r.at >= len(r.s) || r.s[r.at] != c {
		r.fail()
		return
	}
	r.at++
}

func (r *reader) open() {
	r.byte('{')
	r.first = true
}

func (r *reader) close() {
	r.byte('}')
	r.first = false
}

// name reads a member's name, if it is this one.
func (r *reader) name(name string) bool {
	at := r.at
	if !r.first {
		if at >= len(r.s) || r.s[at] != ',' {
			return false
		}
		at++
	}
	rest := r.s[at:]
	if len(rest) < len(name)+3 || rest[0] != '"' || rest[1:1+len(name)] != name || rest[1+len(name):3+len(name)] != `":` {
		return false
	}
	r.at, r.first = at+len(name)+3, false
	return true
}

func (r *reader) need(name string) {
	if !r.name(name) {
		r.fail()
	}
}

// str reads a string.
func (r *reader) str() string {
	r.byte('"')
	if r.bad {
		return ""
	}
	end := strings.IndexByte(r.s[r.at:], '"')
	if end < 0 {
		r.fail()
		return ""
	}
	s := r.s[r.at : r.at+end]
	ascii := true
	for i := range len(s) {
		if c := s[i]; c == '\\' || c < ' ' {
			return r.escaped()
		} else if c >= utf8.RuneSelf {
			ascii = false
		}
	}
	if !ascii && !utf8.ValidString(s) {
		r.fail()
		return ""
	}
	r.at += end + 1
	return s
}

// escaped reads a string with escapes from behind its opening quote.
func (r *reader) escaped() string {
	for i := r.at; i < len(r.s); i++ {
		switch r.s[i] {
		case '\\':
			i++
		case '"':
			var s string
			if json.Unmarshal([]byte(r.s[r.at-1:i+1]), &s) != nil {
				r.fail()
				return ""
			}
			r.at = i + 1
			return s
		}
	}
	r.fail()
	return ""
}

func (r *reader) text(name string) string {
	r.need(name)
	return r.str()
}

func (r *reader) textIf(name string) string {
	if r.name(name) {
		return r.str()
	}
	return ""
}

// int reads a whole number.
func (r *reader) int() int64 {
	start := r.at
	for r.at < len(r.s) && (r.s[r.at] == '-' || r.s[r.at] >= '0' && r.s[r.at] <= '9') {
		r.at++
	}
	digits := strings.TrimPrefix(r.s[start:r.at], "-")
	if r.at < len(r.s) && strings.IndexByte(".eE", r.s[r.at]) >= 0 || len(digits) > 1 && digits[0] == '0' {
		r.fail()
	}
	n, err := strconv.ParseInt(r.s[start:r.at], 10, 64)
	if err != nil {
		r.fail()
	}
	return n
}

func (r *reader) number(name string) int64 {
	r.need(name)
	return r.int()
}

func (r *reader) numberIf(name string) int64 {
	if r.name(name) {
		return r.int()
	}
	return 0
}

// fraction reads a number that may not be whole.
func (r *reader) fraction(name string) float64 {
	r.need(name)
	start := r.at
	for r.at < len(r.s) && r.s[r.at] != ',' && r.s[r.at] != '}' {
		r.at++
	}
	var f float64
	if json.Unmarshal([]byte(r.s[start:r.at]), &f) != nil {
		r.fail()
	}
	return f
}

func (r *reader) truth(name string) bool {
	r.need(name)
	switch {
	case strings.HasPrefix(r.s[r.at:], "true"):
		r.at += len("true")
		return true
	case strings.HasPrefix(r.s[r.at:], "false"):
		r.at += len("false")
		return false
	}
	r.fail()
	return false
}

func (r *reader) timeOf() time.Time {
	s := r.str()
	var t time.Time
	if r.bad || t.UnmarshalText([]byte(s)) != nil {
		r.fail()
	}
	return t
}

func (r *reader) time(name string) time.Time {
	r.need(name)
	return r.timeOf()
}

func (r *reader) timeIf(name string) time.Time {
	if r.name(name) {
		return r.timeOf()
	}
	return time.Time{}
}

// rawIf reads an object or array as it is. Other values are left to encoding/json.
func (r *reader) rawIf(name string) json.RawMessage {
	if !r.name(name) {
		return nil
	}
	start, depth := r.at, 0
	for ; r.at < len(r.s); r.at++ {
		switch r.s[r.at] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			r.skipString()
		}
		if depth <= 0 {
			break
		}
	}
	r.at++
	if r.bad || depth != 0 || r.at > len(r.s) || !json.Valid([]byte(r.s[start:r.at])) {
		r.fail()
		return nil
	}
	return json.RawMessage(r.s[start:r.at])
}

// skipString goes to the quote that ends a string.
func (r *reader) skipString() {
	for r.at++; r.at < len(r.s); r.at++ {
		switch r.s[r.at] {
		case '\\':
			r.at++
		case '"':
			return
		}
	}
	r.fail()
}

// readList reads an array member: nil for null.
func readList[T any](r *reader, name string, element func(*T)) []T {
	r.need(name)
	if strings.HasPrefix(r.s[r.at:], "null") {
		r.at += len("null")
		return nil
	}
	r.byte('[')
	all := make([]T, 0, 4)
	if r.at < len(r.s) && r.s[r.at] == ']' {
		r.at++
		return all
	}
	for !r.bad {
		var zero T
		all = append(all, zero)
		element(&all[len(all)-1])
		if r.at < len(r.s) && r.s[r.at] == ',' {
			r.at++
			continue
		}
		break
	}
	r.byte(']')
	return all
}
