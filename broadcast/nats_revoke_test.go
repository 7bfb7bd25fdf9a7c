package broadcast

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/auth"
)

const shortLife = 2 * time.Second // a server counts in whole seconds

// turns tells how often a connection came and went.
type turns struct{ lost, back, closed chan struct{} }

func newTurns() *turns {
	return &turns{lost: make(chan struct{}, 100), back: make(chan struct{}, 100), closed: make(chan struct{}, 1)}
}

func (w *turns) options() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(*nats.Conn, error) { w.lost <- struct{}{} }),
		nats.ReconnectHandler(func(*nats.Conn) { w.back <- struct{}{} }),
		nats.ClosedHandler(func(*nats.Conn) { w.closed <- struct{}{} }),
	}
}

func within(t *testing.T, d time.Duration, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(d):
		t.Fatalf("waited %s: %s", d, what)
	}
}

// TestLoginEndsAndNothingIsLost: a server ends each connection when its login does. The client is back by itself, and what it reads goes
// on. What was on its way when the connection ended comes again, and is known by its delivery count; all else is in order.
func TestLoginEndsAndNothingIsLost(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.answer(shortLife)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	name := g.subscribe(demo, Filter{})
	made, err := g.js.Consumer(t.Context(), "ORDERS", name)
	require.NoError(t, err)
	soon := made.CachedInfo().Config
	soon.AckWait = time.Second
	_, err = g.js.UpdateConsumer(t.Context(), "ORDERS", soon)
	require.NoError(t, err)
	w := newTurns()
	read, err := bind(t, g.login(demo, w.options()...), name).Messages(jetstream.PullMaxMessages(50))
	require.NoError(t, err)
	defer read.Stop()
	got := make(chan jetstream.Msg, 2000)
	go func() {
		for {
			m, err := read.Next()
			if err != nil {
				return
			}
			_ = m.Ack() // buffered while the connection is away
			got <- m
		}
	}()
	const each, rounds = 100, 3
	for range rounds {
		g.append(each)
		within(t, 20*time.Second, w.lost, "the login ends")
		g.append(each)
		within(t, 20*time.Second, w.back, "the client comes back")
	}
	heard, last := map[int64]bool{}, uint64(0)
	for len(heard) < 2*each*rounds {
		select {
		case m := <-got:
			md, err := m.Metadata()
			require.NoError(t, err)
			if md.NumDelivered == 1 {
				require.Greater(t, md.Sequence.Stream, last)
				last = md.Sequence.Stream
			}
			heard[int64(md.Sequence.Stream)] = true //nolint:gosec // below 2^63
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d came", len(heard), 2*each*rounds)
		}
	}
}

func unchanged(config string) string { return config }

// withoutSystem takes away what lets our own roles see and end connections.
func withoutSystem(config string) string {
	var kept []string
	for line := range strings.Lines(config) {
		if !strings.Contains(line, "$SYS.") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestDisabledClientIsCut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		life time.Duration
		edit func(string) string
	}{
		"at once": {time.Hour, unchanged},
		"when its login ends, on a server that shows us no connections": {shortLife, withoutSystem},
	} {
		g := openOutside(t, c.edit)
		a, _ := g.answer(c.life)
		require.Eventually(t, func() bool { return a.alone.Load() == (c.life == shortLife) }, 10*time.Second, time.Millisecond)
		gone := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
		stays := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
		w, other := newTurns(), newTurns()
		g.login(gone, w.options()...)
		kept := g.login(stays, other.options()...)
		require.NoError(t, g.store.DisableClient(t.Context(), gone.ClientID))
		within(t, 20*time.Second, w.closed, name)
		_, err := g.dial(nats.UserInfo(gone.ClientID, gone.ClientSecret))
		require.ErrorIs(t, err, nats.ErrAuthorization)
		require.Eventually(t, kept.IsConnected, 10*time.Second, time.Millisecond)
		require.Empty(t, other.closed, name)
	}
}

// TestTokenOnNATSEndsInTime: a login is never good for longer than the token it was made with.
func TestTokenOnNATSEndsInTime(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.answer(time.Hour)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	consumer := g.subscribe(demo, Filter{})
	token := func() string {
		issued, _, err := g.issuer.Issue(t.Context(), auth.Identity{ClientID: demo.ClientID, Kind: demo.Kind, Tenant: demo.Tenant, Scopes: demo.Scopes})
		if err != nil {
			t.Errorf("issue: %v", err)
		}
		return issued
	}
	old, fresh, narrow := newTurns(), newTurns(), auth.Identity{ClientID: demo.ClientID, Kind: demo.Kind, Tenant: demo.Tenant, Scopes: []string{auth.ScopeOrdersWrite}}
	_, err := g.dial(append(old.options(), nats.Token(token()), inbox(demo))...)
	require.NoError(t, err)
	nc, err := g.dial(append(fresh.options(), nats.TokenHandler(token), inbox(demo))...)
	require.NoError(t, err)
	_, err = g.dial(nats.UserInfo("token", token()))
	require.NoError(t, err)
	issued, _, err := g.issuer.Issue(t.Context(), narrow)
	require.NoError(t, err)
	_, err = g.dial(nats.Token(issued))
	require.ErrorIs(t, err, nats.ErrAuthorization, "a token without the scope to read orders")

	within(t, 20*time.Second, old.closed, "the token expires")
	within(t, 20*time.Second, fresh.back, "with a new token the client comes back")
	g.append(1)
	require.Equal(t, []string{"1"}, ids(fetch(t, bind(t, nc, consumer), 1)))
}

// TestAnswersMayPause: while nobody answers, those whose login ends stay out, and come back when somebody does.
func TestAnswersMayPause(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	_, stop := g.answer(shortLife)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	consumer := g.subscribe(demo, Filter{})
	w := newTurns()
	nc := g.login(demo, append(w.options(), nats.IgnoreAuthErrorAbort())...)
	c := bind(t, nc, consumer)
	stop()
	within(t, 20*time.Second, w.lost, "the login ends")
	g.append(3)
	natsServerAsks(t, g)
	g.answer(shortLife)
	within(t, 30*time.Second, w.back, "the client comes back")
	require.Equal(t, []string{"1", "2", "3"}, ids(fetch(t, c, 3)))
}

// natsServerAsks waits until a server has asked, and nobody was there.
func natsServerAsks(t *testing.T, g *gate) {
	t.Helper()
	sub, err := g.js.Conn().SubscribeSync(calloutSubject)
	require.NoError(t, err)
	_, err = sub.NextMsg(20 * time.Second)
	require.NoError(t, err)
	require.NoError(t, sub.Unsubscribe())
}

// TestServerMayRestart: parties come back by themselves after a restart of the server.
func TestServerMayRestart(t *testing.T) {
	t.Parallel()
	g := openGate(t)
	g.relay()
	g.answer(0)
	demo := g.client(auth.NewClient{Kind: auth.KindUser, Tenant: "demo"})
	consumer := g.subscribe(demo, Filter{})
	w := newTurns()
	nc := g.login(demo, append(w.options(), nats.IgnoreAuthErrorAbort())...)
	c := bind(t, nc, consumer)
	require.NoError(t, g.server.Restart())
	within(t, 30*time.Second, w.back, "the client comes back")
	g.append(1)
	require.Equal(t, []string{"1"}, ids(fetch(t, c, 1)))
}
