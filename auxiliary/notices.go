package auxiliary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/customerkeys"
)

// NoticesName is the system that tells customers what became of their orders.
const NoticesName = "notices"

const (
	noticesKind   = "notice_log"
	noticesRecord = "notices"
	noticesSchema = 1
	mailChannel   = "mail"
	hookChannel   = "webhook"
)

// Notices tells customers by e-mail, and by a webhook where the tenant has one, that their order was placed, completed, rejected or
// cancelled, or that goods came back. It keeps a record of each order, also where there is nobody to tell.
type Notices struct {
	keys   *customerkeys.Keys
	mailer *mailer
	hooks  *Hooks
	words  *words
	now    func() time.Time
}

// NoticesConfig is what the notices work with.
type NoticesConfig struct {
	From  string             // an RFC 5322 address
	To    Target             // takes the mails
	Pool  *pgxpool.Pool      // the auxiliary database, with tenants' templates; nil: nobody has any
	Hooks *Hooks             // calls tenants' webhooks; nil: nobody is called
	Keys  *customerkeys.Keys // open whom the orders are for; nil: of a sealed customer nothing is known
	Now   func() time.Time
}

// NewNotices makes the system.
func NewNotices(cfg NoticesConfig) (*Notices, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := newWords(cfg.Pool, cfg.Now)
	m, err := newMailer(cfg.From, cfg.To, w)
	if err != nil {
		return nil, err
	}
	return &Notices{mailer: m, hooks: cfg.Hooks, words: w, keys: cfg.Keys, now: cfg.Now}, nil
}

// Lanes keep a webhook that does not answer from holding up the mails, and the other way round.
func (*Notices) Lanes() []Lane {
	return []Lane{
		{Channel: mailChannel},
		// A call may take as long as its time-out, and one endpoint all senders until its circuit opens.
		{Channel: hookChannel, Pace: Pace{Senders: 8, InHand: 64, Claim: 2 * hookTimeout, Linger: 40 * time.Millisecond}},
	}
}

// Name is the system's name.
func (*Notices) Name() string { return NoticesName }

// notice is one event that a customer is told of.
type notice struct {
	position int64
	orderID  string
	event    events.Type
	at       time.Time
	placed   *events.Placed      // for order.placed
	returned *events.OrderReturn // for order.returned
	tenant   string
	reason   string           // for order.rejected, order.cancelled and order.returned
	customer *events.Customer // for order.placed, as it can be read
	unread   string           // why it cannot
	// By the settings that hold for the event.
	byMail, byHook bool
}

// noticeOrder is what is kept of an order.
type noticeOrder struct {
	id, tenant, channel, ref, currency string
	total                              int64
	name, address                      string
	quiet                              string // why there is no address
	phone, language                    string
	key                                string // that the customer is sealed under
}

// The reasons for which nobody is told.
const (
	quietNoAddress  = "no_address"
	quietBadAddress = "address_not_usable"
	quietOff        = "switched_off" // by the tenant
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
		case events.OrderCancelled:
			if cancelled, ok := e.Data.(*events.OrderCancellation); ok {
				n.reason = cancelled.Reason
			}
		case events.OrderReturned:
			if n.returned, _ = e.Data.(*events.OrderReturn); n.returned != nil {
				n.reason = n.returned.Reason
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
	o.language = orderLanguage(n.placed.Attributes)
	if n.placed.Customer != nil {
		o.key = n.placed.Customer.Key
	}
	if n.customer == nil {
		o.quiet = cmp.Or(n.unread, o.quiet)
		return o
	}
	o.name, o.phone = n.customer.Name, n.customer.Phone
	if n.customer.Email == "" {
		return o
	}
	address, ok := usableAddress(n.customer.Email)
	if !ok {
		o.quiet = quietBadAddress
		return o
	}
	o.address, o.quiet = address, ""
	return o
}

// reachable tells whether a webhook's receiver has something to reach the customer by.
func (o *noticeOrder) reachable() bool { return o.address != "" || o.phone != "" }

// orderLanguage is the one that the order asks for in its attributes: language, or else locale.
func orderLanguage(attributes []byte) string {
	var named struct {
		Language any `json:"language"`
		Locale   any `json:"locale"`
	}
	if len(attributes) == 0 || json.Unmarshal(attributes, &named) != nil {
		return ""
	}
	for _, value := range []any{named.Language, named.Locale} {
		if text, ok := value.(string); ok && languageOf(text) != "" {
			return languageOf(text)
		}
	}
	return ""
}

// Needs are the events that customers are told of, and those by which they are forgotten.
func (*Notices) Needs(t events.Type) bool {
	switch t {
	case events.CustomerErased, events.OrderPlaced, events.OrderCompleted, events.OrderRejected, events.OrderCancelled, events.OrderReturned:
		return true
	}
	return false
}

// Apply notes what customers are to be told and queues the mails.
func (s *Notices) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	found := noticesIn(batch.Events)
	if err := s.open(ctx, found); err != nil {
		return err
	}
	if err := s.note(ctx, tx, batch, found); err != nil {
		return err
	}
	return forgetErased(ctx, tx, batch)
}

func (s *Notices) open(ctx context.Context, found []notice) error {
	sealed := make([]*events.Customer, len(found))
	for i := range found {
		if found[i].placed != nil {
			sealed[i] = found[i].placed.Customer
		}
	}
	opened, why, err := openCustomers(ctx, s.keys, sealed)
	if err != nil {
		return err
	}
	for i := range found {
		found[i].customer, found[i].unread = opened[i], why[i]
	}
	return nil
}

func (*Notices) note(ctx context.Context, tx pgx.Tx, batch Batch, found []notice) error {
	if len(found) == 0 {
		return nil
	}
	orders, err := noticeOrders(ctx, tx, found)
	if err != nil {
		return err
	}
	if err := decideNotices(ctx, tx, found); err != nil {
		return err
	}
	if err := insertNotices(ctx, tx, found); err != nil {
		return err
	}
	var effects []Effect
	ids := make([]string, 0, len(found))
	for i := range found {
		n, o := &found[i], orders[found[i].orderID]
		ids = append(ids, n.orderID)
		channels := channelsOf(n, o)
		if len(channels) == 0 {
			continue
		}
		payload, err := json.Marshal(noticeMailOf(n, o))
		if err != nil {
			return fmt.Errorf("encode notice of event %d: %w", n.position, err)
		}
		for _, channel := range channels {
			effects = append(effects, Effect{Position: n.position, Channel: channel, OrderID: n.orderID, Payload: payload})
		}
	}
	if err := queue(ctx, tx, NoticesName, batch, effects); err != nil {
		return err
	}
	return refreshNotices(ctx, tx, ids, batch.Now)
}

// channelsOf are the ways by which the customer is told.
func channelsOf(n *notice, o *noticeOrder) []string {
	var channels []string
	if n.byMail && o.address != "" {
		channels = append(channels, mailChannel)
	}
	if n.byHook && o.reachable() {
		channels = append(channels, hookChannel)
	}
	return channels
}

// decideNotices reads by the tenants' settings how each event is told.
func decideNotices(ctx context.Context, tx pgx.Tx, found []notice) error {
	tenants := make([]string, 0, len(found))
	for i := range found {
		tenants = append(tenants, found[i].tenant)
	}
	history, err := readSettings(ctx, tx, distinct(tenants))
	if err != nil {
		return err
	}
	for i := range found {
		n := &found[i]
		s := history.at(n.tenant, n.position)
		n.byMail, n.byHook = slices.Contains(s.mail, string(n.event)), slices.Contains(s.webhook, string(n.event))
	}
	return nil
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

// Send sends one mail, or makes one call.
func (s *Notices) Send(ctx context.Context, effect Effect) error {
	var n noticeMail
	if err := json.Unmarshal(effect.Payload, &n); err != nil {
		return Undeliverable(fmt.Errorf("decode mail: %w", err))
	}
	if n.Event == "" {
		return Undeliverable(errors.New("the mail is empty"))
	}
	if effect.Channel == hookChannel {
		return s.call(ctx, effect.Position, effect.OrderID, &n)
	}
	return s.mailer.send(ctx, effect.Position, effect.OrderID, &n)
}

// Close gives up connections to the mail server and to endpoints.
func (s *Notices) Close() error {
	if s.hooks != nil {
		s.hooks.Close()
	}
	return s.mailer.target.Close()
}

// noticeLog is the record's payload.
type noticeLog struct {
	Notices []noticeEntry `json:"notices"`
}

// noticeEntry is what became of telling the customer one event.
type noticeEntry struct {
	Event    string    `json:"event"`
	Position int64     `json:"position"`
	Channel  string    `json:"channel,omitempty"` // webhook; empty: mail
	To       string    `json:"to,omitempty"`      // masked
	State    string    `json:"state"`             // queued, sent, suppressed, quiet, dead or discarded
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"` // the event's
}

const stateQuiet = "quiet" // the customer has no usable address

// toldNotice is what the tables know of telling one event.
type toldNotice struct {
	position              int64
	event                 string
	at                    time.Time
	address, phone, quiet string
	byMail, byHook        bool
	mailState, hookState  string // in the outbox; empty: not there
}

// entries are what the record says: always one of the mail, and one of the webhook where the tenant has one for the event.
func (n *toldNotice) entries() []noticeEntry {
	mail := noticeEntry{Event: n.event, Position: n.position, At: n.at.UTC(), State: stateQuiet}
	switch {
	case !n.byMail:
		mail.Reason = quietOff
	case n.address == "":
		mail.Reason = n.quiet
	default:
		mail.To, mail.State = masked(n.address), n.mailState
	}
	if !n.byHook {
		return []noticeEntry{mail}
	}
	hook := noticeEntry{Event: n.event, Position: n.position, At: n.at.UTC(), Channel: hookChannel, State: n.hookState}
	if n.address == "" && n.phone == "" {
		hook.State, hook.Reason = stateQuiet, quietNoAddress
	}
	return []noticeEntry{mail, hook}
}

// distinct sorts ids, so that rows are locked in the same order by everyone, and takes out repetitions.
func distinct(ids []string) []string {
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
