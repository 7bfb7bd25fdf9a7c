package broadcast

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// gate is a log, a broker that asks before it lets anybody in, and whoever answers.
type gate struct {
	*bench
	keys   *stream.CalloutKeys
	url    string // without credentials
	store  *auth.Store
	issuer *auth.Issuer
	authn  *auth.Authenticator
	subs   *SubscriptionStore
	now    func() time.Time // of the issuer
}

func newKeys(t *testing.T) *stream.CalloutKeys {
	t.Helper()
	random := make([]byte, 64)
	_, _ = rand.Read(random)
	keys, err := stream.NewCalloutKeys(random[:32], random[32:])
	require.NoError(t, err)
	return keys
}

func openGate(t *testing.T) *gate {
	t.Helper()
	keys := newKeys(t)
	server := natstest.RunFor(t, keys.Public())
	g := gateOn(t, keys, server.URL(), natstest.Connect(t, server))
	g.server = server
	return g
}

// gateOn is a gate before a server that our own roles reach by own.
func gateOn(t *testing.T, keys *stream.CalloutKeys, address string, own *nats.Conn) *gate {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	g := &gate{bench: &bench{t: t, pool: pgtest.Database(t, migrations.Write, "write"), tip: &stream.Tip{}}, keys: keys, url: "nats://" + u.Host}
	g.js, err = jetstream.New(own)
	require.NoError(t, err)
	g.prepare()
	return g
}

// openOutside is a gate before a server of its own configuration file, as an operator writes it: what Accounts gives, changed by edit.
func openOutside(t *testing.T, edit func(config string) string) *gate {
	t.Helper()
	keys := newKeys(t)
	callout := keys.Public()
	file := filepath.Join(t.TempDir(), "nats.conf")
	head := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\n", t.TempDir())
	require.NoError(t, os.WriteFile(file, []byte(head+edit(stream.Accounts(stream.OwnUser, "own password", &callout))), 0o600))
	options, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(10*time.Second))
	own, err := stream.Connect(t.Context(), s.ClientURL(), "test", nats.UserInfo(stream.OwnUser, "own password"))
	require.NoError(t, err)
	t.Cleanup(own.Close)
	return gateOn(t, keys, s.ClientURL(), own)
}

// relay copies the log to the stream.
func (g *gate) relay() *Relay {
	g.t.Helper()
	r, err := NewRelay(RelayConfig{NATS: g.js.Conn(), Pool: g.pool, Waker: g.tip, Logger: discard()})
	require.NoError(g.t, err)
	g.run(r)
	return r
}

// prepare makes the stream and those who check logins.
func (g *gate) prepare() {
	g.t.Helper()
	_, err := stream.Ensure(g.t.Context(), g.js, stream.Limits{})
	require.NoError(g.t, err)
	g.store, g.subs = auth.NewStore(g.pool), NewSubscriptionStore(g.pool)
	g.issuer, err = auth.NewIssuer(g.t.Context(), auth.IssuerConfig{Issuer: "urn:test", TokenLife: 3 * time.Second}, g.pool, g.store)
	require.NoError(g.t, err)
	g.authn, err = auth.NewAuthenticator(auth.AuthenticatorConfig{Issuer: "urn:test", Poll: 10 * time.Millisecond}, g.pool)
	require.NoError(g.t, err)
	g.run(g.authn)
}

// answer lets parties in for as long as life at most; the returned function ends that.
func (g *gate) answer(life time.Duration) (*NATSAccess, func()) {
	g.t.Helper()
	a := NewNATSAccess(NATSAccessConfig{
		NATS: g.js.Conn(), Keys: g.keys, Logins: g.issuer, Tokens: g.authn, Consumers: g.subs, Life: life, Logger: discard(),
	})
	stop := g.run(a)
	<-a.Listening()
	return a, stop
}

func (g *gate) client(n auth.NewClient) auth.Credentials {
	g.t.Helper()
	c, err := g.store.CreateClient(g.t.Context(), n)
	require.NoError(g.t, err)
	return c
}

// subscribe stores a subscription on NATS with its consumer, as the keeper makes it.
func (g *gate) subscribe(c auth.Credentials, f Filter) string {
	g.t.Helper()
	s := &Subscription{
		ID: uuid.New(), Owner: Owner{Kind: c.Kind, Tenant: c.Tenant, Provider: c.Provider, System: c.System}, ClientID: c.ClientID,
		Transport: TransportNATS, Filter: Filter{Types: orEmpty(f.Types), BusinessTypes: orEmpty(f.BusinessTypes)}, Settings: []byte(`{}`),
		Version: 1, CreatedAt: time.Now(),
	}
	s.Name = s.ID.String()
	require.NoError(g.t, g.subs.Create(g.t.Context(), s, nil))
	_, err := g.js.CreateConsumer(g.t.Context(), stream.Name, consumerConfig(s))
	require.NoError(g.t, err)
	return consumerName(s.ID)
}

func orEmpty(list []string) []string { return append([]string{}, list...) }

// happened is one event that the test tells of.
type happened struct {
	kind                   events.Type
	tenant, business, whom string
}

// tell appends events to the log and to the stream, as the relay does.
func (g *gate) tell(all ...happened) {
	g.t.Helper()
	from := g.tip.Position()
	require.NoError(g.t, postgres.InTx(g.t.Context(), g.pool, func(tx pgx.Tx) error {
		for i, h := range all {
			e := events.New(h.kind, time.Now(), dataOf(h.kind))
			e.Tenant, e.BusinessType, e.Provider, e.OrderID, e.OrderVersion = h.tenant, h.business, h.whom, uuid.NewString(), 1
			body, err := e.Encode()
			if err != nil {
				return err
			}
			position := from + int64(i) + 1
			g.digest = g.digest.Next(position, body)
			if _, err := tx.Exec(g.t.Context(), `INSERT INTO order_events (position, recorded_at, subject, event, digest) VALUES ($1, now(), $2, $3, $4)`,
				position, e.Subject(), body, g.digest[:]); err != nil {
				return err
			}
		}
		_, err := tx.Exec(g.t.Context(), `SELECT advance_log_head(1::smallint, $1, $2, $3)`, from, from+int64(len(all)), g.digest[:])
		return err
	}))
	g.tip.Advance(from + int64(len(all)))
}

func dataOf(t events.Type) any {
	if t == events.TaskOffered {
		return &events.Offered{}
	}
	return &events.Closed{Reason: "a reason"}
}

// inbox is how a client has to name its replies.
func inbox(c auth.Credentials) nats.Option { return nats.CustomInboxPrefix(InboxPrefix(c.ClientID)) }

// violations collects what a connection is told that it may not do.
type violations struct {
	mu  sync.Mutex
	all []error
}

func (v *violations) option() nats.Option {
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.all = append(v.all, err)
	})
}

func (v *violations) of(subject string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, err := range v.all {
		if strings.Contains(err.Error(), fmt.Sprintf("%q", subject)) {
			return true
		}
	}
	return false
}

func (g *gate) dial(opts ...nats.Option) (*nats.Conn, error) {
	opts = append([]nats.Option{
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.Timeout(10 * time.Second),
	}, opts...)
	nc, err := nats.Connect(g.url, opts...)
	if err == nil {
		g.t.Cleanup(nc.Close)
	}
	return nc, err
}

func (g *gate) login(c auth.Credentials, opts ...nats.Option) *nats.Conn {
	g.t.Helper()
	nc, err := g.dial(append(opts, nats.UserInfo(c.ClientID, c.ClientSecret), inbox(c))...)
	require.NoError(g.t, err)
	return nc
}

// bind opens a party's consumer.
func bind(t *testing.T, nc *nats.Conn, consumer string) jetstream.Consumer {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	c, err := js.Consumer(t.Context(), stream.Name, consumer)
	require.NoError(t, err)
	return c
}

// fetch takes n messages and acknowledges them.
func fetch(t *testing.T, c jetstream.Consumer, n int) []jetstream.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []jetstream.Msg
	for len(all) < n {
		batch, err := c.Fetch(n-len(all), jetstream.FetchContext(ctx))
		require.NoError(t, err)
		for m := range batch.Messages() {
			require.NoError(t, m.DoubleAck(ctx))
			all = append(all, m)
		}
		require.NoError(t, ctx.Err(), "after %d of %d messages", len(all), n)
	}
	return all
}

func ids(all []jetstream.Msg) []string {
	var list []string
	for _, m := range all {
		list = append(list, m.Headers().Get("ce-id"))
	}
	return list
}

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
