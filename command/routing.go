package command

import (
	"fmt"
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

// assign chooses providers for a business type in a region. barred providers are not asked. Providers that name the region come
// before those that serve every region. No provider means that the order stays unrouted.
func (r *Registry) assign(businessType, region string, at time.Time, barred map[string]string) assignment {
	route := r.route(businessType, region)
	candidates := r.candidates(businessType, region, barred)
	a := assignment{routing: events.Routing{Policy: route.Policy, Candidates: candidates}}
	if route.AcceptWithin > 0 {
		a.acceptBy = at.Add(time.Duration(route.AcceptWithin) * time.Second)
	}
	if route.CompleteIn > 0 {
		a.completeBy = at.Add(time.Duration(route.CompleteIn) * time.Second)
	}
	if route.Policy == events.PolicyAll {
		a.chooseAll()
		return a
	}
	a.chooseLeastLoaded(region)
	return a
}

func (a *assignment) chooseAll() {
	for i := range a.routing.Candidates {
		if a.routing.Candidates[i].Excluded == "" {
			a.choose(i)
		}
	}
	a.routing.Why = "every matching provider gets the order"
}

func (a *assignment) chooseLeastLoaded(region string) {
	best := -1
	for i := range a.routing.Candidates {
		c := &a.routing.Candidates[i]
		if c.Excluded == "" && (best < 0 || better(c, &a.routing.Candidates[best])) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	a.choose(best)
	chosen := a.routing.Candidates[best]
	where := "serves every region"
	if chosen.Region != "" {
		where = "serves region " + region
	}
	a.routing.Why = fmt.Sprintf("%s %s and has the least load (%.2f)", chosen.Provider, where, chosen.Load)
}

func (a *assignment) choose(i int) {
	a.routing.Candidates[i].Chosen = true
	a.providers = append(a.providers, a.routing.Candidates[i].Provider)
}

// better prefers a provider with room, then one of the region itself, then the less loaded.
func better(a, b *events.Candidate) bool {
	if full, other := a.Load >= 1, b.Load >= 1; full != other {
		return other
	}
	if near, other := a.Region != "", b.Region != ""; near != other {
		return near
	}
	return a.Load < b.Load
}

// candidates lists the providers that can do the work in the region, by name.
func (r *Registry) candidates(businessType, region string, barred map[string]string) []events.Candidate {
	found := []events.Candidate{}
	for _, p := range r.capable[businessType] {
		near := slices.Contains(p.Regions, region)
		if !near && len(p.Regions) > 0 {
			continue
		}
		c := events.Candidate{Provider: p.ID, Load: r.load(p), Excluded: barred[p.ID]}
		if near {
			c.Region = region
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b events.Candidate) int { return strings.Compare(a.Provider, b.Provider) })
	return found
}

// load is the share of its limit that a provider's open tasks fill. Without a limit it is a small number that still grows with
// them, so that the least loaded can be told.
func (r *Registry) load(p *events.Provider) float64 {
	open := float64(r.open[p.ID])
	if p.MaxLoad > 0 {
		return open / float64(p.MaxLoad)
	}
	return open / (open + unlimitedLoad)
}

// unlimitedLoad is the number of open tasks at which a provider without a limit counts as half loaded.
const unlimitedLoad = 1000

// offer records one task.offered for each chosen provider.
func (d *Decision) offer(a *assignment) error {
	if len(a.providers) == 0 {
		return nil
	}
	lines := openLines(d.Order)
	attempt := 1
	for i := range d.Order.Tasks {
		attempt = max(attempt, d.Order.Tasks[i].Attempt+1)
	}
	for _, provider := range a.providers {
		e := events.New(events.TaskOffered, d.at, &events.Offered{
			Lines: lines, Attempt: attempt, AcceptBy: a.acceptBy, CompleteBy: a.completeBy, Routing: a.routing,
		})
		e.Provider = provider
		e.TaskID = d.newID()
		if err := d.record(e); err != nil {
			return err
		}
	}
	return nil
}

// openLines is what of the order is still to be done.
func openLines(o *events.Order) []events.TaskQuantity {
	lines := make([]events.TaskQuantity, 0, len(o.Lines))
	for i := range o.Lines {
		if open := o.Lines[i].Quantities.Open(); open > 0 {
			lines = append(lines, events.TaskQuantity{LineID: o.Lines[i].LineID, Quantity: open})
		}
	}
	return lines
}

// barredOf lists the providers that are not asked again for an order, and why.
func barredOf(o *events.Order) map[string]string {
	barred := map[string]string{}
	for i := range o.Tasks {
		task := &o.Tasks[i]
		switch {
		case task.Status.Open():
			barred[task.Provider] = "has an open task on the order"
		case task.Rejected != nil && task.Rejected.Blocking:
			barred[task.Provider] = "rejected the order for good"
		case task.Rejected != nil:
			barred[task.Provider] = "rejected the order"
		}
	}
	return barred
}
