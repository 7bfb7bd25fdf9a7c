package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/history"
)

// party hears events on one transport, keeps a receipt of each, and, where it is a provider, pulls the order and posts a result.
type party struct {
	*session
	name      string
	transport string
	start     int64
	slow      atomic.Int64 // nanoseconds for each event
	node      int          // which broadcaster

	mu       sync.Mutex // one event at a time
	receipts *history.Receipts
	halted   context.CancelFunc // ends the listening that is under way
}

// startParties opens the receipts of all and has them listen until ctx ends.
func (l *Load) startParties(ctx context.Context) error {
	var err error
	if l.hook, err = newHookEndpoint(l.cfg.Hook); err != nil {
		return err
	}
	for i, provider := range l.world.Providers {
		if err := l.addParty(provider, provider.Provider, transports()[i]); err != nil {
			return err
		}
	}
	for _, tenant := range l.world.Tenants {
		if err := l.addParty(tenant, tenant.Tenant, client.TransportFeed); err != nil {
			return err
		}
	}
	for _, p := range l.parties {
		l.workers.Go(func() { p.run(ctx) })
	}
	return nil
}

func (l *Load) addParty(who chaos.Login, name, transport string) error {
	receipts, err := history.OpenReceipts(l.cfg.Dir, name)
	if err != nil {
		return err
	}
	p := &party{
		session: l.newSession(who, 1<<21+uint64(len(l.parties))), name: name, transport: transport, start: l.world.Start, receipts: receipts,
	}
	l.parties = append(l.parties, p)
	return nil
}

func (p *party) close() error { return p.receipts.Close() }

// run listens until ctx ends, and anew whenever that fails or the party was put back.
func (p *party) run(ctx context.Context) {
	for ctx.Err() == nil {
		listening, cancel := context.WithCancel(ctx)
		p.mu.Lock()
		p.halted = cancel
		p.mu.Unlock()
		err := p.listen(listening)
		cancel()
		if err != nil && ctx.Err() == nil {
			p.load.cfg.Logger.DebugContext(ctx, "party listens again", slog.String("party", p.name), slog.Any("cause", err))
		}
		rest(ctx, 100*time.Millisecond)
	}
}

func (p *party) listen(ctx context.Context) error {
	switch p.transport {
	case client.TransportFeed:
		return p.feed(ctx)
	case client.TransportSSE:
		return p.stream(ctx)
	case client.TransportNATS:
		return p.broker(ctx)
	}
	return p.webhook(ctx)
}

// position is where the party goes on.
func (p *party) position() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.start, p.receipts.Position())
}

// receive deals with an event: the work first, then the receipt, as a party has to that must not lose any. An event that came before is
// noted and not worked on again.
func (p *party) receive(ctx context.Context, e *client.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := time.Duration(p.slow.Load()); d > 0 && !rest(ctx, d) {
		return ctx.Err()
	}
	if !p.receipts.Has(e.Position) && p.who.Provider != "" && e.Subject != "" {
		if err := p.work(ctx, e); err != nil {
			return err
		}
	}
	before, err := p.receipts.Keep(&history.Receipt{
		Position: e.Position, ID: e.ID, Type: e.Type, Order: e.Subject, OrderVersion: e.OrderVersion, Tenant: e.Tenant, Provider: e.Provider,
		Task: e.TaskID, At: p.load.log.Now(),
		Digest: history.DigestOf(e.Position, e.Type, e.Subject, e.OrderVersion, e.Tenant, e.BusinessType, e.Provider, e.TaskID, e.Time.UTC().Format(time.RFC3339Nano)),
	})
	if err != nil {
		return err
	}
	p.load.received.Add(1)
	if !before && p.who.Provider != "" && e.Type == "task.offered" {
		p.load.due.Add(-1)
	}
	return nil
}

// pulled is what a provider looks at of an order.
type pulled struct {
	document
	Tasks []struct {
		ID     string `json:"id"`
		Status string `json:"status"`
		Lines  []struct {
			LineID    string `json:"line_id"`
			Quantity  int64  `json:"quantity"`
			Fulfilled int64  `json:"fulfilled"`
		} `json:"lines"`
	} `json:"tasks"`
}

var errAway = errors.New("the store is away")

// work pulls the order that an event is about and, where a task is offered, posts its result.
func (p *party) work(ctx context.Context, e *client.Event) error {
	order, err := p.pull(ctx, e)
	if err != nil || e.Type != "task.offered" || order == nil {
		return err
	}
	for _, task := range order.Tasks {
		if task.ID != e.TaskID || (task.Status != "offered" && task.Status != "accepted") {
			continue
		}
		posts := []string{fmt.Sprintf(`{"result_id":"r-%s","outcome":"completed"}`, task.ID)}
		if n := p.random.IntN(10); n == 0 {
			posts[0] = fmt.Sprintf(`{"result_id":"r-%s","outcome":"failed"}`, task.ID)
		} else if n < 3 && len(task.Lines) > 0 {
			posts = append([]string{fmt.Sprintf(
				`{"result_id":"q-%s","outcome":"partial","lines":[{"line_id":%q,"quantity":1,"outcome":"fulfilled"}]}`, task.ID, task.Lines[0].LineID,
			)}, posts...)
		}
		for _, body := range posts {
			if err := p.post(ctx, order, task.ID, body); err != nil {
				return err
			}
		}
	}
	return nil
}

// pull reads the order as of the event, until the store answers. What it answers is for the checker to judge. Sometimes it does not say as of
// what: then it has to be found all the same.
func (p *party) pull(ctx context.Context, e *client.Event) (*pulled, error) {
	if p.random.IntN(4) == 0 {
		op := &history.Op{Kind: history.Pull, Order: e.Subject, Heard: e.Position, Task: e.TaskID}
		p.call(ctx, op, request{method: http.MethodGet, path: "/v1/orders/" + e.Subject}, takeOrder(op))
	}
	for ctx.Err() == nil {
		op := &history.Op{Kind: history.Pull, Order: e.Subject, Token: e.Position, Told: e.OrderVersion, Task: e.TaskID}
		var order *pulled
		p.call(ctx, op, request{method: http.MethodGet, path: "/v1/orders/" + e.Subject, header: atLeast(e.Position)}, func(a *answer) {
			order = &pulled{}
			if json.Unmarshal(a.body, order) == nil {
				op.Version, op.State, op.Seen = order.Version, order.Status, order.Tenant
			}
		})
		if op.Outcome == history.OK || op.Status == http.StatusNotFound {
			return order, nil
		}
		rest(ctx, 50*time.Millisecond)
	}
	return nil, errors.Join(errAway, ctx.Err())
}

// post posts a result until the store answers, and sometimes once more.
func (p *party) post(ctx context.Context, order *pulled, task, body string) error {
	var named struct {
		ID string `json:"result_id"`
	}
	if err := json.Unmarshal([]byte(body), &named); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	times := 1
	if p.random.IntN(8) == 0 {
		times = 2
	}
	for ctx.Err() == nil {
		op := &history.Op{Kind: history.Result, Order: order.ID, Task: task, Mark: named.ID}
		p.call(ctx, op, request{method: http.MethodPost, path: "/v1/tasks/" + task + "/result", body: []byte(body)}, func(a *answer) {
			op.Version, op.Replayed = 0, a.status == http.StatusOK // the ETag is the task's
		})
		if op.Outcome == history.Unknown || op.Status == http.StatusTooManyRequests || op.Status >= http.StatusInternalServerError || op.Status == 0 || op.Status == http.StatusUnauthorized {
			rest(ctx, 50*time.Millisecond)
			continue
		}
		if times--; times == 0 {
			return nil
		}
	}
	return errors.Join(errAway, ctx.Err())
}
