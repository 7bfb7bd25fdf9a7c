package projection

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// orderSearch keeps what text search looks through: the reference, the lines' SKUs and names, and the texts among the
// attributes, which is where notes are. Nothing of the customer is in it: that has to stay erasable.
func orderSearch() view {
	return view{name: OrderSearch, code: 1, needs: needPayload, pace: alone, about: changesWhatWasOrdered, write: writeOrderSearch}
}

func changesWhatWasOrdered(t events.Type) bool {
	return t == events.OrderPlaced || t == events.OrderAmended
}

// maxSearch bounds what is kept of one order, in bytes. An order of a thousand lines is not found by its last ones.
const maxSearch = 16 << 10

const (
	copySearch   = `order_search (id, tenant, position, search, grams)`
	updateSearch = `
UPDATE order_search s SET position = t.position, search = t.search, grams = t.grams::int[]
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS t (id, position, search, grams)
WHERE s.id = t.id`
)

// searched is what a batch leaves of an order to look through.
type searched struct {
	fact   *fact // the last that said what the order is
	placed bool  // in this batch: there is no row yet
}

func writeOrderSearch(b *batch, to *postgres.Bulk) error {
	last, order := map[pgtype.UUID]*searched{}, []*searched{}
	for i := range b.facts {
		f := &b.facts[i]
		if !saysWhatWasOrdered(f) {
			continue
		}
		s := last[f.orderID]
		if s == nil {
			s = &searched{placed: f.event.Type == events.OrderPlaced}
			last[f.orderID], order = s, append(order, s)
		}
		s.fact = f
	}
	copied := false
	var amended searchColumns
	for _, s := range order {
		text, tenant := searchText(s.fact.event.Data), s.fact.event.Tenant
		if !s.placed {
			amended.add(s.fact, text)
			continue
		}
		if !copied {
			to.Copy(copySearch, 5)
			copied = true
		}
		to.Row()
		to.UUID(s.fact.orderID.Bytes)
		to.Text(tenant)
		to.Int8(s.fact.Position)
		to.Text(text)
		to.Int4Array(searchtext.Grams(tenant, text))
	}
	if c := &amended; len(c.ids) > 0 {
		to.Query(updateSearch, c.ids, c.positions, c.texts, c.grams)
	}
	return nil
}

func saysWhatWasOrdered(f *fact) bool {
	switch f.event.Data.(type) {
	case *events.Placed, *events.Amended:
		return true
	}
	return false
}

// searchColumns are the columns of rows that change, each an array.
type searchColumns struct {
	ids          []pgtype.UUID
	positions    []int64
	texts, grams []string
}

func (c *searchColumns) add(f *fact, text string) {
	c.ids, c.positions = append(c.ids, f.orderID), append(c.positions, f.Position)
	c.texts, c.grams = append(c.texts, text), append(c.grams, arrayText(searchtext.Grams(f.event.Tenant, text)))
}

// searchText folds each field by itself and puts it on a line of its own, so that no search finds the end of one and the
// beginning of the next. data is that of order.placed or order.amended: both have all of it.
func searchText(data any) string {
	var ref string
	var lines []events.PlacedLine
	var attributes json.RawMessage
	switch data := data.(type) {
	case *events.Placed:
		ref, lines, attributes = data.ExternalRef, data.Lines, data.Attributes
	case *events.Amended:
		ref, lines, attributes = data.ExternalRef, data.Lines, data.Attributes
	}
	var b strings.Builder
	seen := map[string]bool{}
	add := func(field string) {
		folded := searchtext.Fold(field)
		if folded == "" || seen[folded] || b.Len()+len(folded) >= maxSearch {
			return
		}
		seen[folded] = true
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(folded)
	}
	add(ref)
	for i := range lines {
		add(lines[i].SKU)
		add(lines[i].Name)
	}
	eachText(attributes, add)
	return b.String()
}

// eachText gives the strings of a JSON value, names of members left out.
func eachText(raw json.RawMessage, add func(string)) {
	if len(raw) == 0 {
		return
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&value) != nil {
		return
	}
	walkTexts(value, add)
}

func walkTexts(value any, add func(string)) {
	switch v := value.(type) {
	case string:
		add(v)
	case []any:
		for _, element := range v {
			walkTexts(element, add)
		}
	case map[string]any:
		for _, name := range sortedNames(v) {
			walkTexts(v[name], add)
		}
	}
}

func sortedNames(object map[string]any) []string { return slices.Sorted(maps.Keys(object)) }
