package workload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/orderstore/orderstore/client"
)

// openBroadcast makes a request of a broadcaster; of the next one each time one fails.
func (p *party) openBroadcast(ctx context.Context, path string, header map[string]string) (*http.Response, error) {
	access, err := p.load.tokens.of(ctx, p.who)
	if err != nil {
		return nil, err
	}
	nodes := p.load.cfg.At.Broadcast
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, nodes[p.node%len(nodes)]+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := p.load.http.Do(req)
	if err != nil {
		p.node++
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		p.load.tokens.refused(p.who, access)
	}
	p.node++
	return nil, fmt.Errorf("broadcaster: %w: status %d", errAway, resp.StatusCode)
}

// The feed is asked to hold its answer so long while there is nothing to tell, and an event stream may be silent so long.
const (
	feedWait  = 2 * time.Second
	idleLimit = 20 * time.Second
)

// feed reads page after page, from the party's own position.
func (p *party) feed(ctx context.Context) error {
	after := p.position()
	for ctx.Err() == nil {
		page, err := p.page(ctx, after)
		if err != nil {
			return err
		}
		for i := range page.Events {
			if err := p.receive(ctx, &page.Events[i]); err != nil {
				return err
			}
		}
		after = max(after, page.ScannedTo)
	}
	return nil
}

func (p *party) page(ctx context.Context, after int64) (client.FeedPage, error) {
	ctx, cancel := context.WithTimeout(ctx, feedWait+p.load.cfg.Timeout)
	defer cancel()
	var page client.FeedPage
	resp, err := p.openBroadcast(ctx, fmt.Sprintf("/v1/feed?after=%d&wait=%s&limit=200", after, feedWait), nil)
	if err != nil {
		return page, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&page); err != nil {
		p.node++
		return page, fmt.Errorf("read feed: %w", err)
	}
	return page, nil
}

// stream reads server-sent events, from the party's own position, until the stream breaks or is silent.
func (p *party) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(idleLimit, cancel)
	defer silent.Stop()
	resp, err := p.openBroadcast(ctx, "/v1/events", map[string]string{
		"Accept": "text/event-stream", "Last-Event-ID": strconv.FormatInt(p.position(), 10),
	})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			p.node++
			return fmt.Errorf("read events: %w", err)
		}
		silent.Reset(idleLimit)
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue
		}
		var e client.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		if err := p.receive(ctx, &e); err != nil {
			return err
		}
	}
}

// brokerPatience is how long a reader of the broker may hear nothing before it logs in anew, to another server perhaps.
const brokerPatience = 30 * time.Second

// broker reads the party's consumer. The store keeps its position, which is acknowledged once a receipt is kept.
func (p *party) broker(ctx context.Context) error {
	nodes := p.load.cfg.At.Broadcast
	c, err := p.load.clientOf(p.who, nodes[p.node%len(nodes)])
	if err != nil {
		return err
	}
	p.node++ // the next time at another one
	made, err := c.EnsureSubscription(ctx, client.SubscriptionSpec{Name: p.subscription(), Transport: client.TransportNATS, Start: &client.From{Position: p.start}})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(brokerPatience, cancel)
	defer silent.Stop()
	for got, err := range c.Subscribe(ctx, made.ID, client.ManualAck()) {
		if err != nil {
			return err
		}
		silent.Reset(brokerPatience)
		if err := p.receive(ctx, &got.Event); err != nil {
			return err
		}
		if err := got.Ack(ctx); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}

func (p *party) subscription() string { return p.load.world.Run + "-" + p.transport }

// webhook subscribes, if it has not, and hears the endpoint until ctx ends.
func (p *party) webhook(ctx context.Context) error {
	hook := p.load.hook
	if !hook.ready() {
		nodes := p.load.cfg.At.Broadcast
		c, err := p.load.clientOf(p.who, nodes[p.node%len(nodes)])
		if err != nil {
			return err
		}
		p.node++
		// A name of its own each time: of one whose answer was lost the secret is not told again, and its calls are refused.
		made, err := c.CreateSubscription(ctx, client.SubscriptionSpec{
			Name: p.subscription() + "-" + strconv.FormatInt(p.load.log.Now(), 36), Transport: client.TransportWebhook,
			Start: &client.From{Position: p.start}, Webhook: &client.WebhookSettings{URL: hook.url},
		})
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		if made.Secret == "" {
			return fmt.Errorf("subscribe: %w: no secret was told", errAway)
		}
		if err := hook.subscribed(made.ID, made.Secret); err != nil {
			return err
		}
	}
	hook.heardBy(func(call context.Context, e *client.Event) error {
		call, cancel := context.WithCancel(call)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		if ctx.Err() != nil {
			return errNobody
		}
		return p.receive(call, e)
	})
	<-ctx.Done()
	return nil
}
