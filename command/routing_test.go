package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/events"
)

var noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a time to hold

// market is a registry for routing alone.
type market struct {
	*Registry
	at     time.Time
	barred map[string]string
}

func newMarket() *market {
	m := &market{Registry: newRegistry(), at: noon, barred: map[string]string{}}
	m.reports = map[string]loadReport{}
	return m
}

// provider registers one that does "x".
func (m *market) provider(id string, maxLoad, open int64, regions ...string) {
	m.providers[id] = &events.Provider{ID: id, BusinessTypes: []string{"x"}, Regions: regions, MaxLoad: maxLoad}
	m.open[id] = open
	m.index()
}

func (m *market) assign(region string) assignment {
	return m.Registry.assign("x", region, m.at, m.barred)
}

func (m *market) report(id string, load float64, capacity *int64, left time.Duration) {
	m.reports[id] = loadReport{load: load, capacity: capacity, expiresAt: m.at.Add(left)}
}

func (m *market) trip(id string, left time.Duration) {
	m.circuits[id] = circuit{trips: 1, openUntil: m.at.Add(left)}
}

func TestLeastLoadedChoosesByRoomCircuitTierAndLoad(t *testing.T) {
	t.Parallel()
	three := int64(3)
	for name, tc := range map[string]struct {
		build  func(m *market)
		chosen string
		why    string
	}{
		"nobody": {func(*market) {}, "", ""},
		"the only one": {
			func(m *market) { m.provider("a", 0, 0, "north") },
			"a", "a serves region north and is the only one that can be asked",
		},
		"same region before every region": {
			func(m *market) { m.provider("a", 10, 0); m.provider("b", 10, 9, "north") },
			"b", "b serves region north and is nearer than a (load 0.90)",
		},
		"every region before another region": {
			func(m *market) { m.provider("a", 10, 0, "south"); m.provider("b", 10, 9) },
			"b", "b serves every region and is nearer than a (load 0.90)",
		},
		"another region when nobody else is there": {
			func(m *market) { m.provider("a", 10, 3, "south"); m.provider("b", 10, 1, "west") },
			"b", "b serves other regions and has the least load (0.10); nobody who serves region north can be asked",
		},
		"another region when the near one is full": {
			func(m *market) { m.provider("a", 5, 5, "north"); m.provider("b", 10, 9, "south") },
			"b", "b serves other regions and is the only one with room (load 0.90); those who serve region north have no room or failed too often of late",
		},
		"the near one when all are full": {
			func(m *market) { m.provider("a", 5, 50, "north"); m.provider("b", 10, 10, "south") },
			"a", "a serves region north and is nearer than b (load 10.00); nobody has room",
		},
		"least load": {
			func(m *market) { m.provider("a", 10, 5, "north"); m.provider("b", 100, 42, "north") },
			"b", "b serves region north and has the least load (0.42)",
		},
		"fewest open tasks": {
			func(m *market) { m.provider("a", 20, 10, "north"); m.provider("b", 10, 5, "north") },
			"b", "b serves region north and has the fewest open tasks (5)",
		},
		"by name": {
			func(m *market) { m.provider("b", 0, 0, "north"); m.provider("a", 0, 0, "north") },
			"a", "a serves region north and is the first by name of those with the least load (0.00)",
		},
		"reported load": {
			func(m *market) {
				m.provider("a", 10, 1, "north")
				m.provider("b", 10, 5, "north")
				m.report("a", 0.8, nil, time.Second)
			},
			"b", "b serves region north and has the least load (0.50)",
		},
		"reported overload": {
			func(m *market) {
				m.provider("a", 10, 1, "north")
				m.provider("b", 10, 9)
				m.report("a", 1.5, nil, time.Second)
			},
			"b", "b serves every region and is the only one with room (load 0.90)",
		},
		"an expired report": {
			func(m *market) {
				m.provider("a", 10, 1, "north")
				m.provider("b", 10, 5, "north")
				m.report("a", 0.8, nil, 0)
			},
			"a", "a serves region north and has the least load (0.10)",
		},
		"a report does not hide open tasks": {
			func(m *market) {
				m.provider("a", 10, 9, "north")
				m.provider("b", 10, 5, "north")
				m.report("a", 0, nil, time.Second)
			},
			"b", "b serves region north and has the least load (0.50)",
		},
		"reported capacity": {
			func(m *market) {
				m.provider("a", 0, 3, "north")
				m.provider("b", 0, 900, "north")
				m.report("a", 0, &three, time.Second)
			},
			"b", "b serves region north and is the only one with room (load 0.47)",
		},
		"no capacity at all": {
			func(m *market) {
				m.provider("a", 10, 0, "north")
				m.provider("b", 10, 9, "south")
				m.report("a", 0, new(int64), time.Second)
			},
			"b", "b serves other regions and is the only one with room (load 0.90); those who serve region north have no room or failed too often of late",
		},
		"an open circuit": {
			func(m *market) {
				m.provider("a", 10, 0, "north")
				m.provider("b", 10, 9, "south")
				m.trip("a", time.Second)
			},
			"b", "b serves other regions and is the only one that has not failed too often of late (load 0.90); " +
				"those who serve region north have no room or failed too often of late",
		},
		"an open circuit when nobody else is there": {
			func(m *market) { m.provider("a", 10, 0, "north"); m.trip("a", time.Second) },
			"a", "a serves region north and is the only one that can be asked; everyone with room has failed too often of late",
		},
		"a half-open circuit": {
			func(m *market) {
				m.provider("a", 10, 0, "north")
				m.provider("b", 10, 9, "south")
				m.trip("a", 0)
			},
			"a", "a serves region north and is nearer than b (load 0.00); after its failures it is tried with one task",
		},
		"a barred one is not asked": {
			func(m *market) {
				m.provider("a", 10, 0, "north")
				m.provider("b", 10, 20, "south")
				m.barred["a"] = "rejected the order"
			},
			"b", "b serves other regions and is the only one that can be asked; nobody has room; nobody who serves region north can be asked",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket()
			tc.build(m)
			a := m.assign("north")
			require.Equal(t, tc.chosen, strings.Join(a.providers, " "))
			require.Equal(t, tc.why, a.routing.Why)
			require.Equal(t, events.PolicyLeastLoaded, a.routing.Policy)
			require.Len(t, a.routing.Candidates, len(m.providers))
		})
	}
}

func TestAllAsksEveryoneOfTheRegion(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.routes["x"] = &events.Route{BusinessType: "x", Policy: events.PolicyAll}
	m.provider("a", 1, 1, "north") // full
	m.provider("b", 0, 0)
	m.provider("c", 0, 0, "south")
	m.provider("d", 0, 0, "west", "north")
	m.trip("d", time.Hour)
	m.barred["b"] = "has an open task on the order"
	a := m.assign("north")
	require.ElementsMatch(t, []string{"a", "d"}, a.providers)
	require.Equal(t, "every matching provider gets the order", a.routing.Why)
	byName := map[string]events.Candidate{}
	for _, c := range a.routing.Candidates {
		byName[c.Provider] = c
	}
	require.Equal(t, map[string]events.Candidate{
		"a": {Provider: "a", Region: "north", Tier: events.TierSameRegion, Load: 1, Chosen: true},
		"b": {Provider: "b", Tier: events.TierEveryRegion, Excluded: "has an open task on the order"},
		"c": {Provider: "c", Tier: events.TierOtherRegion, Excluded: "serves other regions"},
		"d": {Provider: "d", Region: "north", Tier: events.TierSameRegion, Circuit: events.CircuitOpen, Chosen: true},
	}, byName)

	m = newMarket()
	m.routes["x"] = &events.Route{BusinessType: "x", Policy: events.PolicyAll}
	m.provider("c", 0, 0, "south")
	m.provider("d", 0, 0, "west")
	a = m.assign("east")
	require.Equal(t, []string{"c", "d"}, a.providers)
	require.Equal(t, "nobody who serves region east can be asked, so every provider of other regions gets the order", a.routing.Why)
}

func TestRouteAppliesToItsRegionsAlone(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.routes["x"] = &events.Route{BusinessType: "x", Policy: events.PolicyAll, Regions: []string{"north"}, AcceptWithin: 60}
	m.provider("a", 0, 0)
	m.provider("b", 0, 0)
	north, south := m.assign("north"), m.assign("south")
	require.Len(t, north.providers, 2)
	require.Equal(t, noon.Add(time.Minute), north.acceptBy)
	require.Len(t, south.providers, 1)
	require.True(t, south.acceptBy.IsZero())
}

func TestProviderThatNamesABusinessTypeTwiceIsAskedOnce(t *testing.T) {
	t.Parallel()
	m := newMarket()
	m.routes["x"] = &events.Route{BusinessType: "x", Policy: events.PolicyAll}
	m.providers["a"] = &events.Provider{ID: "a", BusinessTypes: []string{"x", "y", "x"}}
	m.index()
	require.Equal(t, []string{"a"}, m.assign("north").providers)
}

func TestManyCandidatesAreCountedNotListed(t *testing.T) {
	t.Parallel()
	m := newMarket()
	for i := range 3 * maxCandidates {
		m.provider(fmt.Sprintf("p%03d", i), 0, int64(3*maxCandidates-i))
	}
	a := m.assign("north")
	require.Equal(t, []string{"p149"}, a.providers)
	require.Len(t, a.routing.Candidates, maxCandidates)
	require.Equal(t, 2*maxCandidates, a.routing.More)
	require.True(t, a.routing.Candidates[0].Chosen)
}

// drawMarket makes any market.
func drawMarket(t *rapid.T) *market {
	m := newMarket()
	regions := []string{"north", "south", "west"}
	for i := range rapid.IntRange(0, 6).Draw(t, "providers") {
		id := fmt.Sprint("p", i)
		m.provider(id, rapid.Int64Range(0, 3).Draw(t, "max_load"), rapid.Int64Range(0, 4).Draw(t, "open"),
			rapid.SliceOfNDistinct(rapid.SampledFrom(regions), 0, 2, rapid.ID[string]).Draw(t, "regions")...)
		if rapid.Bool().Draw(t, "reports") {
			var capacity *int64
			if rapid.Bool().Draw(t, "with capacity") {
				n := rapid.Int64Range(0, 3).Draw(t, "capacity")
				capacity = &n
			}
			left := time.Duration(rapid.IntRange(-1, 1).Draw(t, "left")) * time.Second
			m.report(id, rapid.SampledFrom([]float64{0, 0.5, 1, 2}).Draw(t, "load"), capacity, left)
		}
		if rapid.Bool().Draw(t, "tripped") {
			m.trip(id, time.Duration(rapid.IntRange(-1, 1).Draw(t, "open for"))*time.Second)
		}
		if rapid.IntRange(0, 3).Draw(t, "barred") == 0 {
			m.barred[id] = "rejected the order"
		}
	}
	return m
}

// rank is how far back a provider stands, rule by rule, told from what was put into the market alone.
func (m *market) rank(id string) []float64 {
	p, open := m.providers[id], float64(m.open[id])
	load, limit := open/(open+unlimitedLoad), float64(p.MaxLoad)
	report, reported := m.reports[id]
	reported = reported && m.at.Before(report.expiresAt)
	none := false
	if reported && report.capacity != nil {
		limit, none = float64(*report.capacity), *report.capacity == 0
	}
	if limit > 0 {
		load = open / limit
	}
	if none {
		load = 1
	}
	if reported {
		load = max(load, report.load)
	}
	rank := []float64{0, 0, 2, load, open}
	if load >= 1 {
		rank[0] = 1
	}
	if c := m.circuits[id]; c.trips > 0 && m.at.Before(c.openUntil) {
		rank[1] = 1
	}
	if slices.Contains(p.Regions, "north") {
		rank[2] = 1
	} else if len(p.Regions) > 0 {
		rank[2] = 3
	}
	return rank
}

func TestNobodyIsChosenBeforeABetterOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		a := m.assign("north")
		require.Len(t, a.routing.Candidates, len(m.providers))
		if len(m.barred) == len(m.providers) {
			require.Empty(t, a.providers)
			return
		}
		require.Len(t, a.providers, 1)
		chosen := a.providers[0]
		require.NotContains(t, m.barred, chosen)
		for id := range m.providers {
			if _, barred := m.barred[id]; !barred && id != chosen {
				order := slices.Compare(m.rank(chosen), m.rank(id))
				require.True(t, order < 0 || order == 0 && chosen < id, "%s before %s: %v %v", chosen, id, m.rank(chosen), m.rank(id))
			}
		}
		for _, c := range a.routing.Candidates {
			require.Equal(t, c.Provider == chosen, c.Chosen)
			require.Equal(t, m.barred[c.Provider], c.Excluded)
		}
	})
}

func TestAllNeverMixesRegions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := drawMarket(t)
		m.routes["x"] = &events.Route{BusinessType: "x", Policy: events.PolicyAll}
		a := m.assign("north")
		var near, far []string
		for id := range m.providers {
			switch _, barred := m.barred[id]; {
			case barred:
			case m.rank(id)[2] == 3:
				far = append(far, id)
			default:
				near = append(near, id)
			}
		}
		if len(near) == 0 {
			near = far
		}
		require.ElementsMatch(t, near, a.providers)
	})
}
