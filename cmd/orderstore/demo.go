package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/sample"
)

const (
	defaultDemoOrders = 2400
	demoSeeds         = 160_000 // seeds below it give orders of different references
	demoWorkers       = 8       // results that one provider has under way
	demoPatience      = 5 * time.Minute
)

// demo pushes sample orders through a running instance, over its public API alone.
type demo struct {
	d         *development
	url       string
	operator  *client.Client
	user      *client.Client
	after     int64 // the log's end when the demonstration began
	seed      uint64
	bar       *progressbar.ProgressBar
	counts    counts
	completed atomic.Int64
	all       chan struct{} // closed when every order is completed
	took      time.Duration
	latency   pace
}

// counts say what the sample was made of.
type counts struct {
	orders, replayed, refused, lines                     int
	channels, businessTypes, currencies, regions, people map[string]int
}

// demonstrate runs the demonstration and prints what came of it.
func (d *development) demonstrate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	m := &demo{d: d, url: d.node.cfg.scheme() + d.node.address(), all: make(chan struct{}), bar: newBar(d.options.orders)}
	if err := m.run(ctx); err != nil {
		return fmt.Errorf("demonstration: %w", err)
	}
	return nil
}

func (m *demo) run(ctx context.Context) error {
	if err := m.connect(ctx); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	workers, working := errgroup.WithContext(working)
	providers, err := m.register(ctx)
	if err != nil {
		return err
	}
	for _, provider := range providers {
		workers.Go(func() error { return m.perform(working, provider) })
	}
	workers.Go(func() error { return m.count(working) })
	if err := m.submit(working); err != nil {
		return errors.Join(err, waitFor(workers, stop))
	}
	if err := m.measure(working); err != nil {
		return errors.Join(err, waitFor(workers, stop))
	}
	if err := waitFor(workers, stop); err != nil {
		return err
	}
	return m.report(ctx)
}

// waitFor ends the workers and gives the error of the one that failed before.
func waitFor(workers *errgroup.Group, stop context.CancelFunc) error {
	stop()
	if err := workers.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (m *demo) connect(ctx context.Context) error {
	known, err := readCredentials(m.d.options.data)
	if err != nil {
		return err
	}
	if m.operator, err = m.client(known.Operator.ClientID, known.Operator.ClientSecret); err != nil {
		return err
	}
	if m.user, err = m.client(known.User.ClientID, known.User.ClientSecret); err != nil {
		return err
	}
	lag, err := m.operator.Lag(ctx)
	m.after, m.seed = lag.Log, uint64(lag.Log)%demoSeeds //nolint:gosec // positions are never negative
	return err
}

func (m *demo) client(id, secret string) (*client.Client, error) {
	return client.New(client.Config{BaseURL: m.url, ClientID: id, ClientSecret: secret})
}

// register makes tenant, catalog, routes and providers known, and gives a client for each provider.
func (m *demo) register(ctx context.Context) ([]*client.Client, error) {
	puts, ctx := errgroup.WithContext(ctx)
	puts.SetLimit(16)
	puts.Go(func() error {
		_, err := m.operator.PutTenant(ctx, client.Tenant{ID: "demo", Name: "Demo shop"})
		return err
	})
	for _, r := range sample.Routes() {
		puts.Go(func() error {
			_, err := m.operator.PutRoute(ctx, client.Route{
				BusinessType: r.BusinessType, Policy: r.Policy, Regions: r.Regions, AcceptWithin: r.AcceptWithin,
				CompleteWithin: r.CompleteWithin, MaxAttempts: r.MaxAttempts,
			})
			return err
		})
	}
	for _, v := range sample.Vendors() {
		puts.Go(func() error {
			_, err := m.operator.PutVendor(ctx, client.Vendor{ID: v.ID, Tenant: "demo", Name: v.Name, Email: v.Email})
			return err
		})
	}
	for _, p := range sample.Products() {
		puts.Go(func() error {
			_, err := m.operator.PutProduct(ctx, client.Product{
				SKU: p.SKU, Tenant: "demo", Name: p.Name, VendorID: p.VendorID, ReorderLevel: p.ReorderLevel,
			})
			return err
		})
	}
	providers := make([]*client.Client, len(sample.Providers()))
	for i, p := range sample.Providers() {
		puts.Go(func() (err error) {
			providers[i], err = m.engage(ctx, p)
			return err
		})
	}
	if err := puts.Wait(); err != nil {
		return nil, err
	}
	fmt.Fprintf(m.d.out, "registered %d providers, %d routes, %d products of %d vendors\n",
		len(sample.Providers()), len(sample.Routes()), len(sample.Products()), len(sample.Vendors()))
	return providers, nil
}

// engage registers a provider, with a client of its own.
func (m *demo) engage(ctx context.Context, p sample.Provider) (*client.Client, error) {
	_, err := m.operator.PutProvider(ctx, client.Provider{
		ID: p.ID, Name: p.Name, BusinessTypes: p.BusinessTypes, Regions: p.Regions, MaxLoad: p.MaxLoad,
	})
	if err != nil {
		return nil, err
	}
	made, err := m.operator.CreateClient(ctx, client.ClientSpec{Kind: "provider", Provider: p.ID})
	if err != nil {
		return nil, err
	}
	return m.client(made.ClientID, made.ClientSecret)
}

// perform is a provider: it hears of tasks, pulls their orders with the notice, and posts a result for each.
func (m *demo) perform(ctx context.Context, provider *client.Client) error {
	results, ctx := errgroup.WithContext(ctx)
	results.SetLimit(demoWorkers)
	for event, err := range provider.Events(ctx, client.From{Position: m.after}, client.WithOrders()) {
		if err != nil {
			return errors.Join(err, results.Wait())
		}
		if event.Type == "task.offered" {
			results.Go(func() error { return m.complete(ctx, provider, &event) })
		}
	}
	return results.Wait()
}

func (m *demo) complete(ctx context.Context, provider *client.Client, event *client.Event) error {
	m.latency.heard(event)
	_, err := provider.PostResult(ctx, event.TaskID, client.ResultSubmission{
		ResultID: event.TaskID, Outcome: "completed", OccurredAt: time.Now().UTC(),
		Tracking: []client.Tracking{{Carrier: "sample", Number: "S" + event.ID}},
	})
	return err
}

// count follows the user's events until every order is completed.
func (m *demo) count(ctx context.Context) error {
	for event, err := range m.user.Events(ctx, client.From{Position: m.after}) {
		if err != nil {
			return err
		}
		if event.Type != "order.completed" {
			continue
		}
		if n := m.completed.Add(1); n <= int64(m.d.options.orders) {
			_ = m.bar.Add(1) // a bar that cannot be drawn is no reason to stop
			if n == int64(m.d.options.orders) {
				close(m.all)
			}
		}
	}
	return nil
}

// submit sends the orders as one batch and waits until all are completed.
func (m *demo) submit(ctx context.Context) error {
	began := time.Now()
	for answer, err := range m.user.SubmitBatch(ctx, m.orders()) {
		switch {
		case err != nil:
			return err
		case answer.Status == 200:
			m.counts.replayed++
		case answer.Status != 201:
			m.counts.refused++
			return fmt.Errorf("order %s was refused: %w", answer.ExternalRef, answer.Problem)
		}
	}
	select {
	case <-m.all:
	case <-ctx.Done():
		return fmt.Errorf("%d of %d orders completed: %w", m.completed.Load(), m.d.options.orders, context.Cause(ctx))
	}
	m.took = time.Since(began)
	_ = m.bar.Finish()
	fmt.Fprintln(m.d.out)
	return nil
}

// orders are the sample's, counted on their way.
func (m *demo) orders() iter.Seq[client.OrderSubmission] {
	c := &m.counts
	c.channels, c.businessTypes, c.currencies = map[string]int{}, map[string]int{}, map[string]int{}
	c.regions, c.people = map[string]int{}, map[string]int{}
	return func(yield func(client.OrderSubmission) bool) {
		for order := range sample.Orders(m.seed, m.d.options.orders) {
			c.add(&order)
			if !yield(submissionOf(&order)) {
				return
			}
		}
	}
}

func (c *counts) add(order *sample.Order) {
	c.orders++
	c.lines += len(order.Lines)
	c.channels[order.Channel]++
	c.businessTypes[order.BusinessType]++
	c.currencies[order.Currency]++
	c.regions[order.Region]++
	if order.Customer != nil {
		c.people[order.Customer.Name]++
	}
}

// submissionOf turns a sample order into a request of the client: both are the API's JSON.
func submissionOf(order *sample.Order) client.OrderSubmission {
	var s client.OrderSubmission
	body, err := order.JSON()
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	if err != nil {
		panic(fmt.Sprintf("a sample order is none of the API's: %v", err))
	}
	return s
}

// newBar draws on a terminal, and stays silent elsewhere.
func newBar(total int) *progressbar.ProgressBar {
	return progressbar.NewOptions(total,
		progressbar.OptionSetDescription("orders completed"), progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("orders"), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetVisibility(term.IsTerminal(int(os.Stderr.Fd()))), progressbar.OptionSetWriter(os.Stderr), //nolint:gosec // a file descriptor is small
	)
}

// pace measures how long single orders take from the answer to their submit until their provider has heard of them.
type pace struct {
	mu       sync.Mutex
	on       bool
	answered map[string]time.Time
	heardAt  map[string]time.Time
}
