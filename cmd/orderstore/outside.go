package main

import (
	"context"
	"sync"
	"time"

	"github.com/orderstore/orderstore/internal/auth"
)

const (
	outsideFor    = time.Second            // what is known of a tenant's systems is good for so long
	outsideWithin = 300 * time.Millisecond // longer no order waits for it
	outsideKept   = 1000                   // tenants
)

// outsiders knows which systems of others may write about a tenant's orders. While the primary is away it says what it knew last.
type outsiders struct {
	clients *auth.Store
	now     func() time.Time

	asking sync.Mutex // one question at a time; others go on with what is known
	mu     sync.Mutex
	known  map[string]knownSystems
}

type knownSystems struct {
	asked   time.Time
	systems []string
}

func newOutsiders(clients *auth.Store, now func() time.Time) *outsiders {
	return &outsiders{clients: clients, now: now, known: map[string]knownSystems{}}
}

// of names the systems for a tenant.
func (o *outsiders) of(ctx context.Context, tenant string) []string {
	o.mu.Lock()
	k, ok := o.known[tenant]
	o.mu.Unlock()
	now := o.now()
	if ok && now.Sub(k.asked) < outsideFor {
		return k.systems
	}
	if ok && !o.asking.TryLock() {
		return k.systems
	}
	if !ok {
		o.asking.Lock()
	}
	defer o.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, outsideWithin)
	defer cancel()
	if fresh, err := o.clients.Systems(ctx, tenant); err == nil {
		k.systems = fresh
	}
	k.asked = now
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= outsideKept {
		clear(o.known)
	}
	o.known[tenant] = k
	return k.systems
}
