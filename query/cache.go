package query

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/orderstore/orderstore/internal/seeded"
)

const (
	// confirmedFor is how long after the last word from who tells of changes orders are answered from memory. A read database that is
	// away is noticed sooner by its connections; one that hangs is not.
	confirmedFor = time.Second
	// cacheShards divides the ids of orders: each remembers the last change of any order in it. More make fewer reads, that are under
	// way while a batch is written, miss being kept.
	cacheShards = 4096
	// entryOverhead is about what an order takes in memory besides its document, in bytes.
	entryOverhead = 320
)

// OrderCache keeps orders in memory as they were read from a read database, for as long as it is told of every change. An order in it is
// answered at a position at which it was so: who feeds the cache says which orders change before it says that a position is reached.
//
// A nil cache keeps nothing. All methods may be called at once from many goroutines.
type OrderCache struct {
	entries   *otter.Cache[uuid.UUID, *cachedOrder]
	now       func() time.Time
	shards    [cacheShards]cacheShard
	live      atomic.Pointer[cacheEpoch] // nil: nothing that is kept may be answered
	confirmed atomic.Int64               // until when live is, in nanoseconds since 1970
	answered  atomic.Int64               // the highest position that was read from the database

	mu     sync.Mutex // for Reached and Lost
	epochs int64

	hits, misses atomic.Int64
}

// cacheEpoch is a time through which every change was told.
type cacheEpoch struct {
	number   int64
	start    int64 // the position since which every change was told
	frontier atomic.Int64
}

// cacheShard remembers the last change of some orders.
type cacheShard struct {
	mu      sync.Mutex
	changed int64
}

// cachedOrder is an order as it was at a position.
type cachedOrder struct {
	epoch  int64
	tenant string
	order  order // whole and found
}

// CacheConfig says how large a cache is.
type CacheConfig struct {
	Bytes      int64 // of documents and what belongs to them; 0: there is no cache
	Now        func() time.Time
	Registerer prometheus.Registerer // nil: no metrics
}

// NewOrderCache makes a cache; nil where it is to keep nothing. It answers nothing before Reached.
func NewOrderCache(cfg CacheConfig) (*OrderCache, error) {
	if cfg.Bytes == 0 {
		return nil, nil
	}
	if cfg.Bytes < 0 {
		return nil, errors.New("a cache of less than no bytes")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	entries, err := otter.New(&otter.Options[uuid.UUID, *cachedOrder]{
		MaximumWeight: uint64(cfg.Bytes),
		Weigher: func(_ uuid.UUID, o *cachedOrder) uint32 {
			return uint32(min(len(o.order.document)+entryOverhead, math.MaxUint32)) //nolint:gosec // bounded
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the order cache: %w", err)
	}
	c := &OrderCache{entries: entries, now: cfg.Now}
	c.register(cfg.Registerer)
	return c, nil
}

func (c *OrderCache) register(registry prometheus.Registerer) {
	if registry == nil {
		return
	}
	lookups := func(result string, count *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "orderstore_query_cache_lookups_total",
			Help:        "Orders looked for in memory, by result: hit, or miss for those that were read from the database.",
			ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(count.Load()) })
	}
	registry.MustRegister(lookups("hit", &c.hits), lookups("miss", &c.misses), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "orderstore_query_cache_bytes", Help: "What orders in memory take, about.",
	}, func() float64 { return float64(c.entries.WeightedSize()) }))
}

// Changing tells that orders change at a position, or may. It comes before Reached of that position, and where it can, before the
// change can be read.
func (c *OrderCache) Changing(ids [][16]byte, position int64) {
	if c == nil || seeded.On(seeded.CacheStale) {
		return
	}
	for _, id := range ids {
		s := c.shard(id)
		s.mu.Lock()
		s.changed = max(s.changed, position)
		if kept, ok := c.entries.GetEntryQuietly(id); ok && kept.Value.order.seen < position {
			c.entries.Invalidate(id)
		}
		s.mu.Unlock()
	}
}

// Reached tells that the view has reached a position, and that every change until then was told; the same again confirms that the read
// database is there. The first one since Lost says from where on changes are told.
func (c *OrderCache) Reached(position int64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if live := c.live.Load(); live != nil {
		live.frontier.Store(max(live.frontier.Load(), position))
	} else {
		c.epochs++
		live = &cacheEpoch{number: c.epochs, start: position}
		live.frontier.Store(position)
		c.live.Store(live)
	}
	c.confirmed.Store(c.now().Add(confirmedFor).UnixNano())
}

// Lost tells that changes may have happened that nobody will tell of: nothing that is kept is answered again.
func (c *OrderCache) Lost() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live.Store(nil)
	c.answered.Store(0)
	c.entries.InvalidateAll()
}

// doubt is Lost for a moment: the database did not answer, which who tells of changes will find out too, or else confirm that it is there.
func (c *OrderCache) doubt() {
	if c != nil {
		c.confirmed.Store(0)
	}
}

// read notes that an answer reflects a position, so that none from memory is older.
func (c *OrderCache) read(position int64) {
	if c == nil {
		return
	}
	for {
		known := c.answered.Load()
		if position <= known || c.answered.CompareAndSwap(known, position) {
			return
		}
	}
}

// get gives an order and the position at which it was so.
func (c *OrderCache) get(id uuid.UUID, least int64) (kept *cachedOrder, seen int64, ok bool) {
	if c == nil {
		return nil, 0, false
	}
	kept, seen, ok = c.find(id)
	if ok && seen >= max(least, c.answered.Load()) {
		c.hits.Add(1)
		return kept, seen, true
	}
	c.misses.Add(1)
	return nil, 0, false
}

// find takes the frontier before the order: an order that changed until then is not there any more.
func (c *OrderCache) find(id uuid.UUID) (*cachedOrder, int64, bool) {
	live := c.live.Load()
	if live == nil || c.now().UnixNano() >= c.confirmed.Load() {
		return nil, 0, false
	}
	frontier := live.frontier.Load()
	kept, ok := c.entries.GetIfPresent(id)
	if !ok || kept.epoch != live.number {
		return nil, 0, false
	}
	return kept, max(frontier, kept.order.seen), true
}

// epoch is to be taken before an order is read that is to be kept.
func (c *OrderCache) epoch() *cacheEpoch {
	if c == nil {
		return nil
	}
	return c.live.Load()
}

// keep puts an order in that was read since the epoch was taken, unless a change of it is known that the read did not see.
func (c *OrderCache) keep(read *cacheEpoch, id uuid.UUID, tenant string, o order) {
	if read == nil || o.seen < read.start {
		return
	}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed > o.seen {
		return
	}
	if kept, ok := c.entries.GetEntryQuietly(id); ok && kept.Value.epoch >= read.number && kept.Value.order.seen >= o.seen {
		return
	}
	c.entries.Set(id, &cachedOrder{epoch: read.number, tenant: tenant, order: o})
}

// shard goes by the random part of an id.
func (c *OrderCache) shard(id uuid.UUID) *cacheShard {
	return &c.shards[(int(id[14])<<8|int(id[15]))%cacheShards]
}
