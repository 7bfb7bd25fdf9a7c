package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/sample"
)

const (
	paceOrders = 300
	paceEvery  = 10 * time.Millisecond
	paceWithin = 10 * time.Second // for the last notice to come
)

// heard notes when a provider has an order: heard of it, and pulled it with the notice.
func (p *pace) heard(event *client.Event) {
	at := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.heardAt[event.Subject] = at
	}
}

func (p *pace) stored(id string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[id] = at
}

// times are the latencies of the orders that were heard of, shortest first. A notice that overtook the answer counts as zero.
func (p *pace) times() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []time.Duration
	for id, answered := range p.answered {
		if at, ok := p.heardAt[id]; ok {
			all = append(all, max(at.Sub(answered), 0))
		}
	}
	slices.Sort(all)
	return all
}

// measure submits single orders at a steady pace.
func (m *demo) measure(ctx context.Context) error {
	p := &m.latency
	p.mu.Lock()
	p.on, p.answered, p.heardAt = true, map[string]time.Time{}, map[string]time.Time{}
	p.mu.Unlock()
	submits, ctx := errgroup.WithContext(ctx)
	ticker := time.NewTicker(paceEvery)
	defer ticker.Stop()
	for order := range sample.Orders(m.seed+demoSeeds, paceOrders) {
		order.ExternalRef = fmt.Sprintf("paced-%d-%s", m.after, order.ExternalRef)
		submits.Go(func() error {
			stored, err := m.user.SubmitOrder(ctx, submissionOf(&order))
			if err == nil {
				p.stored(stored.ID, time.Now())
			}
			return err
		})
		<-ticker.C
	}
	if err := submits.Wait(); err != nil {
		return err
	}
	for over := time.Now().Add(paceWithin); len(p.times()) < paceOrders; {
		if time.Now().After(over) {
			return fmt.Errorf("providers have heard of %d of %d orders", len(p.times()), paceOrders)
		}
		<-ticker.C
	}
	return nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(10 * time.Microsecond)
}

// report prints the summary, verifies, and says what to try.
func (m *demo) report(ctx context.Context) error {
	out, c, times := m.d.out, &m.counts, m.latency.times()
	fmt.Fprintf(out, "\n%d orders with %d lines, all completed by their providers in %s: %.0f orders/s\n",
		c.orders, c.lines, m.took.Round(time.Millisecond), float64(c.orders)/m.took.Seconds())
	fmt.Fprintf(out, "  %d channels, %d business types, %d currencies, %d regions, %d customers\n",
		len(c.channels), len(c.businessTypes), len(c.currencies), len(c.regions), len(c.people))
	fmt.Fprintf(out, "end to end, %d single orders at %d/s: from the answer until the provider has heard and pulled: p50 %s, p99 %s\n\n",
		len(times), time.Second/paceEvery, quantile(times, 0.50), quantile(times, 0.99))
	if err := m.settled(ctx); err != nil {
		return err
	}
	running := &instance{cfg: m.d.instance.cfg, nats: m.d.instance.nats}
	if err := verify(ctx, running, out); err != nil {
		return err
	}
	if !m.d.options.exit {
		m.invite()
	}
	return nil
}

// settled waits until all stages are where the log is: the last results were posted only just now.
func (m *demo) settled(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		lag, err := m.operator.Lag(ctx)
		if err != nil {
			return err
		}
		behind := int64(0)
		for _, stage := range append(lag.Views, lag.Auxiliary...) {
			behind = max(behind, stage.Lag)
		}
		if behind == 0 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("views and auxiliary systems are %d events behind: %w", behind, ctx.Err())
		}
	}
}

// invite prints commands to try, ready to be pasted.
func (m *demo) invite() {
	lines := strings.NewReplacer("URL", m.url, "DIR", m.d.options.data).Replace(`
It keeps serving. To try it from another terminal:

  SECRET=$(sed -n '/"user"/,/}/s/.*"client_secret": "\(.*\)".*/\1/p' DIR/credentials.json)
  TOKEN=$(curl -s -u demo-user:$SECRET -d grant_type=client_credentials URL/oauth/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

  curl -s -H "Authorization: Bearer $TOKEN" 'URL/v1/orders?limit=2'
  curl -s -H "Authorization: Bearer $TOKEN" 'URL/v1/feed?after=0&limit=3'
  curl -si -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' URL/v1/orders -d '{"channel":"web",
    "external_ref":"my-first","business_type":"retail.erp","currency":"EUR","lines":[{"sku":"PEN-1","quantity":2,"unit_price":1500}]}'

  orderstore verify --data DIR

Ctrl-C stops it; the same command goes on with the same data.
`)
	fmt.Fprint(m.d.out, lines)
}
