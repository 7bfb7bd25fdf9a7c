package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
)

// market is a system with two kinds of work, each with a provider of its own, and two tenants.
type market struct {
	*system
	round                       int
	north, south, other, ledger party
	users, providers            []*client.Client
}

const (
	northWork = "conform.north"
	southWork = "conform.south"
)

func openMarket(t *testing.T) *market {
	t.Helper()
	// Logins on the broker end all the time, so that receivers have to come in again.
	m := &market{system: &system{t: t, data: filepath.Join(t.TempDir(), "data"), env: []string{"ORDERSTORE_NATS_LOGIN=10s"}}}
	m.start()
	operator := m.operator()
	for id, work := range map[string]string{"north": northWork, "south": southWork} {
		_, err := operator.PutProvider(t.Context(), client.Provider{ID: id, BusinessTypes: []string{work}})
		require.NoError(t, err)
	}
	make := func(spec client.ClientSpec) party {
		made, err := operator.CreateClient(t.Context(), spec)
		require.NoError(t, err)
		return party{ClientID: made.ClientID, ClientSecret: made.ClientSecret}
	}
	m.north, m.south = make(client.ClientSpec{Kind: client.KindProvider, Provider: "north"}), make(client.ClientSpec{Kind: client.KindProvider, Provider: "south"})
	m.other, m.ledger = make(client.ClientSpec{Kind: client.KindUser, Tenant: "other"}), make(client.ClientSpec{Kind: client.KindAuxiliary, System: "ledger"})
	m.users, m.providers = []*client.Client{m.user(), m.client(m.other)}, []*client.Client{m.client(m.north), m.client(m.south)}
	broker, err := url.Parse(m.at.NATS)
	require.NoError(t, err)
	m.listen, m.broker = strings.TrimPrefix(m.at.HTTP, "http://"), broker.Host
	return m
}

// trade has both tenants place orders of both kinds, and the providers answer them.
func (m *market) trade(orders int) {
	m.t.Helper()
	m.round++
	var all sync.WaitGroup
	for u, user := range m.users {
		for p, work := range []string{northWork, southWork} {
			all.Go(func() {
				for i := range orders {
					order := sampleOrder(fmt.Sprintf("%d-%d-%d-%d", m.round, u, p, i))
					order.BusinessType = work
					placed, err := user.SubmitOrder(m.t.Context(), order)
					if err != nil || len(placed.Tasks) != 1 {
						m.t.Errorf("submit: %d tasks, %v", len(placed.Tasks), err)
						return
					}
					_, err = m.providers[p].PostResult(m.t.Context(), placed.Tasks[0].ID, client.ResultSubmission{ResultID: placed.ID, Outcome: client.OutcomeCompleted})
					if err != nil {
						m.t.Errorf("result: %v", err)
					}
				}
			})
		}
	}
	all.Wait()
}

// head is the last event that there is.
func (m *market) head() logged {
	log := m.log()
	return log[len(log)-1]
}

// wanted is a subscription and what of the log it has to bring.
type wanted struct {
	name  string
	by    party
	spec  client.SubscriptionSpec
	reads bool // the order behind each event, at once
	want  func(e *logged) bool
}

// interests are everything that a subscription can be told: where it begins, what it is about, and whose it is. middle is an event in the
// middle of the log, head its end.
func (m *market) interests(middle, head logged) []wanted {
	demo := m.as.User.Tenant
	mine := func(e *logged) bool { return e.Tenant == demo }
	types := func(types ...events.Type) func(*logged) bool {
		return func(e *logged) bool { return mine(e) && slices.Contains(types, e.Type) }
	}
	beginning := &client.From{}
	return []wanted{
		{"from the beginning", m.as.User, client.SubscriptionSpec{Start: beginning}, true, mine},
		{"from now", m.as.User, client.SubscriptionSpec{}, false, func(e *logged) bool { return mine(e) && e.Position > head.Position }},
		{"from a position", m.as.User, client.SubscriptionSpec{Start: &client.From{Position: middle.Position}}, false, func(e *logged) bool {
			return mine(e) && e.Position > middle.Position
		}},
		{"from a time", m.as.User, client.SubscriptionSpec{Start: &client.From{Since: middle.recorded}}, false, func(e *logged) bool {
			return mine(e) && !e.recorded.Before(middle.recorded)
		}},
		{
			"types", m.as.User,
			client.SubscriptionSpec{Start: beginning, Types: []string{"order.placed", "task.result_posted"}},
			false,
			types(events.OrderPlaced, events.TaskResultPosted),
		},
		{
			"a family of types", m.as.User,
			client.SubscriptionSpec{Start: beginning, Types: []string{"order.*"}},
			false,
			types(events.OrderPlaced, events.OrderCompleted, events.OrderAmended, events.OrderCancelled, events.OrderRejected),
		},
		{"business types", m.as.User, client.SubscriptionSpec{Start: beginning, BusinessTypes: []string{southWork}}, false, func(e *logged) bool {
			return mine(e) && e.BusinessType == southWork
		}},
		{
			"types and business types", m.as.User,
			client.SubscriptionSpec{Start: beginning, BusinessTypes: []string{northWork}, Types: []string{"order.completed"}},
			false,
			func(e *logged) bool { return mine(e) && e.BusinessType == northWork && e.Type == events.OrderCompleted },
		},
		{"another tenant", m.other, client.SubscriptionSpec{Start: beginning}, false, func(e *logged) bool { return e.Tenant == "other" }},
		{"a provider", m.north, client.SubscriptionSpec{Start: beginning}, true, func(e *logged) bool { return e.Provider == "north" }},
		{"an auxiliary system", m.ledger, client.SubscriptionSpec{Start: beginning, Types: []string{"order.placed"}}, false, func(e *logged) bool {
			return e.Type == events.OrderPlaced
		}},
	}
}

// subscribed is an interest that is heard over a transport.
type subscribed struct {
	wanted
	*receiver
}

// matches waits until a receiver has heard all that it should, and says that it is that and nothing else, as it stands in the log.
func (r *subscribed) matches(log []logged) {
	r.t.Helper()
	want := map[int64]logged{}
	for i := range log {
		if r.want(&log[i]) {
			want[log[i].Position] = log[i]
		}
	}
	require.NotEmpty(r.t, want, r.name)
	if !assert.Eventually(r.t, func() bool { return len(r.positions()) >= len(want) }, 30*time.Second, 10*time.Millisecond, "%s: %s", r.transport.name, r.name) {
		return
	}
	heard := r.heard()
	assert.Len(r.t, heard, len(want), "%s: %s: nothing comes twice without a failure", r.transport.name, r.name)
	for _, e := range heard {
		if in, ok := want[e.Position]; assert.True(r.t, ok, "%s: %s: it hears of %d, a %s", r.transport.name, r.name, e.Position, e.Type) {
			r.same(e, in)
		}
	}
	r.ordered()
}

// TestSubscriptionsOverEveryTransport: filtered, ordered, unique, resumable from now, a position, a time and the beginning, never ahead
// of the read side; and going on where they were after the receiver was stopped.
func TestSubscriptionsOverEveryTransport(t *testing.T) {
	t.Parallel()
	m := openMarket(t)
	m.trade(5)
	middle := m.head()
	m.trade(5)
	m.level()
	head := m.head()
	var all []*subscribed
	for _, by := range transports() {
		for _, interest := range m.interests(middle, head) {
			r := &subscribed{interest, m.subscribe(by, interest.by, interest.spec)}
			r.pull = interest.reads
			r.listen()
			all = append(all, r)
		}
	}
	m.trade(5)
	log := m.log()
	for _, r := range all {
		r.matches(log)
		r.halt()
	}
	m.trade(2)
	log = m.log()
	for _, r := range all {
		r.listen()
	}
	for _, r := range all {
		r.matches(log)
		r.halt()
	}
	m.settled(all, log)
}

// settled says that the store knows how far every party is.
func (m *market) settled(all []*subscribed, log []logged) {
	m.t.Helper()
	for _, r := range all {
		last := int64(0)
		for i := range log {
			if r.want(&log[i]) {
				last = log[i].Position
			}
		}
		s, err := m.client(r.by).GetSubscription(m.t.Context(), r.subscription.ID)
		require.NoError(m.t, err)
		assert.GreaterOrEqual(m.t, s.Position, last, "%s: %s", r.transport.name, r.name)
	}
}

// TestChaosSubscriptionsOutliveKills: the server is killed under load. Receivers outlive that, or end in the middle of an event as well;
// nothing is missing then, and what comes twice is known by its id.
func TestChaosSubscriptionsOutliveKills(t *testing.T) {
	t.Parallel()
	m := openMarket(t)
	var all []*subscribed
	for _, by := range transports() {
		for _, interest := range []wanted{
			{"everything", m.as.User, client.SubscriptionSpec{Start: &client.From{}}, true, func(e *logged) bool { return e.Tenant == m.as.User.Tenant }},
			{"a part", m.south, client.SubscriptionSpec{Start: &client.From{}, Types: []string{"task.*"}}, false, func(e *logged) bool {
				return e.Provider == "south" && e.TaskID != ""
			}},
		} {
			r := &subscribed{interest, m.subscribe(by, interest.by, interest.spec)}
			r.pull = interest.reads
			r.listen()
			all = append(all, r)
		}
	}
	for round := range 3 {
		ctx, stop := context.WithCancel(t.Context())
		var traders sync.WaitGroup
		traders.Go(func() {
			for ctx.Err() == nil {
				m.trade(3)
			}
		})
		most := slices.MaxFunc(all, fewer)
		enough := most.count() + 60
		require.Eventually(t, func() bool { return most.count() > enough && slices.MinFunc(all, fewer).count() > 0 }, time.Minute, 10*time.Millisecond)
		m.kill()
		m.start()
		if round > 0 {
			for _, r := range all {
				r.crash()
				r.listen()
			}
		}
		stop()
		traders.Wait()
	}
	log := m.log()
	for _, r := range all {
		r.complete(log)
	}
	m.level()
	m.verified()
}

func fewer(a, b *subscribed) int { return a.count() - b.count() }

func (r *subscribed) count() int { return len(r.positions()) }

// complete waits until a receiver has heard all that it should, some of it twice, and says that it is that and nothing else.
func (r *subscribed) complete(log []logged) {
	r.t.Helper()
	want := map[int64]logged{}
	for i := range log {
		if r.want(&log[i]) {
			want[log[i].Position] = log[i]
		}
	}
	if !assert.Eventually(r.t, func() bool { return r.count() >= len(want) }, time.Minute, 20*time.Millisecond, "%s: %s", r.transport.name, r.name) {
		return
	}
	for _, e := range r.heard() {
		if in, ok := want[e.Position]; assert.True(r.t, ok, "%s: %s: it hears of %d, a %s", r.transport.name, r.name, e.Position, e.Type) {
			r.same(e, in) // also what comes twice: it is known by its id
		}
	}
	r.ordered()
}

// TestSeekMovesWhoListens: back, while it is heard, and the receiver hears again what comes after.
func TestSeekMovesWhoListens(t *testing.T) {
	t.Parallel()
	m := openMarket(t)
	m.trade(3)
	mine := func(e *logged) bool { return e.Tenant == m.as.User.Tenant }
	var all []*subscribed
	for _, by := range transports() {
		everything := wanted{"everything", m.as.User, client.SubscriptionSpec{Start: &client.From{}}, false, mine}
		r := &subscribed{everything, m.subscribe(by, everything.by, everything.spec)}
		r.listen()
		all = append(all, r)
	}
	log := m.log()
	middle := log[len(log)/2].Position
	for _, r := range all {
		r.matches(log)
		_, err := m.user().SeekSubscription(t.Context(), r.subscription.ID, client.From{Position: middle})
		require.NoError(t, err)
	}
	heard := len(log)
	m.trade(1)
	log = m.log()
	for _, r := range all {
		again := func() bool {
			times := r.positions()
			return !slices.ContainsFunc(log, func(e logged) bool {
				twice := e.Position > middle && e.Position <= int64(heard)
				return mine(&e) && (times[e.Position] == 0 || twice && times[e.Position] < 2)
			})
		}
		assert.Eventually(t, again, 30*time.Second, 20*time.Millisecond, r.transport.name)
		r.halt()
		for position, times := range r.positions() {
			assert.False(t, position <= middle && times > 1, "%s: %d is before where it was moved to", r.transport.name, position)
		}
	}
}
