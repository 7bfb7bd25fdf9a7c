package broadcast

import (
	"slices"
	"strings"

	"github.com/orderstore/orderstore/events"
)

// Filter says which of a party's events are wanted. Its zero value wants all.
type Filter struct {
	Types         []string `json:"types"`          // event types, or a family of them such as "order.*"; empty: all
	BusinessTypes []string `json:"business_types"` // empty: all, also events of none
}

// Matches tells whether an event is wanted.
func (f Filter) Matches(eventType events.Type, businessType string) bool {
	if len(f.BusinessTypes) > 0 && !slices.Contains(f.BusinessTypes, businessType) {
		return false
	}
	return len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(want string) bool { return matchesType(want, string(eventType)) })
}

func matchesType(want, have string) bool {
	if family, ok := strings.CutSuffix(want, "*"); ok {
		return strings.HasPrefix(have, family)
	}
	return want == have
}

// maxFilter is how many types a filter may list.
const maxFilter = 64

// validType tells whether a filter may name a type: one that there is, or a family that has one.
func validType(want string) bool {
	if strings.HasSuffix(want, "*") && !strings.HasSuffix(want, ".*") {
		return false
	}
	return slices.ContainsFunc(events.Types(), func(t events.Type) bool { return matchesType(want, string(t)) })
}
