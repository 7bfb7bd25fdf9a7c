// Package playhub plays an order store against a provider's implementation: a real HTTP server on the loopback that decides and answers
// as the store does, and that can also lose an answer, tell things twice, be busy or change an order at the worst moment. It looks at
// what the provider then does.
package playhub

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// Writes makes the routes of the write side of a store that tells what it appends; command.Routes on a command.Memory is meant.
type Writes func(heard func([]events.Appended)) []httpapi.Route

// The parties of the hub.
const (
	tenant   = "conformance"
	provider = "conformance-provider"
)

// hub is the store as it is played. It keeps everything in memory.
type hub struct {
	api http.Handler // without what the kit does to requests
	now func() time.Time

	mu        sync.Mutex
	changed   chan struct{} // closed and made anew at each change
	notices   []events.Notice
	documents map[string][]byte // orders, by id
	orderOf   map[string]string // by task
	position  int64
	exchanges []*exchange
	pulls     []pull
	told      map[int64]int // how often each position was told the provider
	again     []events.Notice
	meddle    meddler
	odd       string          // the order around which unknown things are told
	oddNext   bool            // the next order is it
	restarted time.Time       // when the kit had killed the provider
	settled   map[string]bool // orders of before that: what comes for them later is the restart's doing
	tokens    map[string]*grant
	clients   map[string]credentials
	serving   net.Listener
}

// pull is an order's version in an answer to the provider.
type pull struct {
	at      time.Time
	order   string
	version int64
}

func newHub(writes Writes) (*hub, error) {
	h := &hub{
		now: time.Now, changed: make(chan struct{}), documents: map[string][]byte{}, orderOf: map[string]string{}, told: map[int64]int{},
		tokens: map[string]*grant{}, clients: map[string]credentials{},
	}
	e, err := httpapi.New(httpapi.Config{})
	if err != nil {
		return nil, fmt.Errorf("make routes: %w", err)
	}
	httpapi.Mount(e, h, append(writes(h.heard), h.routes()...))
	h.api = e
	for _, who := range []auth.Identity{
		{Kind: auth.KindOperator}, {Kind: auth.KindUser, Tenant: tenant}, {Kind: auth.KindProvider, Provider: provider},
	} {
		h.register(who)
	}
	return h, nil
}

// serve answers at an address of the loopback until stop is called.
func (h *hub) serve(ctx context.Context, address string) (stop func(), err error) {
	var listen net.ListenConfig
	h.serving, err = listen.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := httpapi.NewServer(address, http.HandlerFunc(h.answer))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(h.serving) // ends with Close
	}()
	return func() {
		_ = server.Close()
		<-ended
	}, nil
}

func (h *hub) url() string { return "http://" + h.serving.Addr().String() }

// heard takes over what a command appended.
func (h *hub) heard(facts []events.Appended) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fact := range facts {
		e := fact.Event
		h.position = e.Position
		h.notices = append(h.notices, events.NoticeOf(e))
		if h.oddNext && e.Type == events.OrderPlaced {
			h.odd, h.oddNext = e.OrderID, false
		}
		if e.TaskID != "" {
			h.orderOf[e.TaskID] = e.OrderID
		}
		if fact.Document != nil {
			h.documents[e.OrderID] = fact.Document
		}
	}
	h.change()
}

// change wakes everybody who waits. The lock is held.
func (h *hub) change() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// look runs f with the lock held, and gives what is closed at the next change.
func (h *hub) look(f func()) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	return h.changed
}

// until waits for a condition, which is looked at after each change with the lock held. It is false when ctx ends before.
func (h *hub) until(ctx context.Context, condition func() bool) bool {
	for {
		met := false
		changed := h.look(func() { met = condition() })
		if met {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// order reads an order's document. The lock is held.
func (h *hub) order(id string) *events.Order {
	order, err := events.DecodeOrder(h.documents[id])
	if err != nil {
		return &events.Order{} // of an id that was never placed
	}
	return order
}

// addressed lists the provider's notices about an order, in order. The lock is held.
func (h *hub) addressed(order string) []events.Notice {
	var all []events.Notice
	for _, n := range h.notices {
		if n.Subject == order && n.Provider == provider {
			all = append(all, n)
		}
	}
	return all
}

// notice is what the provider is told at a position: nothing that is not its own, and, around one order, something that it cannot
// know. The lock is held.
func (h *hub) notice(n events.Notice) (events.Notice, bool) {
	if h.odd != "" && n.Subject == h.odd && n.Type == events.OrderPlaced {
		n.Type, n.Provider = unknownType, provider
		return n, true
	}
	return n, n.Provider == provider
}

// unknownType is an event type that no contract names.
const unknownType events.Type = "task.conformance_unknown"

// dress adds unknown members to an answer while the kit is at that: to every object but those whose members are anybody's.
func (h *hub) dress(body []byte) []byte {
	odd := false
	h.look(func() { odd = h.odd != "" })
	if !odd {
		return body
	}
	var document any
	if json.Unmarshal(body, &document) != nil {
		return body
	}
	dressed, err := json.Marshal(withUnknown(document))
	if err != nil {
		return body
	}
	return dressed
}

func withUnknown(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withUnknown(v[i])
		}
	case map[string]any:
		for name, member := range v {
			if name != "attributes" && name != "payload" {
				v[name] = withUnknown(member)
			}
		}
		v["conformance_unknown"] = []any{"to be ignored", 1, nil}
	}
	return v
}

func etag(version int64) string { return strconv.Quote(strconv.FormatInt(version, 10)) }
