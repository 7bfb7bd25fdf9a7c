// Package rows reads tables from files: CSV in any common encoding, and NDJSON. It knows nothing of orders.
//
// A row that cannot be read does not end the file: it comes with its fault, and with as many fields as could be made out.
package rows

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// MaxRow bounds one row, in bytes of UTF-8.
const MaxRow = 16 << 20

// Row is one row of a table.
type Row struct {
	// Number counts the rows of the file from 1, as a spreadsheet does: a header is row 1.
	Number int64
	// Line is the line of the text on which the row begins, from 1.
	Line int64
	// Fault says why the row could not be read as it should; empty for a good row.
	Fault  string
	fields fields
}

// fields are what a row holds.
type fields interface {
	// text is the value of a column, false where there is none.
	text(column string) (string, bool)
	// raw is the row as it goes into a report, a value that JSON can hold.
	raw() any
}

// Text is the value of a column; false where the row has none.
func (r Row) Text(column string) (string, bool) {
	if r.fields == nil {
		return "", false
	}
	return r.fields.text(column)
}

// Items are the elements of an array in the row, as rows; nil for a table that has no arrays, or none there.
func (r Row) Items(column string) []Row {
	object, ok := r.fields.(objectFields)
	if !ok {
		return nil
	}
	value, _ := object.value(column)
	array, ok := value.([]any)
	if !ok {
		return nil
	}
	items := make([]Row, 0, len(array))
	for _, element := range array {
		item := Row{Number: r.Number, Line: r.Line}
		if members, ok := element.(map[string]any); ok {
			item.fields = objectFields(members)
		} else {
			item.Fault = "an element of " + column + " is not an object"
		}
		items = append(items, item)
	}
	return items
}

// MarshalJSON shows the row for a report.
func (r Row) MarshalJSON() ([]byte, error) {
	shown := struct {
		Row    int64  `json:"row"`
		Line   int64  `json:"line"`
		Fault  string `json:"fault,omitempty"`
		Fields any    `json:"fields,omitempty"`
	}{Row: r.Number, Line: r.Line, Fault: r.Fault}
	if r.fields != nil {
		shown.Fields = r.fields.raw()
	}
	return json.Marshal(shown)
}

// Format says how a file is a table.
type Format struct {
	NDJSON    bool
	Delimiter rune // of CSV; 0: a comma
	// Quote is what CSV fields are quoted with; 0: the double quote.
	Quote rune
	// NoQuotes says that a quote is a character like any other.
	NoQuotes bool
	// NoHeader says that the first row holds values; its columns are named "1", "2", ….
	NoHeader bool
	// Columns must be in a CSV file's header.
	Columns []string
}

// ErrTable says that the file as a whole is not a table of its format; no row of it can be trusted.
var ErrTable = errors.New("not a table of this format")

// Read gives the rows of a file. It ends after the first error: ErrTable, or that of reading.
func Read(r io.Reader, e Encoding, f Format) iter.Seq2[Row, error] {
	if f.NDJSON {
		return readNDJSON(e.decode(r))
	}
	return readCSV(e.decode(r), f)
}

// listFields are the fields of a CSV row, by the names in its header.
type listFields struct {
	header map[string]int
	names  []string
	values []string
}

func (f listFields) text(column string) (string, bool) {
	i, ok := f.header[column]
	if !ok || i >= len(f.values) {
		return "", false
	}
	return f.values[i], true
}

func (f listFields) raw() any {
	m := make(map[string]string, len(f.values))
	for i, value := range f.values {
		if i < len(f.names) {
			m[f.names[i]] = value
		} else {
			m[strconv.Itoa(i+1)] = value // more than the header has
		}
	}
	return m
}

// rawText is a row that could not be split into fields, apart from the columns it may have been read for.
type rawText struct {
	listFields
	line string
}

func (t rawText) raw() any { return t.line }

// objectFields are the members of a JSON object. A column is a member's name, or a JSON pointer when it begins with a slash.
type objectFields map[string]any

func (o objectFields) text(column string) (string, bool) {
	value, ok := o.value(column)
	if !ok {
		return "", false
	}
	switch v := value.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	b, err := json.Marshal(value)
	return string(b), err == nil
}

func (o objectFields) raw() any { return map[string]any(o) }

func (o objectFields) value(column string) (any, bool) {
	pointer, ok := strings.CutPrefix(column, "/")
	if !ok {
		value, ok := o[column]
		return value, ok
	}
	var at any = map[string]any(o)
	for part := range strings.SplitSeq(pointer, "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v := at.(type) {
		case map[string]any:
			if at, ok = v[part]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			at = v[i]
		default:
			return nil, false
		}
	}
	return at, true
}

func tableError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrTable, fmt.Errorf(format, args...))
}
