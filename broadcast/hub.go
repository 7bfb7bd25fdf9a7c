package broadcast

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	hubBatch = 5000                   // positions looked at in one query
	hubFew   = 4                      // so few who wait are all woken: looking whom the news is for costs more
	hubRetry = 200 * time.Millisecond // after trouble with the database
)

// Tip tells how far the read side is.
type Tip interface {
	Position() int64
	Changed() <-chan struct{}
}

// Hub wakes those who wait for news, and only those whom the news is for: it looks once at each position that the read side
// reached, however many wait.
type Hub struct {
	pool   *pgxpool.Pool
	tip    Tip
	logger *slog.Logger

	mu      sync.Mutex
	waiting map[party]map[*waiter]struct{}
}

// waiter is one who waits. Its channel holds one wake-up, so that none is lost between looking and waiting.
type waiter struct{ wake chan struct{} }

// NewHub makes a hub on the read database.
func NewHub(pool *pgxpool.Pool, tip Tip, logger *slog.Logger) *Hub {
	return &Hub{pool: pool, tip: tip, logger: logger, waiting: map[party]map[*waiter]struct{}{}}
}

// Name names the worker.
func (h *Hub) Name() string { return "hub" }

// Run wakes until ctx ends. While the database is away it wakes nobody; who waits asks again at the end of the wait.
func (h *Hub) Run(ctx context.Context) error {
	last := h.tip.Position()
	for ctx.Err() == nil {
		changed := h.tip.Changed()
		tip := h.tip.Position()
		if tip < last {
			last = tip // the read database is an older one now
		}
		if tip == last {
			await(ctx, changed, time.Minute)
			continue
		}
		if h.wakeFew() {
			last = tip
			continue
		}
		parties, next, err := h.news(ctx, last, min(tip, last+hubBatch))
		if err != nil {
			if ctx.Err() == nil {
				h.logger.WarnContext(ctx, "nobody is woken", "position", last, "cause", err)
			}
			pause(ctx, hubRetry)
			continue
		}
		last = next
		h.wake(parties)
	}
	return nil
}

const selectParties = `
SELECT DISTINCT coalesce(tenant, ''), coalesce(provider, '') FROM timeline WHERE position > $1 AND position <= $2`

// news lists whom the events between two positions concern.
func (h *Hub) news(ctx context.Context, after, to int64) ([]party, int64, error) {
	rows, err := h.pool.Query(ctx, selectParties, after, to)
	if err != nil {
		return nil, after, fmt.Errorf("read timeline: %w", err)
	}
	parties, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p party, err error) {
		return p, row.Scan(&p.tenant, &p.provider)
	})
	if err != nil {
		return nil, after, fmt.Errorf("read timeline: %w", err)
	}
	return parties, to, nil
}

// wakeFew wakes everybody, if only few wait.
func (h *Hub) wakeFew() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, all := range h.waiting {
		n += len(all)
	}
	if n > hubFew {
		return false
	}
	for p := range h.waiting {
		h.wakeOne(p)
	}
	return true
}

// wake wakes the tenant, the provider, and those who hear everything.
func (h *Hub) wake(parties []party) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range parties {
		h.wakeOne(party{tenant: p.tenant})
		h.wakeOne(party{provider: p.provider})
	}
	h.wakeOne(party{})
}

func (h *Hub) wakeOne(p party) {
	for w := range h.waiting[p] {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// join starts waiting. It is called before looking, so that what comes after the look wakes.
func (h *Hub) join(p party) *waiter {
	w := &waiter{wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting[p] == nil {
		h.waiting[p] = map[*waiter]struct{}{}
	}
	h.waiting[p][w] = struct{}{}
	return w
}

func (h *Hub) leave(p party, w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting[p], w)
	if len(h.waiting[p]) == 0 {
		delete(h.waiting, p)
	}
}
