package broadcast

import (
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/seeded"
)

// party is whose events are meant: a tenant's, those addressed to a provider, or all.
type party struct {
	tenant   string
	provider string
	order    string // of what the two hear, events of this order alone
}

// hears says whether an event is the party's.
func (p party) hears(n *events.Notice) bool {
	switch {
	case seeded.On(seeded.NoticesUnfiltered):
		return true
	case p.order != "" && n.Subject != p.order:
		return false
	case p.tenant != "":
		return n.Tenant == p.tenant
	case p.provider != "":
		return n.Provider == p.provider
	}
	return true
}

// partyOf says which events an identity may hear of.
func partyOf(who auth.Identity) party {
	switch who.Kind {
	case auth.KindUser:
		return party{tenant: who.Tenant}
	case auth.KindProvider:
		return party{provider: who.Provider}
	case auth.KindAuxiliary:
		return party{tenant: who.Tenant} // without one: every tenant's
	}
	return party{}
}

// mayHear says whether the identity can be told of anything at all: an identity that is nobody's would otherwise hear everybody.
func mayHear(who auth.Identity) bool {
	switch who.Kind {
	case auth.KindUser:
		return who.Tenant != ""
	case auth.KindProvider:
		return who.Provider != ""
	case auth.KindAuxiliary, auth.KindOperator:
		return true
	}
	return false
}
