package customerkeys

import (
	"bytes"
	"context"

	"github.com/google/uuid"
)

// A sealed customer stands so in every document, with marks after it that may be missing: strings of a document hold no quotes that are
// not escaped. Nothing else is taken for one.
const (
	opening  = `"customer":{"key":"`
	between  = `","sealed":"`
	idLength = 36
)

// place is where a sealed customer stands in a document.
type place struct {
	from, to int // of the member, its name included
	key      string
	sealed   string
}

// places finds the sealed customers of a document.
func places(document []byte) []place {
	var all []place
	for at := 0; ; {
		i := bytes.Index(document[at:], []byte(opening))
		if i < 0 {
			return all
		}
		from := at + i
		at = from + len(opening)
		if p, ok := placeIn(document[at:]); ok {
			p.from, p.to = from, at+p.to
			all, at = append(all, p), p.to
		}
	}
}

// placeIn reads what follows the opening of a sealed customer.
func placeIn(rest []byte) (place, bool) {
	if len(rest) < idLength+len(between) || string(rest[idLength:idLength+len(between)]) != between {
		return place{}, false
	}
	p := place{key: string(rest[:idLength])}
	if _, err := uuid.Parse(p.key); err != nil {
		return place{}, false
	}
	at := idLength + len(between)
	n := plainLength(rest[at:])
	p.sealed = string(rest[at : at+n])
	at += n
	for _, mark := range []string{`","found":"`, `","joined":"`} {
		if bytes.HasPrefix(rest[at:], []byte(mark)) {
			at += len(mark)
			at += plainLength(rest[at:])
		}
	}
	if !bytes.HasPrefix(rest[at:], []byte(`"}`)) {
		return place{}, false
	}
	p.to = at + len(`"}`)
	return p, true
}

// plainLength is how far the characters of base64url and dots go.
func plainLength(text []byte) int {
	for i, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return i
		}
	}
	return len(text)
}

// Opened says what became of the customers of a document.
type Opened int

// What became of them.
const (
	Whole  Opened = iota // all were opened, or none is sealed
	Erased               // a key was destroyed: the customer is left out
	Away                 // keys could not be had: the customer is left out, and the document is marked as degraded
)

// Degraded is the member that stands in the place of a customer that could not be opened just now.
const Degraded = `"degraded":["customer"]`

// Open gives a document with its customers as they were before they were sealed.
func (k *Keys) Open(ctx context.Context, document []byte) ([]byte, Opened) {
	opened := [][]byte{document}
	became := k.OpenAll(ctx, opened)
	return opened[0], became
}

// OpenAll opens documents in place, and says the worst of what became of one. Their keys are read in one statement.
func (k *Keys) OpenAll(ctx context.Context, documents [][]byte) Opened {
	if k == nil {
		return Whole
	}
	found, ids := make([][]place, len(documents)), []string(nil)
	seen := map[string]bool{}
	for i, document := range documents {
		found[i] = places(document)
		for _, p := range found[i] {
			if !seen[p.key] {
				seen[p.key], ids = true, append(ids, p.key)
			}
		}
	}
	if len(ids) == 0 {
		return Whole
	}
	keys, err := k.fetch(ctx, ids)
	if err != nil && ctx.Err() == nil {
		k.cfg.Logger.WarnContext(ctx, "customers are left out of an answer", "cause", err)
	}
	worst := Whole
	for i := range documents {
		if len(found[i]) > 0 {
			var became Opened
			documents[i], became = replace(documents[i], found[i], keys, err != nil)
			worst = max(worst, became)
		}
	}
	return worst
}

// replace puts what was sealed in the place of what is.
func replace(document []byte, all []place, keys map[string]*Key, away bool) ([]byte, Opened) {
	out, at, worst := make([]byte, 0, len(document)), 0, Whole
	for _, p := range all {
		key := keys[p.key]
		switch {
		case key != nil:
			plain, err := key.Open(p.sealed)
			if err != nil {
				continue // somebody's own text, that only looks like it
			}
			out = append(append(append(out, document[at:p.from]...), `"customer":`...), plain...)
			at = p.to
		case away:
			out = append(append(out, document[at:p.from]...), Degraded...)
			at, worst = p.to, Away
		default:
			out = append(out, document[at:p.from]...)
			if at = p.to; len(out) > 0 && out[len(out)-1] == ',' {
				out = out[:len(out)-1]
			} else if at < len(document) && document[at] == ',' {
				at++
			}
			worst = max(worst, Erased)
		}
	}
	return append(out, document[at:]...), worst
}
