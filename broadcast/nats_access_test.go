package broadcast

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/stream"
)

// TestPartyHearsItsOwnOnNATS: two tenants and a provider each hear their own, as thin notices, and go on where they stopped.
func TestPartyHearsItsOwnOnNATS(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.answer(0)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	shop := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "shop"})
	acme := g.client(auth.NewClient{Kind: auth.KindProvider, Provider: "acme"})
	ofDemo, ofShop, ofAcme := g.subscribe(demo, Filter{}), g.subscribe(shop, Filter{}), g.subscribe(acme, Filter{})
	filtered := g.subscribe(demo, Filter{Types: []string{"task.*", "task.offered"}, BusinessTypes: []string{"retail.erp"}})
	g.tell(
		happened{events.OrderRejected, "demo", "retail.erp", ""},
		happened{events.TaskOffered, "demo", "retail.erp", "acme"},
		happened{events.TaskOffered, "shop", "hotel", "acme"},
		happened{events.TaskOffered, "demo", "hotel", "other"},
	)
	nc := g.login(demo)
	first := fetch(t, bind(t, nc, ofDemo), 2)
	require.Equal(t, []string{"1", "2"}, ids(first))
	for _, m := range first {
		require.Empty(t, m.Data(), "a notice holds no order data")
		require.Equal(t, "1.0", m.Headers().Get("ce-specversion"))
		require.Equal(t, "demo", m.Headers().Get("ce-tenant"))
	}
	require.Equal(t, "/v1/orders/"+first[0].Headers().Get("ce-subject")+"?position=1", first[0].Headers().Get("ce-dataref"))
	nc.Close()
	require.Equal(t, []string{"4"}, ids(fetch(t, bind(t, g.login(demo), ofDemo), 1)), "it goes on where it stopped")
	require.Equal(t, []string{"2"}, ids(fetch(t, bind(t, g.login(demo), filtered), 1)))
	require.Equal(t, []string{"3"}, ids(fetch(t, bind(t, g.login(shop), ofShop), 1)))
	require.Equal(t, []string{"2", "3"}, ids(fetch(t, bind(t, g.login(acme), ofAcme), 2)))
}

// TestAllElseOnNATSIsRefused lists what a party that was let in may not do.
func TestAllElseOnNATSIsRefused(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.answer(0)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	shop := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "shop"})
	bare := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "bare"})
	mine, theirs := g.subscribe(demo, Filter{}), g.subscribe(shop, Filter{})
	g.append(3)
	for name, c := range map[string]auth.Credentials{"with a consumer": demo, "without one": bare} {
		var told violations
		nc := g.login(c, told.option())
		for _, subject := range []string{
			"orders.demo.retail~erp.-.order.placed", "orders.x", "anything", InboxPrefix(shop.ClientID) + ".x", InboxPrefix(c.ClientID) + ".x",
			"$JS.API.CONSUMER.MSG.NEXT.ORDERS." + theirs, "$JS.API.CONSUMER.INFO.ORDERS." + theirs, "$JS.ACK.ORDERS." + theirs + ".1.1.1.1.0",
			"$JS.API.CONSUMER.MSG.NEXT.ORDERS.*", "$JS.API.CONSUMER.INFO.ORDERS.>", "$JS.ACK.ORDERS.>",
			"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.INFO.ORDERS",
			"$JS.API.STREAM.UPDATE.ORDERS", "$JS.API.STREAM.DELETE.ORDERS", "$JS.API.STREAM.PURGE.ORDERS", "$JS.API.STREAM.SNAPSHOT.ORDERS",
			"$JS.API.STREAM.RESTORE.ORDERS", "$JS.API.STREAM.MSG.GET.ORDERS", "$JS.API.STREAM.MSG.DELETE.ORDERS",
			"$JS.API.DIRECT.GET.ORDERS", "$JS.API.DIRECT.GET.ORDERS.orders.demo.retail~erp.-.order.placed",
			"$JS.API.CONSUMER.CREATE.ORDERS." + mine, "$JS.API.CONSUMER.CREATE.ORDERS", "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS." + mine,
			"$JS.API.CONSUMER.DELETE.ORDERS." + mine, "$JS.API.CONSUMER.PAUSE.ORDERS." + mine, "$JS.API.CONSUMER.NAMES.ORDERS",
			"$JS.API.CONSUMER.LIST.ORDERS", "$JS.API.CONSUMER.UNPIN.ORDERS." + mine, "$JS.API.META.LEADER.STEPDOWN",
			"$JS.API.STREAM.CREATE.KV_notes", "$KV.notes.one", "$O.notes.one", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING",
			"$SYS.REQ.USER.INFO", "$SRV.PING", "_R_.x.y",
		} {
			require.NoError(t, nc.PublishRequest(subject, InboxPrefix(c.ClientID)+".reply", nil))
			require.NoError(t, nc.FlushTimeout(10*time.Second))
			require.Eventually(t, func() bool { return told.of(subject) }, 10*time.Second, time.Millisecond, "publish %s, %s", subject, name)
		}
		for _, subject := range []string{
			">", "*", "orders.>", "orders.demo.>", "_INBOX.>", "_INBOX_*.>", InboxPrefix(shop.ClientID) + ".>", InboxPrefix(c.ClientID) + "x.>",
			InboxPrefix(c.ClientID), "$JS.>", "$JS.EVENT.ADVISORY.>", "$JS.API.>", "$SYS.>", "$SYS.REQ.USER.AUTH", "$KV.>", "_R_.>", "$JS.ACK.ORDERS." + mine + ".>",
		} {
			_, err := nc.SubscribeSync(subject)
			require.NoError(t, err)
			require.NoError(t, nc.FlushTimeout(10*time.Second))
			require.Eventually(t, func() bool { return told.of(subject) }, 10*time.Second, time.Millisecond, "subscribe %s, %s", subject, name)
		}
	}
	info, err := g.js.Stream(t.Context(), stream.Name)
	require.NoError(t, err)
	require.Equal(t, uint64(3), info.CachedInfo().State.LastSeq, "nothing was stored")
}

// TestRepliesOfPartiesReachNothingOfOurs: JetStream sends its answers to whatever reply subject a request names. Within the stream's
// account that would be a way to write to the stream.
func TestRepliesOfPartiesReachNothingOfOurs(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	r := g.relay()
	g.answer(0)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	shop := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "shop"})
	mine, theirs := g.subscribe(demo, Filter{}), g.subscribe(shop, Filter{})
	g.append(20)
	g.tell(happened{events.OrderRejected, "shop", "hotel", ""})
	g.copied(r)
	nc := g.login(demo)
	for _, reply := range []string{
		"orders.shop.hotel.-.order.placed", "$JS.API.STREAM.PURGE.ORDERS", "$JS.API.STREAM.DELETE.ORDERS", "$JS.API.CONSUMER.DELETE.ORDERS." + theirs,
	} {
		require.NoError(t, nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.ORDERS."+mine, reply, []byte(`{"batch":1,"expires":1000000000}`)))
		require.NoError(t, nc.PublishRequest("$JS.API.CONSUMER.INFO.ORDERS."+mine, reply, nil))
		require.NoError(t, nc.PublishRequest("$JS.ACK.ORDERS."+mine+".1.1.1.1.0", reply, []byte("+NXT")))
	}
	require.NoError(t, nc.FlushTimeout(10*time.Second))
	// What comes out of the consumer after those requests shows that they were dealt with.
	require.NotEmpty(t, fetch(t, bind(t, nc, mine), 5))
	g.copied(r)
	require.Equal(t, []string{"21"}, ids(fetch(t, bind(t, g.login(shop), theirs), 1)), "the other's consumer stands")
}

func TestWrongLoginOnNATSIsRefused(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.answer(0)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	operator := g.client(auth.NewClient{Kind: auth.KindOperator})
	for name, login := range map[string]nats.Option{
		"nobody":          nats.Name("nobody"),
		"wrong secret":    nats.UserInfo(demo.ClientID, "wrong"),
		"no secret":       nats.UserInfo(demo.ClientID, ""),
		"unknown client":  nats.UserInfo("c_nobody", demo.ClientSecret),
		"an operator":     nats.UserInfo(operator.ClientID, operator.ClientSecret),
		"our own user":    nats.UserInfo(stream.OwnUser, "wrong"),
		"no token":        nats.Token("abc"),
		"token as secret": nats.UserInfo("token", demo.ClientSecret),
	} {
		_, err := g.dial(login)
		require.ErrorIs(t, err, nats.ErrAuthorization, name)
	}
	g.login(demo)
	for range 20 {
		_, err := g.dial(nats.UserInfo(demo.ClientID, "guess"))
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
	_, err := g.dial(nats.UserInfo(demo.ClientID, demo.ClientSecret))
	require.ErrorIs(t, err, nats.ErrAuthorization, "who guessed too often is not let in with the right one either")
}

// TestNobodyAnswersNobodyComesIn: without a broadcaster parties stay out, and our own roles work.
func TestNobodyAnswersNobodyComesIn(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	refused := func() {
		_, err := g.dial(nats.UserInfo(demo.ClientID, demo.ClientSecret))
		require.Error(t, err)
	}
	refused()
	_, err := g.js.Publish(t.Context(), "orders.demo.-.-.order.placed", nil)
	require.NoError(t, err)
	_, stop := g.answer(0)
	g.login(demo)
	stop()
	refused()
	g.answer(0)
	g.login(demo)
}

// TestConnectionsOfOneClientAreBounded: those that have ended do not count, and another client is not kept out.
func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	a, _ := g.answer(0)
	require.Eventually(t, func() bool { return !a.alone.Load() }, 10*time.Second, time.Millisecond)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	for range accessPerson / 2 {
		g.login(demo).Close()
	}
	for range accessPerson {
		g.login(demo)
	}
	_, err := g.dial(nats.UserInfo(demo.ClientID, demo.ClientSecret))
	require.ErrorIs(t, err, nats.ErrAuthorization)
	g.login(g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"}))
}
