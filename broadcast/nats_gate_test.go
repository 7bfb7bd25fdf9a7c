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
	stopRelay func()
	keys      *stream.CalloutKeys
	url       string // without credentials
	store     *auth.Store
	issuer    *auth.Issuer
	authn     *auth.Authenticator
	subs      *SubscriptionStore
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
	g.stopRelay = g.run(r)
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
