package broadcast

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

// keep looks after consumers, as a broadcaster of its own would; the returned function stops it.
func (g *gate) keep() func() {
	g.t.Helper()
	k, err := NewConsumerKeeper(ConsumerKeeperConfig{NATS: g.js.Conn(), Pool: g.pool, Logger: discard()})
	require.NoError(g.t, err)
	return g.run(k)
}

// want stores a subscription on NATS and leaves its consumer to the keeper.
func (g *gate) want(tenant string, f Filter, after int64) *Subscription {
	g.t.Helper()
	s := &Subscription{
		ID: uuid.New(), Owner: Owner{Kind: auth.KindUser, Tenant: tenant}, ClientID: "c", Transport: TransportNATS,
		Filter: Filter{Types: orEmpty(f.Types), BusinessTypes: orEmpty(f.BusinessTypes)}, Settings: []byte(`{}`), Version: 1, Position: after, CreatedAt: time.Now(),
	}
	s.Name = s.ID.String()
	require.NoError(g.t, g.subs.Create(g.t.Context(), s, nil))
	return s
}

func (g *gate) stored(s *Subscription) *Subscription {
	g.t.Helper()
	now, err := g.subs.Get(g.t.Context(), s.Owner, s.ID)
	require.NoError(g.t, err)
	return now
}

func (g *gate) eventually(ok func() bool, what string) {
	g.t.Helper()
	require.Eventually(g.t, ok, 20*time.Second, 10*time.Millisecond, what)
}

// consumer waits for the consumer of a subscription as it is stored now.
func (g *gate) consumer(s *Subscription) jetstream.Consumer {
	g.t.Helper()
	var c jetstream.Consumer
	g.eventually(func() bool {
		var err error
		c, err = g.js.Consumer(g.t.Context(), stream.Name, consumerName(s.ID))
		return err == nil && fits(g.stored(s), c.CachedInfo())
	}, "the consumer is there")
	return c
}

func (g *gate) gone(s *Subscription) {
	g.t.Helper()
	g.eventually(func() bool {
		_, err := g.js.Consumer(g.t.Context(), stream.Name, consumerName(s.ID))
		return errors.Is(err, jetstream.ErrConsumerNotFound)
	}, "the consumer is gone")
}

func (g *gate) at(s *Subscription, position int64) {
	g.t.Helper()
	g.eventually(func() bool { return g.stored(s).Position == position }, "the position is "+strconv.FormatInt(position, 10))
}

func TestConsumersFollowSubscriptions(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.keep()
	demo := g.want("demo", Filter{Types: []string{"order.*"}, BusinessTypes: []string{"retail.erp", "hotel"}}, 0)
	info := g.consumer(demo).CachedInfo()
	require.True(t, sameSubjects([]string{"orders.demo.retail~erp.*.order.>", "orders.demo.hotel.*.order.>"}, info.Config.FilterSubjects))
	require.True(t, info.Config.HeadersOnly)
	require.Equal(t, jetstream.AckExplicitPolicy, info.Config.AckPolicy)
	require.Equal(t, -1, info.Config.MaxDeliver)

	require.NoError(t, g.subs.SetStatus(t.Context(), demo.Owner, demo.ID, SubscriptionPaused, "", time.Now()))
	g.gone(demo)
	require.NoError(t, g.subs.SetStatus(t.Context(), demo.Owner, demo.ID, SubscriptionActive, "", time.Now()))
	g.consumer(demo)
	changed := g.stored(demo)
	changed.Filter.Types = []string{"task.offered"}
	require.NoError(t, g.subs.Update(t.Context(), changed, time.Now()))
	info = g.consumer(demo).CachedInfo()
	require.True(t, sameSubjects([]string{"orders.demo.retail~erp.*.task.offered", "orders.demo.hotel.*.task.offered"}, info.Config.FilterSubjects))

	// Somebody who may changes it by hand.
	info.Config.FilterSubjects = []string{"orders.>"}
	_, err := g.js.UpdateConsumer(t.Context(), stream.Name, info.Config)
	require.NoError(t, err)
	g.consumer(demo)
	require.NoError(t, g.subs.SetStatus(t.Context(), demo.Owner, demo.ID, SubscriptionDisabled, "", time.Now()))
	g.gone(demo)
	require.NoError(t, g.subs.SetStatus(t.Context(), demo.Owner, demo.ID, SubscriptionActive, "", time.Now()))
	g.consumer(demo)
	require.NoError(t, g.subs.Delete(t.Context(), demo.Owner, demo.ID))
	g.gone(demo)
}

// TestAcknowledgedIsStoredAndNoMore: the position follows what was acknowledged without a gap, and what lies behind that holds nothing
// for the party.
func TestAcknowledgedIsStoredAndNoMore(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	r := g.relay()
	g.keep()
	s := g.want("demo", Filter{}, 0)
	c := g.consumer(s)
	own, other := happened{events.OrderRejected, "demo", "hotel", ""}, happened{events.OrderRejected, "shop", "hotel", ""}
	g.tell(own, other, own, own, other, own, other, other) // 1, 3, 4, 6
	g.copied(r)
	batch, err := c.Fetch(4)
	require.NoError(t, err)
	var all []jetstream.Msg
	for m := range batch.Messages() {
		all = append(all, m)
	}
	require.Equal(t, []string{"1", "3", "4", "6"}, ids(all))
	require.NoError(t, all[0].DoubleAck(t.Context()))
	g.eventually(func() bool { return g.stored(s).Position > 0 }, "the acknowledgement is stored")
	require.NoError(t, all[2].DoubleAck(t.Context()))
	require.NoError(t, all[3].DoubleAck(t.Context()))
	k, err := NewConsumerKeeper(ConsumerKeeperConfig{NATS: g.js.Conn(), Pool: g.pool, Logger: discard()})
	require.NoError(t, err)
	require.NoError(t, k.round(t.Context()))
	require.NoError(t, k.round(t.Context()))
	require.Less(t, g.stored(s).Position, int64(3), "3 was not acknowledged")
	require.NoError(t, all[1].DoubleAck(t.Context()))
	g.at(s, 8)
}

// TestPositionThatIsMovedWins: an acknowledgement of a consumer that is no more takes no seek back.
func TestPositionThatIsMovedWins(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	r := g.relay()
	g.keep()
	s := g.want("demo", Filter{}, 0)
	g.append(10)
	g.copied(r)
	require.Len(t, fetch(t, g.consumer(s), 10), 10)
	g.at(s, 10)
	require.NoError(t, g.subs.Seek(t.Context(), s.ID, 4, time.Now()))
	require.NoError(t, g.subs.acknowledge(t.Context(), []moved{{s.ID, s.Version, 10}}, time.Now()))
	require.Equal(t, int64(4), g.stored(s).Position)
	require.Equal(t, []string{"5", "6", "7", "8", "9", "10"}, ids(fetch(t, g.consumer(s), 6)))
	g.at(s, 10)

	require.NoError(t, g.subs.Seek(t.Context(), s.ID, 2, time.Now()))
	c := g.consumer(s)
	require.NoError(t, g.subs.Ack(t.Context(), s.ID, 8, time.Now()), "the party says by another way that it is further")
	g.eventually(func() bool {
		info, err := c.Info(t.Context())
		return err == nil && info.Config.OptStartSeq == 9
	}, "the consumer goes on from there")
	require.Equal(t, []string{"9", "10"}, ids(fetch(t, c, 2)))
}

// TestOneKeeperWorksAndAnotherTakesOver.
func TestOneKeeperWorksAndAnotherTakesOver(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	stop := g.keep()
	g.consumer(g.want("demo", Filter{}, 0))
	g.keep()
	stop()
	g.consumer(g.want("shop", Filter{}, 0))
}

// TestManyConsumers: more than the thousand that a stream has by default.
func TestManyConsumers(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	r := g.relay()
	const many = 1100
	for i := range many {
		g.want("t"+strconv.Itoa(i), Filter{}, 0)
	}
	last := g.want("demo", Filter{Types: allTypes(), BusinessTypes: manyNames(16)}, 0)
	g.append(5)
	g.copied(r)
	k, err := NewConsumerKeeper(ConsumerKeeperConfig{NATS: g.js.Conn(), Pool: g.pool, Logger: discard()})
	require.NoError(t, err)
	require.NoError(t, k.round(t.Context()))
	found, err := k.consumers(t.Context())
	require.NoError(t, err)
	require.Len(t, slices.Collect(maps.Keys(found)), many+1)
	require.Len(t, found[consumerName(last.ID)].Config.FilterSubjects, 16*len(events.Types()))
	require.NoError(t, k.round(t.Context()))
	require.Equal(t, int64(5), g.stored(last).Position)
}

func allTypes() []string {
	var all []string
	for _, t := range events.Types() {
		all = append(all, string(t))
	}
	return all
}

func manyNames(n int) []string {
	var all []string
	for i := range n {
		all = append(all, "b"+strconv.Itoa(i))
	}
	return all
}

// TestFilterSubjectsOverlapNowhere: what a family has is not named again; the broker refuses filters that overlap.
func TestFilterSubjectsOverlapNowhere(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"orders.demo.*.*.>"}, filterSubjects(Owner{Tenant: "demo"}, Filter{}))
	require.Equal(t, []string{"orders.*.*.acme.>"}, filterSubjects(Owner{Provider: "acme"}, Filter{}))
	require.Equal(t, []string{"orders.*.*.*.>"}, filterSubjects(Owner{System: "erp"}, Filter{}))
	require.Equal(t, []string{"orders.demo.a~b.*.order.>", "orders.demo.a~b.*.task.offered"},
		filterSubjects(Owner{Tenant: "demo"}, Filter{Types: []string{"order.placed", "order.*", "task.offered", "task.offered"}, BusinessTypes: []string{"a.b"}}))
}
