package httpapi

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxNumber is the longest number in free-form JSON, in bytes. Databases expand 1e99999 to all its digits: a number has to
// fit a float64 as well.
const maxNumber = 64

// Raw reads any JSON value and gives it without white space, at most maxBytes long. Its strings must be Unicode without
// U+0000, its numbers finite; each that is not is named by its own pointer.
func (d *Reader) Raw(dst *jsontext.Value, maxBytes int) {
	if d.done() {
		return
	}
	c := compactor{d: d, max: maxBytes}
	if !c.value() {
		return
	}
	if c.tooLong {
		d.Invalid("must be at most " + itoa(maxBytes) + " bytes of JSON")
		return
	}
	if !c.bad {
		*dst = c.out
	}
}

// RawObject is Raw for a value that has to be an object.
func (d *Reader) RawObject(dst *jsontext.Value, maxBytes int) {
	if d.expect('{', "must be an object") {
		d.Raw(dst, maxBytes)
	}
}

// skip reads a value and forgets it. A large one is not read to its end: that it is bad is known already.
func (d *Reader) skip() {
	c := compactor{d: d, skipping: true}
	c.value()
}

// compactor copies one value token by token, checking on the way.
type compactor struct {
	d        *Reader
	out      []byte
	max      int
	start    int64 // where in the body the value begins, or shortly before
	skipping bool
	tooLong  bool
	bad      bool
}

// value copies one whole value; false when the reading ended inside it.
func (c *compactor) value() bool {
	base := c.d.dec.StackDepth()
	c.start = c.d.dec.InputOffset()
	for {
		if !c.next() {
			return false
		}
		if c.d.dec.StackDepth() <= base {
			return true
		}
	}
}

func (c *compactor) next() bool {
	d := c.d
	switch kind := d.dec.PeekKind(); kind {
	case '{', '[', '}', ']':
		if !d.token() || !d.depthOK() {
			return false
		}
		opens := kind == '{' || kind == '['
		if opens {
			c.separate(d.dec.StackDepth() - 1)
		}
		c.write([]byte{byte(kind)})
	default:
		raw, err := d.dec.ReadValue()
		if err != nil {
			d.fail(err)
			return false
		}
		if !c.skipping {
			c.check(kind, raw)
		}
		c.separate(d.dec.StackDepth())
		c.write(raw)
	}
	if d.dec.InputOffset()-c.start > maxSkip && (c.skipping || c.tooLong) {
		d.stopped = true
		if c.tooLong {
			d.InvalidAt(d.Pointer(), "is part of a value of more than "+itoa(c.max)+" bytes of JSON")
		}
		return false
	}
	return true
}

// separate writes the comma or colon that belongs before what was just read in the container at a depth. The value itself
// stands in none.
func (c *compactor) separate(depth int) {
	if len(c.out) == 0 {
		return
	}
	kind, n := c.d.dec.StackIndex(depth)
	switch {
	case kind == '{' && n%2 == 0:
		c.write([]byte{':'})
	case n > 1:
		c.write([]byte{','})
	}
}

func (c *compactor) write(b []byte) {
	if c.skipping || c.tooLong {
		return
	}
	if len(c.out)+len(b) > c.max {
		c.tooLong = true
		c.out = nil
		return
	}
	c.out = append(c.out, b...)
}

func (c *compactor) check(kind jsontext.Kind, raw []byte) {
	problem := ""
	switch kind {
	case '"':
		_, problem = c.d.unquote(raw)
	case '0':
		if _, err := strconv.ParseFloat(string(raw), 64); err != nil || len(raw) > maxNumber {
			problem = "is a number out of range"
		}
	}
	if problem != "" {
		c.bad = true
		c.d.Invalid(problem)
	}
}
