package broadcast

import (
	"slices"
	"strings"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/seeded"
)

// filterSubjects are the stream's subjects that a subscription wants. No two overlap: the broker refuses those that do.
func filterSubjects(o Owner, f Filter) []string {
	tenant, provider := "*", "*"
	if o.Tenant != "" && !seeded.On(seeded.SubjectsUnfiltered) {
		tenant = o.Tenant
	}
	if o.Provider != "" && !seeded.On(seeded.SubjectsUnfiltered) {
		provider = o.Provider
	}
	businessTypes := []string{"*"}
	if len(f.BusinessTypes) > 0 {
		businessTypes = f.BusinessTypes
	}
	types := []string{">"}
	if len(f.Types) > 0 {
		types = typeTokens(f.Types)
	}
	subjects := make([]string, 0, len(businessTypes)*len(types))
	for _, business := range businessTypes {
		for _, t := range types {
			subjects = append(subjects, strings.Join([]string{"orders", tenant, events.SubjectToken(business), provider, t}, "."))
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// typeTokens are types and families as the end of a subject, without types that a family of the list has already.
func typeTokens(types []string) []string {
	var tokens []string
	for i, t := range types {
		covered := slices.ContainsFunc(types, func(family string) bool {
			return family != t && strings.HasSuffix(family, ".*") && matchesType(family, t)
		})
		if covered || slices.Contains(types[:i], t) {
			continue
		}
		if family, ok := strings.CutSuffix(t, ".*"); ok {
			t = family + ".>"
		}
		tokens = append(tokens, t)
	}
	return tokens
}

// sameSubjects compares two lists, whatever their order.
func sameSubjects(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
