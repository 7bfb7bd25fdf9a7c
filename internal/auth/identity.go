// Package auth says who is calling and what they may do: it stores clients, issues access tokens (RFC 6749 client
// credentials, RFC 9068 JWTs) and verifies them on every node without asking the database for each request.
package auth

import (
	"slices"
	"time"

	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/seeded"
)

// Kind is what sort of party a client is.
type Kind string

// The kinds of parties. A user belongs to a tenant, a provider to a provider name, an auxiliary client to a system;
// an operator runs the store.
const (
	KindUser      Kind = "user"
	KindProvider  Kind = "provider"
	KindAuxiliary Kind = "auxiliary"
	KindOperator  Kind = "operator"
)

// The scopes a token may carry.
const (
	ScopeOrdersWrite        = "orders:write"
	ScopeOrdersRead         = "orders:read"
	ScopeTasksRead          = "tasks:read"
	ScopeResultsWrite       = "results:write"
	ScopeAuxiliaryWrite     = "auxiliary:write"
	ScopeStockWrite         = "stock:write"
	ScopeSubscriptionsWrite = "subscriptions:write"
	ScopeAdmin              = "admin"
)

// Identity is a verified caller. Tenant, Provider and System come from the token alone, never from a request's body.
type Identity struct {
	ClientID string
	Kind     Kind
	Tenant   string // the user's tenant; for an auxiliary client the one it is restricted to, empty for all
	Provider string // set for providers only
	System   string // set for auxiliary clients only
	Scopes   []string
	// ExpiresAt is when the token ends; an open stream ends with it.
	ExpiresAt time.Time
}

// Has tells whether the caller's token carries scope.
func (i Identity) Has(scope string) bool { return slices.Contains(i.Scopes, scope) }

// Rows is whose rows the databases show the caller. Who belongs to nobody sees none.
func (i Identity) Rows() postgres.Scope {
	switch {
	case seeded.On(seeded.TenantUnfiltered):
		return postgres.Everything()
	case i.Kind == KindUser && i.Tenant != "":
		return postgres.OfTenant(i.Tenant, "")
	case i.Kind == KindProvider && i.Provider != "":
		return postgres.OfProvider(i.Provider)
	case i.Kind == KindAuxiliary && i.Tenant != "":
		return postgres.OfTenant(i.Tenant, i.System)
	case i.Kind == KindAuxiliary && i.System != "":
		return postgres.OfSystem(i.System)
	case i.Kind == KindOperator:
		return postgres.Everything()
	}
	return postgres.Scope{}
}

// DefaultScopes are what a client of a kind is given when none are asked for.
func DefaultScopes(kind Kind) []string {
	switch kind {
	case KindUser:
		return []string{ScopeOrdersWrite, ScopeOrdersRead, ScopeStockWrite, ScopeSubscriptionsWrite}
	case KindProvider:
		return []string{ScopeOrdersRead, ScopeTasksRead, ScopeResultsWrite, ScopeSubscriptionsWrite}
	case KindAuxiliary:
		return []string{ScopeOrdersRead, ScopeAuxiliaryWrite, ScopeSubscriptionsWrite}
	case KindOperator:
		return []string{ScopeAdmin, ScopeOrdersRead}
	}
	return nil
}

// MayHave tells whether a client of a kind may be given scope at all. The defaults are the widest there is: a kind
// never gets what belongs to another, so a provider's token cannot become an operator's by a careless request.
func MayHave(kind Kind, scope string) bool { return slices.Contains(DefaultScopes(kind), scope) }
