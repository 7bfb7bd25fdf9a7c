package playprovider

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/orderstore/orderstore/client"
)

// answer is a hub's answer, as it is.
type answer struct {
	status int
	kind   string // Content-Type
	body   []byte
}

// ask makes one request, once.
func (s *stage) ask(ctx context.Context, as *client.Client, method, path string, header http.Header) (answer, error) {
	token, err := as.Token(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("fetch token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.Hub.BaseURL+path, nil)
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("ask: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{status: resp.StatusCode, kind: resp.Header.Get("Content-Type"), body: body}, nil
}

// journal is what was heard, in order.
type journal struct {
	mu      sync.Mutex
	events  []client.Event
	faults  []string // what should not have been
	changed chan struct{}
}

func newJournal() journal { return journal{changed: make(chan struct{})} }

func (j *journal) add(events []client.Event, faults ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events, j.faults = append(j.events, events...), append(j.faults, faults...)
	close(j.changed)
	j.changed = make(chan struct{})
}

// all is what was heard so far, and what was wrong with it.
func (j *journal) all() ([]client.Event, []string, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.events[:len(j.events):len(j.events)], j.faults[:len(j.faults):len(j.faults)], j.changed
}

// hears waits for an event of a type about an order. It is false when ctx ends before.
func (j *journal) hears(ctx context.Context, kind, order string) (client.Event, bool) {
	for {
		events, _, changed := j.all()
		for _, e := range events {
			if e.Type == kind && e.Subject == order {
				return e, true
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return client.Event{}, false
		}
	}
}

// reaches waits until something at a position or behind it was heard.
func (j *journal) reaches(ctx context.Context, position int64) bool {
	for {
		events, _, changed := j.all()
		if n := len(events); n > 0 && events[n-1].Position >= position {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// follower reads the provider's feed and pulls the order of each notice, at once and without a second attempt.
type follower struct {
	journal
	s     *stage
	after int64
	pages int
	pulls int
	wrong []string // what was wrong with a pull
}

func newFollower(s *stage, after int64) *follower {
	return &follower{journal: newJournal(), s: s, after: after}
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		page, err := f.s.own.Feed(ctx, client.FeedRequest{After: f.after, Wait: 5 * time.Second})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.add(nil, err.Error())
			rest(ctx, time.Second)
			continue
		}
		for i := range page.Events {
			f.pull(ctx, &page.Events[i])
		}
		faults := disorder(f.after, &page)
		f.mu.Lock()
		f.pages++
		f.mu.Unlock()
		f.after = max(f.after, page.ScannedTo)
		if len(page.Events) > 0 || len(faults) > 0 {
			f.add(page.Events, faults...)
		}
	}
}

// disorder says what is wrong with a page of the feed that was asked for behind a position.
func disorder(after int64, page *client.FeedPage) []string {
	var faults []string
	last := after
	for _, e := range page.Events {
		if e.Position <= last {
			faults = append(faults, fmt.Sprintf("position %d told after %d", e.Position, last))
		}
		if e.ID != strconv.FormatInt(e.Position, 10) {
			faults = append(faults, fmt.Sprintf("event %q at position %d", e.ID, e.Position))
		}
		last = e.Position
	}
	if page.ScannedTo < last {
		faults = append(faults, fmt.Sprintf("scanned_to %d after position %d", page.ScannedTo, last))
	}
	return faults
}

// pull reads a notice's order by its dataref, and once more without a position.
func (f *follower) pull(ctx context.Context, e *client.Event) {
	if e.Subject == "" {
		return
	}
	for _, path := range []string{e.DataRef, "/v1/orders/" + e.Subject} {
		got, err := f.s.ask(ctx, f.s.own, http.MethodGet, path, nil)
		if ctx.Err() != nil {
			return
		}
		wrong := ""
		var order client.Order
		switch {
		case err != nil:
			wrong = err.Error()
		case got.status != http.StatusOK:
			wrong = fmt.Sprintf("%d for %s of %s at position %d", got.status, path, e.Type, e.Position)
		case json.Unmarshal(got.body, &order) != nil:
			wrong = "no order at " + path
		case order.Version < e.OrderVersion:
			wrong = fmt.Sprintf("version %d behind a notice of version %d at position %d", order.Version, e.OrderVersion, e.Position)
		}
		f.mu.Lock()
		f.pulls++
		if wrong != "" {
			f.wrong = append(f.wrong, wrong)
		}
		f.mu.Unlock()
	}
}

// pulled tells how many pulls were made and what was wrong with some.
func (f *follower) pulled() (pulls, pages int, wrong []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulls, f.pages, f.wrong
}

// listener hears the provider's events as a stream.
type listener struct {
	journal
	s     *stage
	after int64
}

func newListener(s *stage, after int64) *listener {
	return &listener{journal: newJournal(), s: s, after: after}
}

func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		for e, err := range l.s.own.Events(ctx, client.From{Position: l.after}, client.OverSSE()) {
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				l.add(nil, err.Error())
				break
			}
			l.after = e.Position
			l.add([]client.Event{e})
		}
		rest(ctx, time.Second)
	}
}
