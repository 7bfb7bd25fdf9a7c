package projection

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/searchtext"
)

// orderSearch keeps what text search looks through: the reference, the lines' SKUs and names, and the texts among the
// attributes, which is where notes are. Nothing of the customer is in it: that has to stay erasable.
func orderSearch() view {
	return view{name: OrderSearch, needs: needPayload, pace: alone, about: changesWhatWasOrdered, statement: orderSearchStatement}
}

func changesWhatWasOrdered(t events.Type) bool { return t == events.OrderPlaced }

// maxSearch bounds what is kept of one order, in bytes. An order of a thousand lines is not found by its last ones.
const maxSearch = 16 << 10

const upsertSearch = `
INSERT INTO order_search (id, tenant, position, search, grams)
SELECT t.id, t.tenant, t.position, t.search, t.grams::int[]
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[]) AS t (id, tenant, position, search, grams)
ON CONFLICT (id) DO UPDATE SET position = excluded.position, search = excluded.search, grams = excluded.grams`

func orderSearchStatement(b *batch) (string, []any, error) {
	var id []pgtype.UUID
	var tenant, search, grams []string
	var position []int64
	for i := range b.facts {
		f := &b.facts[i]
		placed, ok := f.event.Data.(*events.Placed)
		if !ok {
			continue
		}
		text := searchText(placed)
		id = append(id, f.orderID)
		tenant = append(tenant, f.event.Tenant)
		position = append(position, f.Position)
		search = append(search, text)
		grams = append(grams, arrayText(searchtext.Grams(f.event.Tenant, text)))
	}
	if len(id) == 0 {
		return "", nil, nil
	}
	return upsertSearch, []any{id, tenant, position, search, grams}, nil
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

// arrayText is an array as Postgres reads it: unnest would take an array of arrays apart.
func arrayText(values []int32) string {
	b := make([]byte, 0, 2+12*len(values))
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return string(append(b, '}'))
}
