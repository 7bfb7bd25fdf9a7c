package auxiliary

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
)

// ProfileName is the system that knows which orders are the same customer's.
const ProfileName = "profile"

const (
	profileRecord = "customer" // record id and kind
	profileSchema = 1
)

// Profiles joins orders of all channels by the customer's e-mail address and telephone number. Two customers who were known
// apart become one when an order names both; the one who came first stays, and the other's id leads there. Addresses and numbers
// are kept as hashes only, and as hashes of their marks where the customer is sealed: no key is needed for that, so that
// an erasure changes nothing but whose the orders are.
type Profiles struct{}

// NewProfiles makes the system.
func NewProfiles() *Profiles { return &Profiles{} }

// Name is the system's name.
func (*Profiles) Name() string { return ProfileName }

// customerKey is what a tenant knows a customer by.
type customerKey struct {
	tenant string
	hash   [32]byte
}

// customerRef is the record's payload: whose order it is, as it was known when the order named its customer. A later merge does
// not change it; the id leads to the customer all the same.
type customerRef struct {
	CustomerID string `json:"customer_id"`
	KnownBy    string `json:"known_by"` // email, phone or both
}

// keysOf are the keys of a customer, at most one an e-mail address and one a number.
func keysOf(tenant string, c *events.Customer) (keys []customerKey, knownBy string) {
	if c == nil {
		return nil, ""
	}
	if c.Sealed != "" {
		return sealedKeysOf(tenant, c.Joined)
	}
	if email, ok := customerkeys.Email(c.Email); ok {
		keys, knownBy = append(keys, keyOf(tenant, "email", email)), "email"
	}
	country := ""
	if c.Address != nil {
		country = c.Address.Country
	}
	if phone, ok := customerkeys.Phone(c.Phone, country); ok {
		if keys = append(keys, keyOf(tenant, "phone", phone)); knownBy != "" {
			return keys, "both"
		}
		knownBy = "phone"
	}
	return keys, knownBy
}

// sealedKeysOf are the keys of a sealed customer. Its marks tell an address from a number, and nothing else.
func sealedKeysOf(tenant, joined string) (keys []customerKey, knownBy string) {
	for mark := range strings.SplitSeq(joined, ".") {
		switch {
		case strings.HasPrefix(mark, "e"):
			keys, knownBy = append(keys, keyOf(tenant, "email mark", mark[1:])), "email"
		case strings.HasPrefix(mark, "p"):
			if keys = append(keys, keyOf(tenant, "phone mark", mark[1:])); knownBy != "" {
				return keys, "both"
			}
			knownBy = "phone"
		}
	}
	return keys, knownBy
}

func keyOf(tenant, kind, plain string) customerKey {
	return customerKey{tenant, sha256.Sum256([]byte(tenant + "\x00" + kind + "\x00" + plain))}
}

// What became of an order, as far as a profile tells.
const (
	stateOpen      = "open"
	stateCompleted = "completed"
	stateCancelled = "cancelled"
	stateRejected  = "rejected"
	stateReturned  = "returned"
)

// profileOrder is a row of customer_orders.
type profileOrder struct {
	id, tenant, customer, channel, currency, state string
	total, position                                int64
	placedAt                                       time.Time
	skus                                           []string
	quantities                                     []int64
	changed                                        bool
}

// customer is a row of customers.
type customer struct {
	id, tenant, mergedInto string
	since                  int64
	changed                bool
}

// profiling is the work on one batch.
type profiling struct {
	tx        pgx.Tx
	keys      map[customerKey]string // customer ids, maybe of ones that are merged meanwhile
	fresh     map[customerKey]bool   // written in this batch
	customers map[string]*customer
	orders    map[string]*profileOrder
	made      map[string]madeRecord
	merges    [][2]string // from, into; in their order
}

// Needs are the events that change bills or end orders.
func (*Profiles) Needs(t events.Type) bool { return mayEnd(t) }

// Apply takes a batch into the profiles.
func (*Profiles) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	w := profiling{
		tx: tx, keys: map[customerKey]string{}, fresh: map[customerKey]bool{}, customers: map[string]*customer{},
		orders: map[string]*profileOrder{}, made: map[string]madeRecord{},
	}
	if err := w.load(ctx, batch.Events); err != nil {
		return err
	}
	completed := map[int64]int64{}
	err := foldBills(ctx, tx, ProfileName, batch, withoutNames, func(e *events.Event, b *orderBill) error {
		if e.Type == events.OrderCompleted {
			completed[e.Position] = b.total()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.OrderID == "" {
			continue
		}
		w.take(e)
		if total, ok := completed[e.Position]; ok {
			w.orders[e.OrderID].total = total
		}
	}
	return w.save(ctx, batch.Now)
}

func (w *profiling) take(e *events.Event) {
	o := w.orders[e.OrderID]
	if data, ok := e.Data.(*events.Placed); ok {
		o = &profileOrder{
			id: e.OrderID, tenant: e.Tenant, channel: data.Channel, currency: data.Currency, state: stateOpen, total: data.Total,
			position: e.Position, placedAt: e.Time, changed: true,
		}
		w.orders[e.OrderID] = o
		o.goods(data.Lines)
		w.assign(e, o, data.Customer)
		return
	}
	if o == nil {
		return
	}
	switch data := e.Data.(type) {
	case *events.Amended:
		o.total, o.changed = data.Total, true
		o.goods(data.Lines)
		if slices.Contains(data.Changed, events.PartCustomer) {
			w.assign(e, o, data.Customer)
		}
	case *events.OrderReturn:
		o.lose(data)
	case *events.Closed:
		o.changed, o.state = true, stateCompleted
		if e.Type == events.OrderRejected {
			o.state = stateRejected
		}
	}
	switch {
	case e.FulfillmentStatus == events.Returned:
		o.state, o.changed = stateReturned, true
	case e.Status == events.OrderStatusCancelled:
		o.state, o.changed = stateCancelled, true
	}
}

func (o *profileOrder) goods(lines []events.PlacedLine) {
	o.skus, o.quantities = make([]string, len(lines)), make([]int64, len(lines))
	for i := range lines {
		o.skus[i], o.quantities[i] = lines[i].SKU, lines[i].Quantity
	}
}

// lose takes out what came back. An order that is under way is billed without it at its end.
func (o *profileOrder) lose(back *events.OrderReturn) {
	o.changed = true
	for i := range back.Lines {
		l := &back.Lines[i]
		o.total = max(0, o.total-l.Total)
		for j, units := 0, l.Quantity; j < len(o.skus) && units > 0; j++ {
			if o.skus[j] == l.SKU {
				gone := min(units, o.quantities[j])
				o.quantities[j] -= gone
				units -= gone
			}
		}
	}
}

// assign gives an order to the customer that its keys name, and makes one of those that were known apart until now.
func (w *profiling) assign(e *events.Event, o *profileOrder, who *events.Customer) {
	o.customer, o.changed = "", true
	keys, knownBy := keysOf(o.tenant, who)
	for _, key := range keys {
		id, known := w.keys[key]
		if known {
			id = w.root(id)
		}
		switch {
		case !known: // decided below
		case o.customer == "":
			o.customer = id
		case o.customer != id:
			o.customer = w.merge(o.customer, id)
		}
	}
	if len(keys) == 0 {
		delete(w.made, o.id)
		w.made[o.id] = madeRecord{o.id, profileRecord, profileRecord, o.tenant, struct{}{}, e.Position}
		if e.Type == events.OrderPlaced {
			delete(w.made, o.id) // nobody known, nothing to tell
		}
		return
	}
	if o.customer == "" {
		c := &customer{id: customerID(o.tenant, keys[0]), tenant: o.tenant, since: e.Position, changed: true}
		w.customers[c.id] = c
		o.customer = c.id
	}
	for _, key := range keys {
		if id, known := w.keys[key]; !known || id != o.customer {
			w.keys[key], w.fresh[key] = o.customer, true
		}
	}
	w.made[o.id] = madeRecord{o.id, profileRecord, profileRecord, o.tenant, customerRef{o.customer, knownBy}, e.Position}
}

// customerID is the same on every rebuild. A key makes a customer once: from then on it is known.
func customerID(tenant string, key customerKey) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, append([]byte("customer\x00"+tenant+"\x00"), key.hash[:]...)).String()
}

func (w *profiling) root(id string) string {
	for w.customers[id] != nil && w.customers[id].mergedInto != "" {
		id = w.customers[id].mergedInto
	}
	return id
}

// merge makes one customer of two; the earlier stays.
func (w *profiling) merge(a, b string) string {
	into, from := w.customers[a], w.customers[b]
	if from.since < into.since || from.since == into.since && from.id < into.id {
		into, from = from, into
	}
	from.mergedInto, from.changed = into.id, true
	w.merges = append(w.merges, [2]string{from.id, into.id})
	for _, o := range w.orders {
		if o.customer == from.id {
			o.customer, o.changed = into.id, true
		}
	}
	return into.id
}
