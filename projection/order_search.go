package projection

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// orderSearch keeps what text search looks through: the reference, the lines' SKUs and names, and the texts among the
// attributes, which is where notes are. Nothing of the customer is in it: that has to stay erasable.
func orderSearch() view {
	return view{name: OrderSearch, needs: needPayload, pace: alone, about: changesWhatWasOrdered, write: writeOrderSearch}
}

func changesWhatWasOrdered(t events.Type) bool { return t == events.OrderPlaced }

// maxSearch bounds what is kept of one order, in bytes. An order of a thousand lines is not found by its last ones.
const maxSearch = 16 << 10

const copySearch = `order_search (id, tenant, position, search, grams)`

func writeOrderSearch(b *batch, to *postgres.Bulk) error {
	copied := false
	for i := range b.facts {
		f := &b.facts[i]
		placed, ok := f.event.Data.(*events.Placed)
		if !ok {
			continue
		}
		if !copied {
			to.Copy(copySearch, 5)
			copied = true
		}
		text := searchText(placed)
		to.Row()
		to.UUID(f.orderID.Bytes)
		to.Text(f.event.Tenant)
		to.Int8(f.Position)
		to.Text(text)
		to.Int4Array(searchtext.Grams(f.event.Tenant, text))
	}
	return nil
}

// searchText folds each field by itself and puts it on a line of its own, so that no search finds the end of one and the
// beginning of the next.
func searchText(p *events.Placed) string {
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
	add(p.ExternalRef)
	for i := range p.Lines {
		add(p.Lines[i].SKU)
		add(p.Lines[i].Name)
	}
	eachText(p.Attributes, add)
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
