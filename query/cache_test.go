package query

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// ledger is a log of changes to a few orders, a read database that follows it, who tells the cache of it, and readers amid their reads.
type ledger struct {
	t     *rapid.T
	cache *OrderCache
	now   time.Time
	ids   []uuid.UUID
	log   []int // which order the event at position i+1 changes

	stored  int64 // the database's position
	told    int64 // the last position that the cache was told of
	pending int64 // what a batch that was announced will reach; 0: none
	crashed bool  // the database went back, which nobody has told yet
	readers [3]reader
}

// reader is a read under way.
type reader struct {
	epoch *cacheEpoch
	id    int
	order *order // nil: it was not read yet
}

func newLedger(t *rapid.T) *ledger {
	l := &ledger{t: t, now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	var err error
	l.cache, err = NewOrderCache(CacheConfig{Bytes: 1 << 20, Now: func() time.Time { return l.now }})
	require.NoError(t, err)
	for n := range 3 {
		id := uuid.UUID{15: byte(n / 2)} // two of them share a shard
		id[0] = byte(n)
		l.ids = append(l.ids, id)
	}
	l.restart()
	return l
}

// version is an order's at a position: how often it was changed until then.
func (l *ledger) version(id int, position int64) int64 {
	n := int64(0)
	for _, changed := range l.log[:position] {
		if changed == id {
			n++
		}
	}
	return n
}

func (l *ledger) changing(from, to int64) {
	for position := from + 1; position <= to; position++ {
		l.cache.Changing([][16]byte{l.ids[l.log[position-1]]}, position)
	}
}

// next is a position further on in the log, which grows as needed.
func (l *ledger) next(from int64) int64 {
	to := from + rapid.Int64Range(1, 3).Draw(l.t, "events")
	for int64(len(l.log)) < to {
		l.log = append(l.log, rapid.IntRange(0, len(l.ids)-1).Draw(l.t, "changed"))
	}
	return to
}

func (l *ledger) restart() {
	l.cache.Lost()
	l.cache.Reached(l.stored)
	l.told, l.pending, l.crashed = l.stored, 0, false
}

// crash takes the last commits from the database.
func (l *ledger) crash(*rapid.T) {
	l.stored = rapid.Int64Range(0, l.stored).Draw(l.t, "left")
	l.crashed = true
}

func (l *ledger) notice(*rapid.T) { l.restart() }

func (l *ledger) begin(*rapid.T) {
	r := &l.readers[rapid.IntRange(0, len(l.readers)-1).Draw(l.t, "reader")]
	*r = reader{epoch: l.cache.epoch(), id: rapid.IntRange(0, len(l.ids)-1).Draw(l.t, "order")}
}

func (l *ledger) read(*rapid.T) {
	for i := range l.readers {
		if r := &l.readers[i]; r.order == nil && rapid.Bool().Draw(l.t, "reads") {
			r.order = &order{found: true, whole: true, seen: l.stored, version: l.version(r.id, l.stored)}
		}
	}
}

func (l *ledger) keep(*rapid.T) {
	for i := range l.readers {
		if r := &l.readers[i]; r.order != nil && rapid.Bool().Draw(l.t, "keeps") {
			l.cache.keep(r.epoch, l.ids[r.id], "demo", *r.order)
			*r = reader{}
		}
	}
}

// ask looks all orders up: each has to be what it was at the position that goes with it. told is from where the database's own state has
// to be seen, whatever position goes with it.
func (l *ledger) ask(current bool) {
	for i, id := range l.ids {
		kept, seen, ok := l.cache.get(id, 0)
		if !ok {
			continue
		}
		require.Equal(l.t, l.version(i, seen), kept.order.version, "order %d at %d, kept from %d", i, seen, kept.order.seen)
		if current {
			require.GreaterOrEqual(l.t, kept.order.version, l.version(i, l.stored), "order %d, the database is at %d", i, l.stored)
		}
	}
}

// No order is ever answered older than its Order-Position says, whatever happens between reading, keeping, changing and telling.
func TestCacheIsNeverOlderThanItSays(t *testing.T) {
	t.Parallel()
	t.Run("projected here", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			l := newLedger(t)
			t.Repeat(map[string]func(*rapid.T){
				"announce": func(*rapid.T) {
					if l.pending == 0 && !l.crashed {
						l.pending = l.next(l.stored)
						l.changing(l.stored, l.pending)
					}
				},
				"commit": func(*rapid.T) {
					if l.pending > 0 && !l.crashed {
						l.stored = l.pending
					}
				},
				"refuse": func(*rapid.T) {
					if l.pending > l.stored {
						l.pending = 0
					}
				},
				"reach": func(*rapid.T) {
					if l.pending > 0 && l.stored == l.pending {
						l.cache.Reached(l.stored)
						l.told, l.pending = l.stored, 0
					}
				},
				"crash": l.crash, "notice": l.notice, "begin": l.begin, "read": l.read, "keep": l.keep,
				"": func(*rapid.T) { l.ask(!l.crashed) },
			})
		})
	})
	t.Run("projected elsewhere", func(t *testing.T) {
		t.Parallel()
		rapid.Check(t, func(t *rapid.T) {
			l := newLedger(t)
			t.Repeat(map[string]func(*rapid.T){
				"commit": func(*rapid.T) { l.stored = l.next(l.stored) },
				"look": func(*rapid.T) {
					if l.stored < l.told {
						l.restart()
						return
					}
					l.changing(l.told, l.stored)
					l.cache.Reached(l.stored)
					l.told, l.crashed = l.stored, false
				},
				"gap": l.notice, "crash": l.crash, "begin": l.begin, "read": l.read, "keep": l.keep,
				"": func(*rapid.T) { l.ask(false) },
			})
		})
	})
}

func TestCacheAnswersNothingThatNobodyConfirms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	c, err := NewOrderCache(CacheConfig{Bytes: 1 << 20, Now: func() time.Time { return now }})
	require.NoError(t, err)
	id := uuid.UUID{1}
	known := func(least int64) bool { _, _, ok := c.get(id, least); return ok }
	c.keep(c.epoch(), id, "demo", order{seen: 5})
	require.False(t, known(0), "nobody has told where the view is")
	c.Reached(5)
	c.keep(c.epoch(), id, "demo", order{seen: 4})
	require.False(t, known(0), "read before changes were told of")
	c.keep(c.epoch(), id, "demo", order{seen: 5})
	require.True(t, known(5))
	require.False(t, known(6), "the caller wants a later position")
	c.read(6)
	require.False(t, known(0), "somebody was answered a later position")
	c.Reached(6)
	require.True(t, known(6))
	c.doubt()
	require.False(t, known(0), "the database did not answer")
	c.Reached(6)
	require.True(t, known(0))
	now = now.Add(confirmedFor)
	require.False(t, known(0), "nobody has confirmed it for too long")
	c.Reached(6)
	before := c.epoch()
	c.Lost()
	c.Reached(6)
	require.False(t, known(0), "what was kept before is gone")
	c.keep(before, id, "demo", order{seen: 6})
	require.False(t, known(0), "its read began before")
}

func TestCacheIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	const room = 1 << 20
	c, err := NewOrderCache(CacheConfig{Bytes: room})
	require.NoError(t, err)
	c.Reached(1)
	for n := range 4096 {
		id := uuid.UUID{byte(n >> 8), byte(n)}
		c.keep(c.epoch(), id, "demo", order{seen: 1, document: make([]byte, 4096)})
	}
	c.entries.CleanUp()
	require.LessOrEqual(t, c.entries.WeightedSize(), uint64(room))
	require.Greater(t, c.entries.WeightedSize(), uint64(room/2))
	off, err := NewOrderCache(CacheConfig{})
	require.NoError(t, err)
	require.Nil(t, off)
}
