package playhub_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/orderstore/orderstore/client"
)

// fixture is a provider of the simplest kind. Each flag breaks it in one way.
type fixture struct {
	c    *client.Client
	once *client.Client // the same, which makes no second attempt

	twice     bool // works whenever it hears of a task, and calls each result something else
	newName   bool // calls a result something else when its answer was lost
	over      bool // counts what it has fulfilled of the first of several lines again
	deaf      bool // leaves a cancellation unanswered
	stubborn  bool // posts its result although the task is not there to be accepted
	stale     bool // keeps the order that it saw first
	strict    bool // stops at an event that it does not know
	forgetful bool // knows only in memory what it has done, and looks at everything from the beginning
	gullible  bool // looks at no signature
	blind     bool // posts a result for what a notice says, without looking at the task

	mu     sync.Mutex
	heard  map[string]bool // by event
	orders map[string]client.Order
}

// stripped is a transport that drops Retry-After, so that the client does not wait for it.
type stripped struct{ http.RoundTripper }

func (t stripped) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Retry-After")
	}
	return resp, err
}

var errUnknownEvent = errors.New("an event of an unknown type")

// listen works on what the event stream tells until ctx ends.
func (f *fixture) listen(ctx context.Context) {
	for e, err := range f.c.Events(ctx, client.From{}, client.WithOrders(), client.OverSSE()) {
		if err != nil {
			return
		}
		_ = f.all(ctx, []client.Event{e}) // only a strict one has an error
	}
}

// poll works on what stands in the inbox until ctx ends.
func (f *fixture) poll(ctx context.Context) {
	for ctx.Err() == nil {
		for task, err := range f.c.ListTasks(ctx, client.TaskFilter{Status: []string{client.TaskOffered, client.TaskAccepted}, PageSize: 1}) {
			if err != nil {
				break
			}
			order, err := f.c.GetOrder(ctx, task.OrderID, client.GetOptions{})
			if err == nil {
				_ = f.work(ctx, order, task) // what went wrong is in the inbox still
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// follow works on what the feed tells until ctx ends.
func (f *fixture) follow(ctx context.Context) {
	var after int64
	for ctx.Err() == nil {
		page, err := f.c.Feed(ctx, client.FeedRequest{After: after, Wait: 5 * time.Second, IncludeOrder: true})
		if err == nil {
			err = f.all(ctx, page.Events)
		}
		if err == nil {
			after = page.ScannedTo
			continue
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (f *fixture) all(ctx context.Context, events []client.Event) error {
	for i := range events {
		if f.strict && !strings.HasPrefix(events[i].Type, "provider.") && !strings.HasPrefix(events[i].Type, "order.") && !known[events[i].Type] {
			return errUnknownEvent
		}
		order, err := events[i].Order()
		if err != nil {
			continue
		}
		_ = f.hear(ctx, &events[i], order) // what went wrong with one task spoils no other
	}
	return nil
}

var known = map[string]bool{ //nolint:gochecknoglobals // a table that nothing changes
	"task.offered": true, "task.accepted": true, "task.result_posted": true, "task.cancelled": true, "task.amended": true,
	"task.cancellation_requested": true,
}

// hear deals with a notice and the order as it was pulled.
func (f *fixture) hear(ctx context.Context, e *client.Event, order client.Order) error {
	task, found := order.Task(e.TaskID)
	if e.Type != "task.offered" || !found {
		return nil
	}
	f.mu.Lock()
	again := f.heard[e.ID]
	f.heard[e.ID] = true
	if first, ok := f.orders[order.ID]; ok && f.stale {
		order = first
	}
	f.orders[order.ID] = order
	f.mu.Unlock()
	open := task.Status == client.TaskOffered || task.Status == client.TaskAccepted
	if again && !f.twice || !open && !f.twice && !f.forgetful && !f.blind {
		return nil
	}
	if f.blind {
		return f.post(ctx, order, task)
	}
	return f.work(ctx, order, task)
}

func (f *fixture) work(ctx context.Context, order client.Order, task client.Task) error {
	accepted, err := f.c.AcceptTask(ctx, task.ID)
	var p *client.Problem
	if errors.As(err, &p) && p.Code == client.CodeTaskState {
		if p.TaskStatus == client.TaskCancelled && !f.stubborn {
			return nil
		}
		if p.TaskStatus == client.TaskCompleted && !f.twice && !f.forgetful {
			return nil
		}
	} else if err != nil {
		return err
	}
	if f.deaf {
		if now, err := f.c.GetOrder(ctx, task.OrderID, client.GetOptions{Position: accepted.Meta.Position}); err == nil {
			if now, _ := now.Task(task.ID); now.Status == client.TaskCancellationRequested {
				return nil
			}
		}
	}
	return f.post(ctx, order, task)
}

func (f *fixture) post(ctx context.Context, order client.Order, task client.Task) error {
	result := client.ResultSubmission{ResultID: "done-" + task.ID, Outcome: client.OutcomeCompleted}
	if f.twice || f.forgetful {
		result.ResultID = rand.Text()
	}
	if f.stale {
		for _, line := range order.Lines {
			result.Lines = append(result.Lines, client.ResultLine{LineID: line.LineID, Quantity: line.Quantity, Outcome: client.LineFulfilled})
		}
	}
	if f.over && len(task.Lines) > 1 {
		for _, line := range task.Lines {
			result.Lines = append(result.Lines, client.ResultLine{LineID: line.LineID, Quantity: line.Quantity, Outcome: client.LineFulfilled})
		}
		part := client.ResultSubmission{ResultID: "part-" + task.ID, Outcome: client.OutcomePartial, Lines: result.Lines[:1]}
		if _, err := f.c.PostResult(ctx, task.ID, part); err != nil {
			return err
		}
	}
	if !f.newName {
		_, err := f.c.PostResult(ctx, task.ID, result)
		return err
	}
	_, err := f.once.PostResult(context.WithoutCancel(ctx), task.ID, result)
	var lost *url.Error
	var busy *client.Problem
	switch {
	case errors.As(err, &lost):
		result.ResultID += "-again"
	case errors.As(err, &busy) && busy.RetryAfter > 0:
		select {
		case <-time.After(busy.RetryAfter):
		case <-ctx.Done():
		}
	default:
		return err
	}
	_, err = f.c.PostResult(ctx, task.ID, result)
	return err
}

// take takes webhooks: it looks at the signature, answers, and works on what it pulls.
func (f *fixture) take(ctx context.Context, secret string) (http.Handler, error) {
	heard := func(e client.Event) {
		if e.Subject == "" {
			return
		}
		order, err := f.c.GetOrder(ctx, e.Subject, client.GetOptions{Position: e.Position})
		if err == nil {
			_ = f.hear(ctx, &e, order)
		}
	}
	if f.gullible {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var e client.Event
			if json.NewDecoder(r.Body).Decode(&e) == nil {
				go heard(e)
			}
			w.WriteHeader(http.StatusAccepted)
		}), nil
	}
	verifier, err := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{secret}})
	return client.WebhookHandler(verifier, func(_ context.Context, e client.Event) error {
		go heard(e)
		return nil
	}), err
}
