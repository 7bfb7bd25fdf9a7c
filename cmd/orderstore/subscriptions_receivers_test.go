package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/stream"
)

// transport is one way in which a subscription's events come. Everything that is said of subscriptions is tested over all of them.
type transport struct {
	name string
	// perOrder: events keep their order within each order only.
	perOrder bool
	// open makes what a receiver of it needs: what its subscription says of it, and how it is then heard.
	open func(t *testing.T, s *system) endpoint
}

// endpoint is the receiving side of one subscription.
type endpoint struct {
	webhook *client.WebhookSettings
	// options are for a loop over the subscription, each time it begins.
	options func(s *system, of client.Subscription) (client.Config, []client.EventOption)
	// follow are what orderctl needs to follow it.
	follow func(of client.Subscription) []string
}

// transports are all there are.
func transports() []transport {
	return []transport{
		{name: client.TransportFeed, open: pulled},
		{name: client.TransportSSE, open: pulled},
		{name: client.TransportNATS, open: brokered},
		{name: client.TransportWebhook, perOrder: true, open: called},
	}
}

// pulled needs nothing but the store.
func pulled(*testing.T, *system) endpoint {
	return endpoint{
		options: func(*system, client.Subscription) (client.Config, []client.EventOption) { return client.Config{}, nil },
		follow:  func(client.Subscription) []string { return nil },
	}
}

// brokered needs to know where the broker is.
func brokered(*testing.T, *system) endpoint {
	return endpoint{
		options: func(s *system, _ client.Subscription) (client.Config, []client.EventOption) {
			return client.Config{NATSURL: s.at.NATS}, nil
		},
		follow: func(client.Subscription) []string { return nil }, // the instance's folder says it
	}
}

// called needs a server that the store can call. It stays while what hears the calls comes and goes, as a balancer does.
func called(t *testing.T, _ *system) endpoint {
	t.Helper()
	var behind atomic.Pointer[http.Handler]
	away := func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := behind.Load(); h != nil {
			(*h).ServeHTTP(w, r)
			return
		}
		away(w, r, nil)
	}))
	t.Cleanup(front.Close)
	return endpoint{
		webhook: &client.WebhookSettings{URL: front.URL},
		options: func(s *system, of client.Subscription) (client.Config, []client.EventOption) {
			verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{of.Secret}})
			require.NoError(s.t, err)
			receiver := client.NewWebhookReceiver(verifier)
			var h http.Handler = receiver
			behind.Store(&h)
			return client.Config{}, []client.EventOption{client.ThroughWebhook(receiver)}
		},
		follow: func(of client.Subscription) []string {
			free := freeAddress(t)
			proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: free})
			proxy.ErrorHandler = away
			var h http.Handler = proxy
			behind.Store(&h)
			return []string{"--listen", free, "--secret", of.Secret}
		},
	}
}

// receiver hears a subscription, and keeps all that it heard.
type receiver struct {
	t            *testing.T
	s            *system
	transport    transport
	endpoint     endpoint
	as           party
	subscription client.Subscription
	// pull reads the order behind each event the moment it is heard of.
	pull bool

	mu   sync.Mutex
	runs [][]client.Event // of each loop
	// deliveries are the ids of webhooks' deliveries, by position.
	deliveries map[int64]string
	leave      bool // the next event is not dealt with
	stop       context.CancelFunc
	done       chan struct{}
}

// subscribe makes a subscription of a party over a transport. It hears nothing yet.
func (s *system) subscribe(by transport, as party, spec client.SubscriptionSpec) *receiver {
	s.t.Helper()
	r := &receiver{t: s.t, s: s, transport: by, endpoint: by.open(s.t, s), as: as, deliveries: map[int64]string{}}
	spec.Transport, spec.Webhook = by.name, r.endpoint.webhook
	var err error
	r.subscription, err = s.client(as).CreateSubscription(s.t.Context(), spec)
	require.NoError(s.t, err, by.name)
	return r
}

// listen begins a loop, as a program that starts does.
func (r *receiver) listen() {
	r.t.Helper()
	cfg, options := r.endpoint.options(r.s, r.subscription)
	cfg.BaseURL, cfg.ClientID, cfg.ClientSecret = r.s.at.HTTP, r.as.ClientID, r.as.ClientSecret
	c, err := client.New(cfg)
	require.NoError(r.t, err)
	ctx, stop := context.WithCancel(r.t.Context())
	r.stop, r.done = stop, make(chan struct{})
	r.mu.Lock()
	r.runs = append(r.runs, nil)
	r.mu.Unlock()
	r.t.Cleanup(r.halt)
	go func() {
		defer close(r.done)
		for d, err := range c.Subscribe(ctx, r.subscription.ID, options...) {
			if err != nil {
				assert.ErrorIs(r.t, err, context.Canceled, r.transport.name)
				return
			}
			if !r.hear(ctx, c, d) {
				return
			}
		}
	}()
}

// hear keeps an event, and says whether it is dealt with.
func (r *receiver) hear(ctx context.Context, c *client.Client, d *client.Received) bool {
	if r.pull && d.Subject != "" {
		order, err := c.PullOrder(ctx, &d.Event)
		if ctx.Err() == nil && (err != nil || order.Version < d.OrderVersion) {
			r.t.Errorf("%s: event %d tells of version %d, %d is read: %v", r.transport.name, d.Position, d.OrderVersion, order.Version, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.deliveries[d.Position]; ok && known != d.Delivery.ID {
		r.t.Errorf("%s: event %d came as delivery %s and %s", r.transport.name, d.Position, known, d.Delivery.ID)
	}
	r.deliveries[d.Position] = d.Delivery.ID
	last := len(r.runs) - 1
	event := d.Event
	event.Delivery = client.Delivery{} // the rest is the same on every transport
	r.runs[last] = append(r.runs[last], event)
	return !r.leave
}

// halt ends the loop as a program does that is told to stop.
func (r *receiver) halt() {
	r.stop()
	<-r.done
}

// crash ends the loop in the middle of the next event, which nobody has dealt with then.
func (r *receiver) crash() {
	r.t.Helper()
	r.mu.Lock()
	r.leave = true
	r.mu.Unlock()
	select {
	case <-r.done:
	case <-time.After(stopWithin):
		r.t.Errorf("%s: no event came to leave the loop in", r.transport.name)
	}
	r.mu.Lock()
	r.leave = false
	r.mu.Unlock()
}

func (r *receiver) heard() []client.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []client.Event
	for _, run := range r.runs {
		all = append(all, run...)
	}
	return all
}

// positions of all that was heard, each once.
func (r *receiver) positions() map[int64]int {
	times := map[int64]int{}
	for _, e := range r.heard() {
		times[e.Position]++
	}
	return times
}

// logged is an event as the log has it, and when it was recorded.
type logged struct {
	events.Event
	recorded time.Time
}

// log reads the whole log: what there is to be heard of.
func (s *system) log() []logged {
	s.t.Helper()
	pool, err := pgxpool.New(s.t.Context(), s.at.PostgresWrite)
	require.NoError(s.t, err)
	defer pool.Close()
	rows, err := pool.Query(s.t.Context(), `SELECT recorded_at FROM order_events ORDER BY position`)
	require.NoError(s.t, err)
	recorded, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	require.NoError(s.t, err)
	var all []logged
	records, err := stream.NewLog(pool).Read(s.t.Context(), 0, len(recorded))
	require.NoError(s.t, err)
	for _, record := range records {
		e, _, err := events.DecodeHeader(record.Position, record.Body)
		require.NoError(s.t, err)
		all = append(all, logged{e, recorded[e.Position-1]})
	}
	return all
}

// same says that an event was heard as it stands in the log.
func (r *receiver) same(heard client.Event, in logged) {
	r.t.Helper()
	assert.Equal(r.t, client.Event{
		SpecVersion: "1.0", ID: strconv.FormatInt(in.Position, 10), Type: string(in.Type), Source: events.Source, Subject: in.OrderID, Time: in.Time.UTC(),
		Position: in.Position, Tenant: in.Tenant, BusinessType: in.BusinessType, TaskID: in.TaskID, Provider: in.Provider,
		OrderVersion: in.OrderVersion, Traceparent: in.Traceparent, DataRef: events.NoticeOf(&in.Event).DataRef,
	}, heard, r.transport.name)
}

// ordered says that nothing came in another order within each loop, and nothing twice but what a webhook's sender that was killed could not
// remember.
func (r *receiver) ordered() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[int64]bool{}
	for _, run := range r.runs {
		last := map[string]int64{}
		for _, e := range run {
			lane := ""
			if r.transport.perOrder {
				lane = e.Subject
				if seen[e.Position] {
					continue
				}
				seen[e.Position] = true
			}
			if !assert.Greater(r.t, e.Position, last[lane], "%s %s", r.transport.name, r.subscription.Name) {
				break
			}
			last[lane] = e.Position
		}
	}
}
