package broadcast

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/orderstore/orderstore/internal/auth"
)

// Transport is how a subscription's events reach its party.
type Transport string

// The transports. A webhook is called by us; the others are read by the party.
const (
	TransportWebhook Transport = "webhook"
	TransportNATS    Transport = "nats"
	TransportSSE     Transport = "sse"
	TransportFeed    Transport = "feed"
)

// SubscriptionStatus says whether a subscription is being delivered.
type SubscriptionStatus string

// The states of a subscription. A paused one was stopped by its party, a disabled one by the store; either goes on where it
// stopped when it is resumed.
const (
	SubscriptionActive   SubscriptionStatus = "active"
	SubscriptionPaused   SubscriptionStatus = "paused"
	SubscriptionDisabled SubscriptionStatus = "disabled"
)

// Subscription is a party's durable interest in events.
type Subscription struct {
	ID           uuid.UUID
	Owner        Owner
	ClientID     string // who made it
	Name         string // unique within the party
	Transport    Transport
	Filter       Filter
	IncludeOrder bool // events carry their order as data
	Status       SubscriptionStatus
	Reason       string          // why it is disabled
	Settings     json.RawMessage // of its transport; an object
	Version      int64
	Position     int64 // nothing up to here is missing at the party
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Owner is the party that a subscription belongs to.
type Owner struct {
	Kind     auth.Kind
	Tenant   string
	Provider string
	System   string
}

// OwnerOf is the party that an identity acts for.
func OwnerOf(who auth.Identity) Owner {
	return Owner{Kind: who.Kind, Tenant: who.Tenant, Provider: who.Provider, System: who.System}
}
