package command

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/orderstore/orderstore/events"
)

// assignment is what routing decided for an order: to whom it is offered, and why.
type assignment struct {
	providers  []string
	routing    events.Routing
	acceptBy   time.Time
	completeBy time.Time
}

// maxCandidates is how many candidates an event lists. More are counted alone, so that an event stays small however many
// providers there are.
const maxCandidates = 50

// assign chooses providers for a business type in a region. barred providers are not asked. Providers that name the region come
// before those that serve every region, and those before others. No provider means that the order stays unrouted.
func (r *Registry) assign(businessType, region string, at time.Time, barred map[string]string) assignment {
	route := r.route(businessType, region)
	ranked := r.candidates(businessType, region, at, barred)
	a := assignment{routing: events.Routing{Policy: route.Policy}}
	if route.AcceptWithin > 0 {
		a.acceptBy = at.Add(time.Duration(route.AcceptWithin) * time.Second)
	}
	if route.CompleteIn > 0 {
		a.completeBy = at.Add(time.Duration(route.CompleteIn) * time.Second)
	}
	if route.Policy == events.PolicyAll {
		a.chooseAll(ranked, region)
	} else {
		a.chooseLeastLoaded(ranked, region)
	}
	a.list(ranked)
	return a
}

// chooseAll takes everyone who serves the region; everyone who serves others where nobody does. Load and circuit do not count:
// each gets a part of the work of its own, which nobody else would do instead.
func (a *assignment) chooseAll(ranked []candidate, region string) {
	far := !slices.ContainsFunc(ranked, func(c candidate) bool { return c.Excluded == "" && c.Tier != events.TierOtherRegion })
	for i := range ranked {
		c := &ranked[i]
		switch {
		case c.Excluded != "":
		case c.Tier == events.TierOtherRegion && !far:
			c.Excluded = "serves other regions"
		default:
			a.choose(c)
		}
	}
	switch {
	case len(a.providers) == 0:
	case far:
		a.routing.Why = fmt.Sprintf("nobody who serves region %s can be asked, so every provider of other regions gets the order", region)
	default:
		a.routing.Why = "every matching provider gets the order"
	}
}

func (a *assignment) chooseLeastLoaded(ranked []candidate, region string) {
	if len(ranked) == 0 || ranked[0].Excluded != "" {
		return
	}
	a.choose(&ranked[0])
	a.routing.Why = why(ranked, region)
}

func (a *assignment) choose(c *candidate) {
	c.Chosen = true
	a.providers = append(a.providers, c.Provider)
}

// list notes the candidates as events show them.
func (a *assignment) list(ranked []candidate) {
	listed := ranked[:min(len(ranked), maxCandidates)]
	a.routing.More = len(ranked) - len(listed)
	a.routing.Candidates = make([]events.Candidate, len(listed))
	for i := range listed {
		a.routing.Candidates[i] = listed[i].Candidate
		a.routing.Candidates[i].Load = math.Round(listed[i].Load*1e4) / 1e4
	}
}

// candidate is a provider that is looked at for an order, as it stands at that moment.
type candidate struct {
	events.Candidate
	near   int   // its tier as a number; fewer is nearer
	open   int64 // tasks
	asked  bool  // its circuit lets it have work
	probed bool  // this task would be its probe
}

// candidates lists the providers that can do the work, best first.
func (r *Registry) candidates(businessType, region string, at time.Time, barred map[string]string) []candidate {
	capable := r.capable[businessType]
	found := make([]candidate, len(capable))
	for i, p := range capable {
		found[i] = r.candidate(p, region, at)
		found[i].Excluded = barred[p.ID]
	}
	slices.SortFunc(found, compare)
	return found
}

func (r *Registry) candidate(p *events.Provider, region string, at time.Time) candidate {
	c := candidate{open: r.open[p.ID]}
	c.Provider, c.Load = p.ID, r.load(p, at)
	switch {
	case slices.Contains(p.Regions, region):
		c.Tier, c.Region, c.near = events.TierSameRegion, region, 1
	case len(p.Regions) == 0:
		c.Tier, c.near = events.TierEveryRegion, 2
	default:
		c.Tier, c.near = events.TierOtherRegion, 3
	}
	circuit := r.circuits[p.ID]
	c.Circuit, c.asked = circuit.state(), circuit.asks(at)
	if c.probed = c.asked && c.Circuit != ""; c.probed {
		c.Circuit = events.CircuitHalfOpen
	}
	return c
}

// full says that the provider has no room for another task.
func (c *candidate) full() bool { return c.Load >= 1 }

// compare puts the better candidate first: one that may be asked, one with room, one whose circuit is closed, the nearer, the
// less loaded, the one with fewer open tasks, and the first by name.
func compare(a, b candidate) int {
	return cmp.Or(
		ordered(a.Excluded == "", b.Excluded == ""),
		ordered(!a.full(), !b.full()),
		ordered(a.asked, b.asked),
		cmp.Compare(a.near, b.near),
		cmp.Compare(a.Load, b.Load),
		cmp.Compare(a.open, b.open),
		strings.Compare(a.Provider, b.Provider),
	)
}

// ordered puts true first.
func ordered(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// why says in a sentence why the first of the candidates was chosen.
func why(ranked []candidate, region string) string {
	best := &ranked[0]
	said := []string{fmt.Sprintf("%s %s and %s", best.Provider, best.serves(region), merit(ranked))}
	switch {
	case best.full():
		said = append(said, "nobody has room")
	case !best.asked:
		said = append(said, "everyone with room has failed too often of late")
	case best.probed:
		said = append(said, "after its failures it is tried with one task")
	}
	if best.Tier == events.TierOtherRegion {
		nearer := slices.ContainsFunc(ranked, func(c candidate) bool { return c.Excluded == "" && c.near < best.near })
		if nearer {
			said = append(said, "those who serve region "+region+" have no room or failed too often of late")
		} else {
			said = append(said, "nobody who serves region "+region+" can be asked")
		}
	}
	return strings.Join(said, "; ")
}

func (c *candidate) serves(region string) string {
	switch c.Tier {
	case events.TierSameRegion:
		return "serves region " + region
	case events.TierEveryRegion:
		return "serves every region"
	}
	return "serves other regions"
}

// merit says what sets the first candidate before the second.
func merit(ranked []candidate) string {
	if len(ranked) == 1 || ranked[1].Excluded != "" {
		return "is the only one that can be asked"
	}
	best, next := &ranked[0], &ranked[1]
	switch {
	case best.full() != next.full():
		return fmt.Sprintf("is the only one with room (load %.2f)", best.Load)
	case best.asked != next.asked:
		return fmt.Sprintf("is the only one that has not failed too often of late (load %.2f)", best.Load)
	case best.near != next.near:
		return fmt.Sprintf("is nearer than %s (load %.2f)", next.Provider, best.Load)
	case best.Load < next.Load:
		return fmt.Sprintf("has the least load (%.2f)", best.Load)
	case best.open < next.open:
		return fmt.Sprintf("has the fewest open tasks (%d)", best.open)
	}
	return fmt.Sprintf("is the first by name of those with the least load (%.2f)", best.Load)
}
