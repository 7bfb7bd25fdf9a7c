package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// NoticesName is the system that tells customers what became of their orders.
const NoticesName = "notices"

const (
	noticesKind   = "notice_log"
	noticesRecord = "notices"
	noticesSchema = 1
	mailChannel   = "mail"
)

// Notices tells customers by e-mail that their order was placed, completed or rejected. It keeps a record of each order,
// also where there is nobody to tell.
type Notices struct {
	mailer *mailer
}

// NewNotices makes the system. Mails come from an RFC 5322 address and go to a target.
func NewNotices(from string, to Target) (*Notices, error) {
	m, err := newMailer(from, to)
	if err != nil {
		return nil, err
	}
	return &Notices{mailer: m}, nil
}

// Name is the system's name.
func (*Notices) Name() string { return NoticesName }

// notice is one event that a customer is told of.
type notice struct {
	position int64
	orderID  string
	event    events.Type
	at       time.Time
	placed   *events.Placed // for order.placed
	tenant   string
	reason   string // for order.rejected
}

// noticeOrder is what is kept of an order.
type noticeOrder struct {
	id, tenant, channel, ref, currency string
	total                              int64
	name, address                      string
	quiet                              string // why there is no address
}

// The reasons for which nobody is told.
const (
	quietNoAddress  = "no_address"
	quietBadAddress = "address_not_usable"
)

func noticesIn(batch []events.Event) []notice {
	var found []notice
	for i := range batch {
		e := &batch[i]
		n := notice{position: e.Position, orderID: e.OrderID, event: e.Type, at: e.Time, tenant: e.Tenant}
		switch e.Type {
		case events.OrderPlaced:
			n.placed, _ = e.Data.(*events.Placed)
		case events.OrderCompleted:
		case events.OrderRejected:
			if closed, ok := e.Data.(*events.Closed); ok {
				n.reason = closed.Reason
			}
		default:
			continue
		}
		found = append(found, n)
	}
	return found
}

func noticeOrderOf(n *notice) noticeOrder {
	o := noticeOrder{
		id: n.orderID, tenant: n.tenant, channel: n.placed.Channel, ref: n.placed.ExternalRef,
		currency: n.placed.Currency, total: n.placed.Total, quiet: quietNoAddress,
	}
	if n.placed.Customer == nil || n.placed.Customer.Email == "" {
		return o
	}
	address, ok := usableAddress(n.placed.Customer.Email)
	if !ok {
		o.quiet = quietBadAddress
		return o
	}
	o.name, o.address, o.quiet = n.placed.Customer.Name, address, ""
	return o
}

// Apply notes what customers are to be told and queues the mails.
func (*Notices) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	found := noticesIn(batch.Events)
	if len(found) == 0 {
		return nil
	}
	orders, err := noticeOrders(ctx, tx, found)
	if err != nil {
		return err
	}
	if err := insertNotices(ctx, tx, found); err != nil {
		return err
	}
	var mails []Effect
	ids := make([]string, 0, len(found))
	for i := range found {
		n, o := &found[i], orders[found[i].orderID]
		ids = append(ids, n.orderID)
		if o.address == "" {
			continue
		}
		payload, err := json.Marshal(noticeMailOf(n, o))
		if err != nil {
			return fmt.Errorf("encode mail of event %d: %w", n.position, err)
		}
		mails = append(mails, Effect{Position: n.position, Channel: mailChannel, OrderID: n.orderID, Payload: payload})
	}
	if err := queue(ctx, tx, NoticesName, batch, mails); err != nil {
		return err
	}
	return refreshNotices(ctx, tx, ids, batch.Now)
}

// noticeOrders stores the orders that were placed and reads those that were placed before.
func noticeOrders(ctx context.Context, tx pgx.Tx, found []notice) (map[string]*noticeOrder, error) {
	orders := map[string]*noticeOrder{}
	var placed []*noticeOrder
	var earlier []string
	for i := range found {
		n := &found[i]
		switch {
		case n.placed != nil:
			o := noticeOrderOf(n)
			orders[n.orderID] = &o
			placed = append(placed, &o)
		case orders[n.orderID] == nil:
			earlier = append(earlier, n.orderID)
		}
	}
	if err := insertNoticeOrders(ctx, tx, placed); err != nil {
		return nil, err
	}
	if err := selectNoticeOrders(ctx, tx, earlier, orders); err != nil {
		return nil, err
	}
	for i := range found {
		if orders[found[i].orderID] == nil {
			return nil, fmt.Errorf("order %s was not placed", found[i].orderID)
		}
	}
	return orders, nil
}

// Settled brings the orders' records up to date with what was sent.
func (*Notices) Settled(ctx context.Context, tx pgx.Tx, orders []string, now time.Time) error {
	return refreshNotices(ctx, tx, orders, now)
}

// Send sends one mail.
func (s *Notices) Send(ctx context.Context, effect Effect) error {
	var n noticeMail
	if err := json.Unmarshal(effect.Payload, &n); err != nil {
		return Undeliverable(fmt.Errorf("decode mail: %w", err))
	}
	if n.Event == "" {
		return Undeliverable(errors.New("the mail is empty"))
	}
	return s.mailer.send(ctx, effect.Position, effect.OrderID, &n)
}

// Close gives up connections to the mail server.
func (s *Notices) Close() error { return s.mailer.target.Close() }

// noticeLog is the record's payload.
type noticeLog struct {
	Notices []noticeEntry `json:"notices"`
}

// noticeEntry is what became of telling the customer one event.
type noticeEntry struct {
	Event    string    `json:"event"`
	Position int64     `json:"position"`
	To       string    `json:"to,omitempty"` // masked
	State    string    `json:"state"`        // queued, sent, suppressed, quiet or dead
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"` // the event's
}

const stateQuiet = "quiet" // the customer has no usable address

// entryOf makes an entry. The state is that of the mail in the outbox; a quiet one has none.
func entryOf(position int64, event string, at time.Time, address, quiet, state string) noticeEntry {
	e := noticeEntry{Event: event, Position: position, State: state, At: at.UTC()}
	if address == "" {
		e.State, e.Reason = stateQuiet, quiet
		return e
	}
	e.To = masked(address)
	return e
}

// distinct sorts ids, so that rows are locked in the same order by everyone, and takes out repetitions.
func distinct(ids []string) []string {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
