package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/klauspost/compress/s2"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/searchtext"
	"github.com/orderstore/orderstore/internal/stream"
)

const placedType = events.OrderPlaced

// warmOrders is how many orders verify keeps decoded.
const warmOrders = 16_384

// expected is an order as it has to be.
type expected struct {
	position int64 // of its last event
	tasks    []changedTask
	document []byte // compressed; nil while the folder has the order
	search   *expectedSearch
}

type expectedSearch struct {
	tenant   string
	position int64
	text     []byte // compressed
}

// pass is the part of all orders that is folded at once: those of which the last two bytes of the id, which are random,
// leave the rest part when divided by of.
type pass struct {
	part, of int64
	orders   map[string]*expected
	folder   *folder
	views    []string
	unsearch skips // what the search goes past
}

func (p *pass) has(id [16]byte) bool { return (int64(id[14])<<8|int64(id[15]))%p.of == p.part }

func (p *pass) looksAt(name string) bool { return slices.Contains(p.views, name) }

// load implements documents: what the folder has let go of is kept compressed.
func (p *pass) load(_ context.Context, ids []string) (map[string]*events.Order, error) {
	found := map[string]*events.Order{}
	for _, id := range ids {
		kept := p.orders[id]
		if kept == nil || kept.document == nil {
			continue
		}
		document, err := s2.Decode(nil, kept.document)
		if err != nil {
			return nil, err
		}
		if found[id], err = events.DecodeOrder(document); err != nil {
			return nil, err
		}
		kept.document = nil
	}
	return found, nil
}

// release keeps an order that the folder lets go of.
func (p *pass) release(id string, order *events.Order) {
	document, err := order.Encode()
	if kept := p.orders[id]; err == nil && kept != nil {
		kept.document = s2.Encode(nil, document)
	}
}

func (v *verifier) compareFolded(ctx context.Context, position int64, names []string) error {
	of := min(v.placed/v.perPass+1, 1<<16)
	for part := range of {
		p := &pass{part: part, of: of, orders: map[string]*expected{}, views: names}
		p.folder = newFolder(p, warmOrders, p.release)
		p.folder.skips, p.unsearch = v.skipsOf(names), v.skips[OrderSearch]
		whole, err := v.fold(ctx, position, p)
		if err != nil {
			return err
		}
		if !whole {
			return nil // has been told, and the rest would only repeat it
		}
		if err := v.compareOrders(ctx, position, p); err != nil {
			return err
		}
	}
	return nil
}

// skipsOf are the events that the orders are folded without.
func (v *verifier) skipsOf(names []string) skips {
	for _, name := range names {
		if name != OrderSearch {
			return v.skips[name]
		}
	}
	return nil
}

// fold gives the pass its orders. An event that cannot be folded is a difference of all views that were made past it; then the
// orders are not whole.
func (v *verifier) fold(ctx context.Context, position int64, p *pass) (whole bool, err error) {
	err = v.scan(ctx, position, func(records []stream.Record) error {
		facts, err := p.take(records)
		if err != nil {
			return err
		}
		return p.fold(ctx, facts)
	})
	var bad *unfoldable
	switch {
	case errors.Is(err, errTooShort):
		return false, nil
	case errors.As(err, &bad):
		for _, name := range p.views {
			v.views[name].differs(bad.position, "event %d cannot be folded: %v", bad.position, bad.cause)
		}
		return false, nil
	}
	return err == nil, err
}

// unfoldable is an event that the fold does not take.
type unfoldable struct {
	position int64
	cause    error
}

func (u *unfoldable) Error() string { return u.cause.Error() }

// take decodes the records that are about orders of this pass.
func (p *pass) take(records []stream.Record) ([]fact, error) {
	facts := make([]fact, 0, len(records))
	for i := range records {
		if p.of > 1 {
			var header fact
			decodeOne(&header, &records[i], needHeader)
			if header.orderID.Valid && !p.has(header.orderID.Bytes) {
				continue
			}
		}
		var f fact
		decodeOne(&f, &records[i], needPayload)
		if f.err != nil && !p.folder.skips[f.Position] && !p.unsearch[f.Position] {
			return nil, &unfoldable{position: f.Position, cause: f.err}
		}
		if f.orderID.Valid {
			facts = append(facts, f)
		}
	}
	return facts, nil
}

func (p *pass) fold(ctx context.Context, facts []fact) error {
	for i := range facts {
		f := &facts[i]
		if !saysWhatWasOrdered(f) || p.unsearch[f.Position] {
			continue
		}
		kept := p.orders[f.event.OrderID]
		if kept == nil {
			kept = &expected{}
			p.orders[f.event.OrderID] = kept
		}
		if p.looksAt(OrderSearch) {
			kept.search = &expectedSearch{
				tenant: f.event.Tenant, position: f.Position, text: s2.Encode(nil, []byte(searchText(f.event.Data))),
			}
		}
	}
	if !p.looksAt(OrderView) && !p.looksAt(TaskInbox) && !p.looksAt(OrderFacets) {
		return nil
	}
	changes, err := p.folder.fold(ctx, facts)
	var bad *fault
	if errors.As(err, &bad) && bad.index >= 0 {
		return &unfoldable{position: facts[bad.index].Position, cause: bad.cause}
	}
	if err != nil {
		return err
	}
	for _, c := range changes {
		kept := p.orders[c.order.ID]
		if kept == nil { // the event that placed it is one that the search goes past
			kept = &expected{}
			p.orders[c.order.ID] = kept
		}
		kept.position = c.position
		whole := changed{order: c.order, tasks: kept.tasks}
		for _, t := range c.tasks {
			whole.touchTask(t.index, t.position, t.offered)
		}
		kept.tasks = whole.tasks
	}
	return nil
}

// want gives the rows that an order has to have.
func (p *pass) want(ctx context.Context, id string, kept *expected) (*changed, error) {
	order, ok := p.folder.recent.Peek(id)
	if !ok {
		found, err := p.load(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		if order = found[id]; order == nil {
			return nil, fmt.Errorf("order %s was lost while folding", id)
		}
	}
	parsed, err := parseID(id)
	if err != nil {
		return nil, err
	}
	document, err := order.Encode()
	if err != nil {
		return nil, err
	}
	return &changed{id: parsed, order: order, position: kept.position, document: document, tasks: kept.tasks}, nil
}

// searchRow is a row of order_search, as it is or as it has to be.
type searchRow struct {
	tenant, search, grams string
	position              int64
}

func (e *expectedSearch) row() (searchRow, error) {
	text, err := s2.Decode(nil, e.text)
	if err != nil {
		return searchRow{}, err
	}
	return searchRow{tenant: e.tenant, search: string(text), grams: arrayText(searchtext.Grams(e.tenant, string(text))), position: e.position}, nil
}

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
