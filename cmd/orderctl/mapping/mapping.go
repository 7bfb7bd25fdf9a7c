// Package mapping turns the rows of a table into orders, as a mapping file says. A mapping file is YAML; what each key
// means is told with the type it is read into.
package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Mapping is a mapping file.
type Mapping struct {
	// Description is for people.
	Description string `yaml:"description"`
	// Format is csv or ndjson.
	Format string `yaml:"format"`
	// Encoding is the file's, by any usual name; left out or "auto", it is detected.
	Encoding string `yaml:"encoding"`
	CSV      CSV    `yaml:"csv"`
	// Tenant, when set, is whose orders these are: importing with another tenant's credentials is refused.
	Tenant string `yaml:"tenant"`
	// GroupBy is the column or columns whose values the rows of one order share, next to each other or not. Left out, each
	// row is an order of its own.
	GroupBy Names `yaml:"group_by"`
	// DamagedText says what to do with characters that could not be decoded (U+FFFD): reject, the default, or keep.
	DamagedText string `yaml:"damaged_text"`
	Order       Order  `yaml:"order"`
	Line        Line   `yaml:"line"`
}

// CSV is how a CSV file is written.
type CSV struct {
	Delimiter string `yaml:"delimiter"` // one character; a comma when left out
	Quote     string `yaml:"quote"`     // one character, or none; the double quote when left out
	Header    *bool  `yaml:"header"`    // false: the first row holds values, and columns are named 1, 2, …
}

// Order is where an order's fields come from: the first row of its group.
type Order struct {
	ExternalRef  *Text            `yaml:"external_ref"`
	Channel      *Text            `yaml:"channel"`
	BusinessType *Text            `yaml:"business_type"`
	Region       *Text            `yaml:"region"`
	Currency     *Text            `yaml:"currency"`
	Shipping     *Money           `yaml:"shipping"`
	Total        *Money           `yaml:"total"`
	Customer     *Customer        `yaml:"customer"`
	Attributes   map[string]*Text `yaml:"attributes"`
}

// Customer is where the customer's fields come from.
type Customer struct {
	Name    *Text    `yaml:"name"`
	Email   *Text    `yaml:"email"`
	Phone   *Text    `yaml:"phone"`
	Address *Address `yaml:"address"`
}

// Address is where the address's fields come from.
type Address struct {
	Line1      *Text `yaml:"line1"`
	Line2      *Text `yaml:"line2"`
	City       *Text `yaml:"city"`
	Region     *Text `yaml:"region"`
	PostalCode *Text `yaml:"postal_code"`
	Country    *Text `yaml:"country"`
}

// Line is where a line's fields come from: a row of the group.
type Line struct {
	// Each is, for NDJSON, the array whose elements are the lines; columns are then looked for in the element.
	Each     string `yaml:"each"`
	LineID   *Text  `yaml:"line_id"`
	SKU      *Text  `yaml:"sku"`
	Name     *Text  `yaml:"name"`
	Quantity *Text  `yaml:"quantity"`
	// UnitPrice, or Total: of a total, the unit price is the smallest that reaches it, and the discount makes up the rest.
	UnitPrice *Money `yaml:"unit_price"`
	Total     *Money `yaml:"total"`
	Discount  *Money `yaml:"discount"`
	Tax       *Money `yaml:"tax"`
}

// Text is a field's value: that of a column, or a constant.
type Text struct {
	// Column is a CSV column by the name in the header, or a member of an NDJSON object by name or JSON pointer (/a/0/b).
	Column string `yaml:"column"`
	// Value is a constant, instead of a column.
	Value *string `yaml:"value"`
	// Default stands for an empty or missing value. Without one, an optional field is left out.
	Default *string `yaml:"default"`
	// Transform are done in turn: trim, lower, upper, slug (lower case, with hyphens for all but letters, digits, _ and .).
	Transform Names `yaml:"transform"`
	// Map replaces values, after the transforms; a value it does not have is a fault, unless it has one for "*".
	Map map[string]string `yaml:"map"`
	// Date reads a date by the first of these layouts that fits, such as M/D/YYYY or YYYY-MM-DD HH:mm:ss, and writes it as in
	// ISO 8601: YYYY-MM-DD, or with a time YYYY-MM-DDTHH:mm:ssZ.
	Date Names `yaml:"date"`
	// Zone is the time zone of a date with a time and without an offset, as in Europe/Berlin; UTC when left out.
	Zone string `yaml:"zone"`
	// Type is what an attribute becomes in JSON: string, the default, integer, number or boolean.
	Type string `yaml:"type"`
}

// Money is an amount: that of a column, or a constant.
type Money struct {
	Column  string  `yaml:"column"`
	Value   *string `yaml:"value"`
	Default *string `yaml:"default"`
	// Unit is major, the default, for amounts like 12.50, or minor for such as are in minor units already.
	Unit string `yaml:"unit"`
	// Rounding is what to do with more decimals than the currency has: exact, the default, makes them a fault; half_even,
	// half_up and down round.
	Rounding string `yaml:"rounding"`
	// DecimalMark is "." or ","; the dot when left out.
	DecimalMark string `yaml:"decimal_mark"`
	// GroupingMark is taken out, such as the comma of 1,234.50; there is none when left out.
	GroupingMark string `yaml:"grouping_mark"`
}

// Names is one name or a list of them.
type Names []string

// UnmarshalYAML reads a scalar as a list of one.
func (n *Names) UnmarshalYAML(read func(any) error) error {
	var one string
	if read(&one) == nil {
		*n = Names{one}
		return nil
	}
	var many []string
	if err := read(&many); err != nil {
		return err
	}
	*n = many
	return nil
}

// MaxFile bounds a mapping file, in bytes.
const MaxFile = 1 << 20

// maxAliases bounds how often a mapping may repeat a part of itself, so that a small file stays small when it is read.
const maxAliases = 1000

// Parse reads a mapping file. All that is wrong with it is told, each fault with its line; but of unknown keys and of what is
// no YAML, only the first.
func Parse(file []byte) (*Mapping, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("mapping: longer than %d KiB", MaxFile>>10)
	}
	if !utf8.Valid(file) {
		return nil, errors.New("mapping: not UTF-8")
	}
	if bytes.Count(file, []byte("*")) > maxAliases {
		return nil, fmt.Errorf("mapping: more than %d aliases", maxAliases)
	}
	var m Mapping
	if err := yaml.UnmarshalWithOptions(file, &m, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("mapping: %w", plain(err))
	}
	tree, err := parser.ParseBytes(file, 0)
	if err != nil {
		return nil, fmt.Errorf("mapping: %w", plain(err))
	}
	if err := m.check(func(path []string) string { return lineOf(tree, path) }); err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return &m, nil
}

// plain says a YAML error in one line.
func plain(err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return err
	}
	return fmt.Errorf("line %d: %s", at.GetToken().Position.Line, at.GetMessage())
}

// lineOf finds where a key is, or the part it would be in, as "line 5: order.channel".
func lineOf(tree *ast.File, path []string) string {
	name := strings.Join(path, ".")
	for ; len(path) > 0; path = path[:len(path)-1] {
		at := (&yaml.PathBuilder{}).Root()
		for _, key := range path {
			at = at.Child(key)
		}
		if node, err := at.Build().FilterFile(tree); err == nil && node != nil && node.GetToken() != nil {
			return fmt.Sprintf("line %d: %s", node.GetToken().Position.Line, name)
		}
	}
	return name
}
