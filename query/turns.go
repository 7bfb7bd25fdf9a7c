package query

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// Lists and searches may take long, so they have a part of the read database's connections, and nobody has all of that part.
const (
	listTurns  = 8  // pages read at once; the other connections are for reads by key
	ownTurns   = 6  // of them for one tenant or provider, however idle the node is: what is left is there at once for the next
	ownWaiting = 64 // requests of one tenant or provider that wait for a turn; more are refused
)

// turns hands out turns to read. Whoever has the fewest gets the next one, and among equals who has waited longest.
type turns struct {
	each, queue int

	mu      sync.Mutex
	free    int
	held    map[string]int
	waiting map[string][]*turn
	taken   uint64 // counts requests, so that it is known who came first
}

// turn is one request's. Ready is closed when it has begun.
type turn struct {
	owner string
	since uint64
	ready chan struct{}
}

func newTurns(all, each, queue int) *turns {
	return &turns{each: each, queue: queue, free: all, held: map[string]int{}, waiting: map[string][]*turn{}}
}

// take waits for a turn, which done ends. It is refused when too many of the same owner wait already, or when ctx ends first.
func (t *turns) take(ctx context.Context, owner string) (done func(), err error) {
	mine, err := t.enlist(owner)
	if err != nil {
		return nil, err
	}
	done = func() { t.end(owner) }
	select {
	case <-mine.ready:
		return done, nil
	case <-ctx.Done():
	}
	if !t.withdraw(mine) {
		done()
	}
	return nil, fault.Wrap(ctx.Err(), fault.Overloaded, "too many lists are being read").Retry(retryAfter)
}

func (t *turns) enlist(owner string) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting[owner]) >= t.queue {
		return nil, fault.New(fault.Overloaded, "too many of your lists are waiting to be read").Retry(retryAfter)
	}
	t.taken++
	mine := &turn{owner: owner, since: t.taken, ready: make(chan struct{})}
	t.waiting[owner] = append(t.waiting[owner], mine)
	t.grant()
	return mine, nil
}

// withdraw tells whether the turn had not begun.
func (t *turns) withdraw(mine *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.waiting[mine.owner], mine)
	if i < 0 {
		return false
	}
	t.set(mine.owner, slices.Delete(t.waiting[mine.owner], i, i+1))
	return true
}

func (t *turns) end(owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if t.held[owner]--; t.held[owner] == 0 {
		delete(t.held, owner)
	}
	t.grant()
}

// grant begins as many turns as there may be. It is called with mu held.
func (t *turns) grant() {
	for t.free > 0 {
		next := t.next()
		if next == nil {
			return
		}
		t.set(next.owner, t.waiting[next.owner][1:])
		t.held[next.owner]++
		t.free--
		close(next.ready)
	}
}

// next is whose turn it is; nil: nobody's who waits.
func (t *turns) next() *turn {
	var best *turn
	for owner, queue := range t.waiting {
		held := t.held[owner]
		if held >= t.each {
			continue
		}
		if best == nil || held < t.held[best.owner] || held == t.held[best.owner] && queue[0].since < best.since {
			best = queue[0]
		}
	}
	return best
}

func (t *turns) set(owner string, queue []*turn) {
	if len(queue) == 0 {
		delete(t.waiting, owner)
		return
	}
	t.waiting[owner] = queue
}

// ownerKey is under what the context of a list's request says whose it is.
type ownerKey struct{}

// inTurn makes each read of a list wait for a turn of the caller's. Waiting for a position takes none.
func (q *queries) inTurn(list func(echo.Context, auth.Identity) error) httpapi.Handler {
	return func(c echo.Context, who auth.Identity) error {
		req := c.Request()
		c.SetRequest(req.WithContext(context.WithValue(req.Context(), ownerKey{}, ownerOf(who))))
		return list(c, who)
	}
}

// ownerOf is with whom the caller shares its turns.
func ownerOf(who auth.Identity) string {
	switch who.Kind {
	case auth.KindUser:
		return "tenant " + who.Tenant
	case auth.KindProvider:
		return "provider " + who.Provider
	default:
		return "client " + who.ClientID
	}
}

// turn is the caller's turn, where the request has to wait for one.
func (q *queries) turn(ctx context.Context) (done func(), err error) {
	owner, ok := ctx.Value(ownerKey{}).(string)
	if !ok {
		return func() {}, nil
	}
	return q.turns.take(ctx, owner)
}

// conflictTries is how often a read is made at most that a standby gave up for what came from its primary, and conflictPause the time
// in between, which such a change needs to be over.
const (
	conflictTries = 3
	conflictPause = 20 * time.Millisecond
)
