package disclose

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Fields are the members of a document that are wanted, and of each the members of what it holds; nil stands for all.
type Fields map[string]Fields

// Select gives a document with the wanted members alone, in their order. An array is cut element by element; what is neither object nor
// array stays whole.
func Select(raw []byte, fields Fields) ([]byte, error) {
	if fields == nil {
		return raw, nil
	}
	switch jsontext.Value(raw).Kind() {
	case '{':
		members, err := Members(raw)
		if err != nil {
			return nil, err
		}
		kept := members[:0]
		for _, m := range members {
			within, wanted := fields[m.Name]
			if !wanted {
				continue
			}
			if m.Value, err = Select(m.Value, within); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Name, err)
			}
			kept = append(kept, m)
		}
		return Object(kept), nil
	case '[':
		elements, err := Elements(raw)
		if err != nil {
			return nil, err
		}
		for i := range elements {
			if elements[i], err = Select(elements[i], fields); err != nil {
				return nil, err
			}
		}
		return Array(elements), nil
	}
	return raw, nil
}

// Add wants what is at a path, whole, such as lines.sku. What is wanted whole stays so.
func (f Fields) Add(path string) {
	name, rest, deeper := strings.Cut(path, ".")
	within, has := f[name]
	switch {
	case has && within == nil:
	case !deeper:
		f[name] = nil
	default:
		if within == nil {
			within = Fields{}
			f[name] = within
		}
		within.Add(rest)
	}
}
