package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
)

// ear is one who listens, and how often it heard of each position.
type ear struct {
	mu    sync.Mutex
	times map[int64]int
	last  int64
	back  int // how often an event came after a later one
}

func newEar() *ear { return &ear{times: map[int64]int{}} }

func (e *ear) hear(position int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if position < e.last {
		e.back++
	}
	e.last = max(e.last, position)
	e.times[position]++
}

// missing are those of some positions that were not heard of.
func (e *ear) missing(want []int64) []int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []int64
	for _, p := range want {
		if e.times[p] == 0 {
			all = append(all, p)
		}
	}
	return all
}

// chaosFor is how long broadcasters are killed again and again: as long as ORDERSTORE_CHAOS_FOR says, or for a few of them.
func chaosFor(t *testing.T) time.Duration {
	t.Helper()
	asked := os.Getenv("ORDERSTORE_CHAOS_FOR")
	if asked == "" {
		return 9 * time.Second
	}
	d, err := time.ParseDuration(asked)
	require.NoError(t, err)
	return d
}

// betweenKills is how long a broadcaster lives.
const betweenKills = 2 * time.Second

// TestChaosBroadcasterKilledAgainAndAgain kills the one broadcaster every two seconds while orders flow: nobody misses an event.
func TestChaosBroadcasterKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	o.env = append(o.env, "ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8")
	writes := o.serve(t, "command,relay,projection,query")
	as := o.parties(t)
	address := freeAddress(t)
	b := &broadcaster{t: t, o: o, address: address, url: "http://" + address}
	b.start()

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ears := map[string]*ear{"sse": newEar(), "feed": newEar()}
	var listening sync.WaitGroup
	for name, heard := range ears {
		listening.Go(func() {
			options := []client.EventOption{client.WithWait(5 * time.Second)}
			if name == "sse" {
				options = append(options, client.OverSSE())
			}
			for event, err := range newClient(t, b.url, as.User).Events(ctx, client.From{}, options...) {
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", name, err)
					}
					return
				}
				heard.hear(event.Position)
			}
		})
	}
	called := b.webhook(as.User)
	placed := b.killedUnderLoad(newClient(t, writes, as.User), chaosFor(t))
	require.NotEmpty(t, placed)
	all := map[string]*ear{"sse": ears["sse"], "feed": ears["feed"], "webhook": called}
	for name, heard := range all {
		require.Eventually(t, func() bool { return len(heard.missing(placed)) == 0 }, 30*time.Second, 50*time.Millisecond,
			"%s misses none of %d events", name, len(placed))
	}
	stop()
	listening.Wait()
	for name, heard := range ears {
		require.Zero(t, heard.back, "%s hears in order", name)
		for position, n := range heard.times {
			require.Equal(t, 1, n, "%s: position %d", name, position)
		}
	}
	twice := 0
	for _, n := range called.times { // by webhook an event may come again: its id says which
		twice += n - 1
	}
	t.Logf("%d orders, %d kills, %d calls were repeats", len(placed), b.kills, twice)
}

// webhook subscribes one and gives who is called. Each call has to be signed, and to be of the event that its id names.
func (b *broadcaster) webhook(p party) *ear {
	b.t.Helper()
	called := newEar()
	secret := make(chan string, 1)
	var verifier *client.WebhookVerifier
	var known sync.Once
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known.Do(func() {
			var err error
			if verifier, err = client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{<-secret}}); err != nil {
				b.t.Errorf("secret: %v", err)
			}
		})
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the broadcaster was killed
		}
		event, err := verifier.Verify(r.Header, body)
		if err != nil {
			b.t.Errorf("call: %v", err)
			return
		}
		called.hear(event.Position)
	}))
	b.t.Cleanup(receiver.Close)
	made, err := newClient(b.t, b.url, p).CreateSubscription(b.t.Context(), client.SubscriptionSpec{
		Name: "called", Transport: client.TransportWebhook, Webhook: &client.WebhookSettings{URL: receiver.URL}, Start: &client.From{},
	})
	require.NoError(b.t, err)
	secret <- made.Secret
	return called
}

// broadcaster is a node that is killed and started again at the same address.
type broadcaster struct {
	t       *testing.T
	o       *outside
	address string
	url     string
	node    *program
	kills   int
}

func (b *broadcaster) start() {
	b.t.Helper()
	b.node = launch(b.t, append(b.o.env, "ORDERSTORE_HTTP="+b.address), "orderstore", "serve", "--roles", "broadcast", "--migrate=false")
	require.Eventually(b.t, func() bool {
		req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/healthz", nil)
		require.NoError(b.t, err)
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return true
	}, startWithin, 20*time.Millisecond, "it said: %s", b.node.out)
}

// killedUnderLoad submits orders, fifty a second, and kills the broadcaster every two seconds. It gives the positions of the orders.
func (b *broadcaster) killedUnderLoad(user *client.Client, during time.Duration) []int64 {
	b.t.Helper()
	over := time.NewTimer(during)
	defer over.Stop()
	next, kill := time.NewTicker(20*time.Millisecond), time.NewTicker(betweenKills)
	defer next.Stop()
	defer kill.Stop()
	var placed []int64
	for {
		select {
		case <-over.C:
			return placed
		case <-kill.C:
			b.node.kill()
			b.kills++
			b.start()
		case <-next.C:
			order, err := user.SubmitOrder(b.t.Context(), sampleOrder(fmt.Sprint("killed-", len(placed))))
			require.NoError(b.t, err)
			placed = append(placed, order.Meta.Position)
		}
	}
}
