package httpapi

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/orderstore/orderstore/internal/fault"
)

// Limits of what a Reader reads, whatever the caller allows.
const (
	maxDepth   = 32       // nested objects and arrays
	maxUnknown = 100      // unknown fields named in one answer
	maxFields  = 1_000    // bad fields named in one answer
	maxSkip    = 64 << 10 // bytes of a bad value that are read on to find more bad fields behind it
)

// Reader reads one JSON document in one pass and collects every bad field on the way.
//
// What cannot be read — malformed JSON, a duplicate key, nesting deeper than 32, an array over its limit, trailing data —
// ends the reading at once (400). Unknown fields are all named (400); names are compared exactly, so another spelling of a
// known name is unknown. Wrong kinds and values, invalid UTF-8, unpaired surrogates and U+0000 are bad fields (422).
//
//	d := httpapi.NewReader(body)
//	d.Object(func(name string) {
//		switch name {
//		case "sku":
//			d.String(&line.SKU, 1, 128)
//		case "quantity":
//			d.Int(&line.Quantity, 1, 1_000_000)
//		default:
//			d.Unknown()
//		}
//	})
//	d.Require("sku", line.SKU != "")
//	err := d.Finish()
//
// Strings that are read share one copy of the body. A Reader is for one document and one goroutine.
type Reader struct {
	*input
	text string // the body; strings without escapes are parts of it

	fatal   error
	stopped bool // what is bad was found bad, the rest is not worth reading
	unknown []fault.Field
	invalid []fault.Field
	more    int // bad fields beyond maxFields
}

// input is a decoder over a body. It is used again for another body: what it has grown to, to tell duplicate keys, is
// most of what reading an order would allocate.
type input struct {
	dec jsontext.Decoder
	buf bytes.Buffer
}

//nolint:gochecknoglobals // memory to use again, which holds no state
var inputs = sync.Pool{New: func() any { return new(input) }}

// NewReader reads body, which it does not change; body must stay as it is until Finish.
func NewReader(body []byte) *Reader {
	in, ok := inputs.Get().(*input)
	if !ok {
		in = new(input)
	}
	in.buf = *bytes.NewBuffer(body)
	// Invalid UTF-8 is let through here, to be named as a bad field with its pointer instead of as bad JSON.
	in.dec.Reset(&in.buf, jsontext.AllowInvalidUTF8(true))
	return &Reader{input: in, text: string(body)}
}

// Finish tells what was wrong, or nil. The Reader must not be used after it.
func (d *Reader) Finish() error {
	if !d.done() {
		d.finish()
	}
	inputs.Put(d.input)
	d.input = nil
	switch {
	case d.fatal != nil:
		return d.fatal
	case len(d.unknown) > 0:
		return &fault.Error{Code: fault.UnknownField, Message: "the request has fields that are not known here", Fields: d.unknown}
	case len(d.invalid) > 0:
		e := fault.InvalidFields(d.invalid)
		if d.more > 0 {
			return e.With("more_errors", d.more)
		}
		return e
	}
	return nil
}

func (d *Reader) finish() {
	switch _, err := d.dec.ReadToken(); {
	case err == nil:
		d.malformed("there is data after the JSON value")
	case !errors.Is(err, io.EOF):
		d.fail(err)
	}
}

// Object reads an object and calls member for each name; member reads the value. A value that it does not read counts as
// unknown.
func (d *Reader) Object(member func(name string)) {
	if !d.open('{', "must be an object") {
		return
	}
	for !d.done() {
		if d.dec.PeekKind() == '}' {
			d.token()
			return
		}
		name, ok := d.name()
		if !ok {
			continue
		}
		at := d.dec.InputOffset()
		member(name)
		if !d.done() && d.dec.InputOffset() == at {
			d.Unknown()
		}
	}
}

// Array reads an array of at most max elements and calls element for each; element reads the value.
func (d *Reader) Array(max int, element func(i int)) {
	if !d.open('[', "must be an array") {
		return
	}
	for i := 0; !d.done(); i++ {
		kind := d.dec.PeekKind()
		if kind == ']' {
			d.token()
			return
		}
		if i == max && kind != jsontext.KindInvalid {
			d.tooMany(max)
			return
		}
		at := d.dec.InputOffset()
		element(i)
		if !d.done() && d.dec.InputOffset() == at {
			d.skip()
		}
	}
}

// Unknown refuses the member whose name was just read.
func (d *Reader) Unknown() {
	if d.done() {
		return
	}
	d.unknown = append(d.unknown, fault.Field{Pointer: d.Pointer(), Detail: "is not a known field"})
	if len(d.unknown) >= maxUnknown {
		d.stopped = true
		return
	}
	d.skip()
}

// ReadOnly refuses a member that is known but is not the client's to set (422).
func (d *Reader) ReadOnly() { d.refuse("is set by the server and cannot be given") }

// Invalid adds a bad field at the value, object or array that was read last.
func (d *Reader) Invalid(detail string) {
	if !d.done() {
		d.InvalidAt(d.Pointer(), detail)
	}
}

// InvalidAt adds a bad field at a JSON pointer, as for checks that look at several fields.
func (d *Reader) InvalidAt(pointer, detail string) {
	if len(d.invalid) >= maxFields {
		d.more++
		return
	}
	d.invalid = append(d.invalid, fault.Field{Pointer: pointer, Detail: detail})
}

// Require adds a bad field when a member of the object that was read last is not present. Call it after Object.
func (d *Reader) Require(name string, present bool) {
	if !present && !d.done() {
		d.InvalidAt(d.Pointer()+"/"+escapePointer(name), "is required")
	}
}

// Pointer is the JSON pointer of what was read last.
func (d *Reader) Pointer() string { return string(d.dec.StackPointer()) }

// Null reads a null and tells that it did; any other value is left to be read.
func (d *Reader) Null() bool {
	if d.done() || d.dec.PeekKind() != 'n' {
		return false
	}
	return d.token()
}

// OK tells whether nothing has been found wrong so far.
func (d *Reader) OK() bool { return !d.done() && len(d.unknown) == 0 && len(d.invalid) == 0 }

func (d *Reader) done() bool { return d.fatal != nil || d.stopped }

// open reads the begin token of a kind; another kind of value is skipped as a bad field.
func (d *Reader) open(kind jsontext.Kind, detail string) bool {
	if !d.expect(kind, detail) || !d.token() {
		return false
	}
	return d.depthOK()
}

// expect looks at the next value's kind.
func (d *Reader) expect(kind jsontext.Kind, detail string) bool {
	if d.done() {
		return false
	}
	switch d.dec.PeekKind() {
	case kind:
		return true
	case jsontext.KindInvalid:
		d.token() // fails with the reason
		return false
	}
	d.refuse(detail)
	return false
}

// refuse skips a value and names it as a bad field.
func (d *Reader) refuse(detail string) {
	if d.done() {
		return
	}
	d.skip()
	if d.fatal == nil {
		d.InvalidAt(d.Pointer(), detail)
	}
}

func (d *Reader) depthOK() bool {
	if d.dec.StackDepth() <= maxDepth {
		return true
	}
	d.fatalAt(fault.Malformed, d.Pointer(), "the request is nested too deeply", "is nested deeper than 32")
	return false
}

func (d *Reader) tooMany(limit int) {
	e := fault.New(fault.Malformed, "an array has too many elements")
	pointer := string(d.dec.StackPointer())
	if limit > 0 { // the pointer is at the last element
		pointer = pointer[:strings.LastIndexByte(pointer, '/')]
	}
	e.Fields = []fault.Field{{Pointer: pointer, Detail: "has more than " + itoa(limit) + " elements"}}
	d.fatal = e
}

// name reads a member's name. One that is not Unicode text is a bad field; its value is skipped.
func (d *Reader) name() (string, bool) {
	raw, err := d.dec.ReadValue()
	if err != nil {
		d.fail(err)
		return "", false
	}
	name, problem := d.unquote(raw)
	if problem == "" {
		return name, true
	}
	d.refuse("its name " + problem)
	return "", false
}

// token reads one token of which only the kind matters.
func (d *Reader) token() bool {
	if _, err := d.dec.ReadToken(); err != nil {
		d.fail(err)
		return false
	}
	return true
}

// fail ends the reading with what the decoder says.
func (d *Reader) fail(err error) {
	if d.fatal != nil {
		return
	}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		d.fatalAt(fault.DuplicateKey, string(syntax.JSONPointer), "a key is given twice", "is given twice")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		d.malformed("the JSON ends too early")
	case errors.As(err, &syntax):
		message := "the body is not valid JSON at byte " + itoa(int(syntax.ByteOffset))
		d.fatalAt(fault.Malformed, string(syntax.JSONPointer), message, syntax.Err.Error())
	default:
		d.malformed("the body is not valid JSON")
	}
}

func (d *Reader) fatalAt(code fault.Code, pointer, message, detail string) {
	e := fault.New(code, "%s", message)
	e.Fields = []fault.Field{{Pointer: pointer, Detail: detail}}
	d.fatal = e
}

func (d *Reader) malformed(message string) { d.fatal = fault.New(fault.Malformed, "%s", message) }

func escapePointer(name string) string {
	if !strings.ContainsAny(name, "~/") {
		return name
	}
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// Text tells whether the next value is a string, and reads nothing.
func (d *Reader) Text() bool { return !d.done() && d.dec.PeekKind() == '"' }
