// Package events holds the facts: what happened to an order, as it stands in the log for ever. It knows the event types and
// their versions, their bytes, their subjects and digests, and the order document that events fold into. It imports the
// standard library alone, so that every wing may import it.
package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// DefaultCell is the cell of a deployment that has one primary. A position is unique within its cell.
const DefaultCell = 1

// Type names what happened. It is the last part of the event's subject.
type Type string

// The event types of this version.
const (
	OrderPlaced               Type = "order.placed"
	OrderAmended              Type = "order.amended"
	OrderCancelled            Type = "order.cancelled"
	OrderCompleted            Type = "order.completed"
	OrderRejected             Type = "order.rejected"
	OrderReturned             Type = "order.returned" // goods came back, of what was fulfilled
	TaskOffered               Type = "task.offered"
	TaskAccepted              Type = "task.accepted"
	TaskRejected              Type = "task.rejected"
	TaskResultPosted          Type = "task.result_posted"
	TaskAmended               Type = "task.amended" // the order was, while the task was open
	TaskExpired               Type = "task.expired"
	TaskHeld                  Type = "task.held"
	TaskResumed               Type = "task.resumed"
	TaskCancelled             Type = "task.cancelled"
	TaskCancellationRequested Type = "task.cancellation_requested"
	TaskCancellationRefused   Type = "task.cancellation_refused"
	TaskDelegated             Type = "task.delegated"
	TaskDelegationAnswered    Type = "task.delegation_answered"
	TenantChanged             Type = "tenant.changed"
	ProviderChanged           Type = "provider.changed"
	RouteChanged              Type = "route.changed"
	ProductChanged            Type = "product.changed"
	VendorChanged             Type = "vendor.changed"
	SubscriptionDisabled      Type = "subscription.disabled" // by the store: its endpoint failed too long, or is gone
	CustomerErased            Type = "customer.erased"       // the key of what is said of a customer was destroyed
	StockAdjusted             Type = "stock.adjusted"
	ReplenishmentDue          Type = "replenishment.due" // a scheduled run found products to be bought
)

// ErrUnknown says that this version of the code does not know the event's type or its schema version: it was written by a
// newer one. The event is whole; a reader stops rather than skips it.
var ErrUnknown = errors.New("event of an unknown type or version")

// Event is one fact. Its JSON, made once by Encode, is the log row, the stream message's body and what the digest covers.
type Event struct {
	Position int64 `json:"-"` // beside the bytes, not in them: the log's key and the stream's sequence

	Cell         int       `json:"cell"`
	Type         Type      `json:"type"`
	Version      int       `json:"version"` // of the payload's schema
	Time         time.Time `json:"time"`    // UTC, microseconds
	Tenant       string    `json:"tenant,omitempty"`
	BusinessType string    `json:"business_type,omitempty"`
	Provider     string    `json:"provider,omitempty"` // the provider it is addressed to
	OrderID      string    `json:"order_id,omitempty"`
	OrderVersion int64     `json:"order_version,omitempty"` // the order's version after this event
	TaskID       string    `json:"task_id,omitempty"`
	// Status and FulfillmentStatus are the order's after this event, where it changed them.
	Status            OrderStatus       `json:"status,omitempty"`
	FulfillmentStatus FulfillmentStatus `json:"fulfillment_status,omitempty"`
	Traceparent       string            `json:"traceparent,omitempty"` // W3C Trace Context of the request
	Data              any               `json:"data"`                  // *Placed, *Offered, … by Type
}

// schema tells for a type its newest payload version and how to make an empty payload.
type schema struct {
	version int
	empty   func() any
	// upcasts make of a payload of version 1 one of version 2, of that one of version 3, and so on up to the newest.
	upcasts []upcast
}

// upcast makes of a payload the same in the next version's form.
type upcast func(payload json.RawMessage) (json.RawMessage, error)

// of is a type whose payload has had as many forms as there are upcasts, and the newest one.
func of[T any](upcasts ...upcast) schema {
	return schema{version: 1 + len(upcasts), empty: func() any { return new(T) }, upcasts: upcasts}
}

// read gives a payload of any version in the newest one's form.
func (s schema) read(version int, payload json.RawMessage) (any, error) {
	for v := version; v < s.version; v++ {
		var err error
		if payload, err = s.upcasts[v-1](payload); err != nil {
			return nil, fmt.Errorf("from version %d: %w", v, err)
		}
	}
	data := s.empty()
	return data, json.Unmarshal(payload, data)
}

// schemas tells what each type's payload is.
//
//nolint:gochecknoglobals // a table that nothing changes
var schemas = map[Type]schema{
	OrderPlaced:               of[Placed](),
	OrderAmended:              of[Amended](),
	OrderCancelled:            of[OrderCancellation](),
	OrderCompleted:            of[Closed](),
	OrderRejected:             of[Closed](),
	OrderReturned:             of[OrderReturn](),
	TaskOffered:               of[Offered](),
	TaskAccepted:              of[Accepted](),
	TaskRejected:              of[Rejection](),
	TaskResultPosted:          of[ResultPosted](),
	TaskAmended:               of[TaskAmendment](),
	TaskExpired:               of[Expiry](),
	TaskHeld:                  of[Held](),
	TaskResumed:               of[Resumed](),
	TaskCancelled:             of[Withdrawal](),
	TaskCancellationRequested: of[CancellationAsked](),
	TaskCancellationRefused:   of[Refusal](),
	TaskDelegated:             of[Delegated](),
	TaskDelegationAnswered:    of[DelegationAnswered](),
	TenantChanged:             of[Tenant](),
	ProviderChanged:           of[Provider](),
	RouteChanged:              of[Route](),
	ProductChanged:            of[Product](),
	VendorChanged:             of[Vendor](),
	SubscriptionDisabled:      of[SubscriptionEnd](),
	CustomerErased:            of[Erasure](),
	StockAdjusted:             of[StockAdjustment](),
	ReplenishmentDue:          of[ReplenishmentRun](),
}

func schemaOf(t Type) (schema, bool) {
	s, ok := schemas[t]
	return s, ok
}

// Types lists all event types that this version writes and reads.
func Types() []Type {
	return []Type{
		OrderPlaced, OrderCompleted, OrderRejected, TaskOffered, TaskAccepted, TaskRejected, TaskResultPosted,
		TenantChanged, ProviderChanged, RouteChanged, ProductChanged, VendorChanged,
		OrderAmended, OrderCancelled, TaskAmended, TaskExpired, TaskHeld, TaskResumed, TaskCancelled,
		TaskCancellationRequested, TaskCancellationRefused, TaskDelegated, TaskDelegationAnswered, SubscriptionDisabled,
		StockAdjusted, ReplenishmentDue, OrderReturned, CustomerErased,
	}
}

// New makes an event of the type's newest version. The time is cut to the microseconds that the databases keep.
func New(t Type, at time.Time, data any) Event {
	s, _ := schemaOf(t)
	return Event{Cell: DefaultCell, Type: t, Version: s.version, Time: at.UTC().Truncate(time.Microsecond), Data: data}
}

// envelope is an Event whose payload is still bytes.
type envelope struct {
	Event
	Data json.RawMessage `json:"data"`
}

// Decode reads an event's bytes and upcasts its payload to the newest version. It returns ErrUnknown (test with
// errors.Is) for a type or version it does not know, with everything but Data filled in.
func Decode(position int64, body []byte) (Event, error) {
	return decode(position, body, schemaOf)
}

func decode(position int64, body []byte, schemaOf func(Type) (schema, bool)) (Event, error) {
	t := typeOf(body)
	s, known := schemaOf(t)
	if !known {
		return decodeUnknown(position, body, schemaOf)
	}
	if e, ok := readEvent(body, t, s.version); ok {
		e.Position = position
		return e, nil
	}
	e, ok := decodeAny(body, t, s)
	if !ok {
		return decodeUnknown(position, body, schemaOf) // an older or newer version's payload may have another form
	}
	e.Position = position
	return e, nil
}

// decodeAny reads an event of the newest version in whatever form its JSON has.
func decodeAny(body []byte, t Type, s schema) (Event, bool) {
	e := Event{Data: s.empty()}
	if json.Unmarshal(body, &e) != nil || e.Type != t || e.Version != s.version || e.Data == nil {
		return Event{}, false
	}
	return e, true
}

// typeOf finds the type in the bytes that Encode makes, without reading all of them; any other form of them has none.
func typeOf(body []byte) Type {
	const before = `"type":"`
	start := bytes.Index(body[:min(len(body), 48)], []byte(before))
	if start < 0 {
		return ""
	}
	rest := body[start+len(before):]
	end := bytes.IndexByte(rest[:min(len(rest), 48)], '"')
	if end < 0 {
		return ""
	}
	return Type(rest[:end])
}

// decodeUnknown reads an event of which nothing is certain.
func decodeUnknown(position int64, body []byte, schemaOf func(Type) (schema, bool)) (Event, error) {
	e, raw, err := DecodeHeader(position, body)
	if err != nil {
		return Event{}, err
	}
	s, known := schemaOf(e.Type)
	if !known || e.Version > s.version || e.Version < 1 {
		return e, fmt.Errorf("position %d: %w: %s v%d", position, ErrUnknown, e.Type, e.Version)
	}
	data, err := s.read(e.Version, raw)
	if err != nil {
		return Event{}, fmt.Errorf("decode %s at %d: %w", e.Type, position, err)
	}
	e.Data = data
	return e, nil
}

// DecodeHeader reads everything but the payload; it knows no event as unknown.
func DecodeHeader(position int64, body []byte) (Event, json.RawMessage, error) {
	if e, data, ok := readHeader(body); ok {
		e.Position = position
		return e, data, nil
	}
	var env envelope
	if err := json.Unmarshal(body, &env); err != nil {
		return Event{}, nil, fmt.Errorf("decode event %d: %w", position, err)
	}
	e := env.Event
	e.Position = position
	return e, env.Data, nil
}
