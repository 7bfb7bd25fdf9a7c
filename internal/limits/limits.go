// Package limits says how much a client and a tenant may ask of one node: requests a second of each kind, and streams open at the same
// time. The counts are in the node's memory; what the operator set is read from the write database.
package limits

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/orderstore/orderstore/internal/fault"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds of requests that have a rate each.
const (
	Orders   Kind = iota // orders submitted, each line of a batch too
	Reads                // reads of one thing, long polls, streams that are opened
	Searches             // pages of lists, searches, exports
	Writes               // all other writes
)

// String names the kind in problems.
func (k Kind) String() string { return [...]string{"orders", "reads", "searches", "writes"}[k] }

// Limits are what one party may ask for. Zero is no limit, and where it is a client's the default.
type Limits struct {
	OrdersPerSecond   int64 `json:"orders_per_second,omitempty"`
	ReadsPerSecond    int64 `json:"reads_per_second,omitempty"`
	SearchesPerSecond int64 `json:"searches_per_second,omitempty"`
	WritesPerSecond   int64 `json:"writes_per_second,omitempty"`
	Burst             int64 `json:"burst,omitempty"` // requests of a kind at once; zero: those of a second
	MaxStreams        int64 `json:"max_streams,omitempty"`
}

func (l Limits) perSecond(k Kind) int64 {
	return [...]int64{l.OrdersPerSecond, l.ReadsPerSecond, l.SearchesPerSecond, l.WritesPerSecond}[k]
}

// or fills what is not set from the defaults.
func (l Limits) or(d Limits) Limits {
	pick := func(own *int64, other int64) {
		if *own == 0 {
			*own = other
		}
	}
	pick(&l.OrdersPerSecond, d.OrdersPerSecond)
	pick(&l.ReadsPerSecond, d.ReadsPerSecond)
	pick(&l.SearchesPerSecond, d.SearchesPerSecond)
	pick(&l.WritesPerSecond, d.WritesPerSecond)
	pick(&l.Burst, d.Burst)
	pick(&l.MaxStreams, d.MaxStreams)
	return l
}

// Settings are what the operator set, by id. They are never changed, only replaced.
type Settings struct {
	Clients map[string]Limits
	Tenants map[string]Limits
}

// trackedBuckets bounds the memory of a limiter: those that were not asked for longest are forgotten, and begin full again.
const trackedBuckets = 65_536

// party is whose limits are counted: a client, or a tenant by all of its clients.
type party struct {
	tenant bool
	id     string
}

type bucketKey struct {
	party
	kind Kind
}

// Limiter counts what is asked of this node. It is safe for many goroutines.
type Limiter struct {
	defaults Limits
	now      func() time.Time
	settings atomic.Pointer[Settings]

	mu      sync.Mutex
	buckets *lru.Cache[bucketKey, *rate.Limiter]
	streams map[party]int64 // that are open
}

// New makes a limiter with the limits of clients for whom nothing else is set.
func New(defaults Limits, now func() time.Time) (*Limiter, error) {
	buckets, err := lru.New[bucketKey, *rate.Limiter](trackedBuckets)
	if err != nil {
		return nil, fmt.Errorf("rate buckets: %w", err)
	}
	l := &Limiter{defaults: defaults, now: now, buckets: buckets, streams: map[party]int64{}}
	l.settings.Store(&Settings{})
	return l, nil
}

// Set puts settings in force from the next request on.
func (l *Limiter) Set(s *Settings) { l.settings.Store(s) }

// of gives the limits of a client and of its tenant, which may be empty.
func (l *Limiter) of(client, tenant string) (ofClient, ofTenant Limits) {
	s := l.settings.Load()
	return s.Clients[client].or(l.defaults), s.Tenants[tenant]
}

// Verdict is what came of asking. The numbers are those of the party that has the least left.
type Verdict struct {
	Limited   bool          // there is a limit; else the rest says nothing
	Limit     int64         // requests at once
	Remaining int64         // requests left at this moment
	Reset     time.Duration // until all of Limit is there again
	Wait      time.Duration // zero: go on; else refused, and this is when to ask again
}

// Take counts one request of a client and of its tenant, or none where one of the two has nothing left.
func (l *Limiter) Take(client, tenant string, kind Kind) Verdict {
	ofClient, ofTenant := l.of(client, tenant)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var least Verdict
	var taken []*rate.Limiter
	for _, p := range [...]struct {
		party
		Limits
	}{{party{id: client}, ofClient}, {party{tenant: true, id: tenant}, ofTenant}} {
		if p.id == "" || p.perSecond(kind) == 0 {
			continue
		}
		b := l.bucket(bucketKey{p.party, kind}, p.Limits, now)
		if v := look(b, now); !least.Limited || v.Wait > least.Wait || v.Wait == least.Wait && v.Remaining < least.Remaining {
			least = v
		}
		taken = append(taken, b)
	}
	if least.Wait > 0 {
		return least
	}
	for _, b := range taken {
		b.AllowN(now, 1)
	}
	return least
}

// bucket gives a party's tokens, by the limits as they are now.
func (l *Limiter) bucket(key bucketKey, of Limits, now time.Time) *rate.Limiter {
	perSecond, burst := of.perSecond(key.kind), of.Burst
	if burst == 0 {
		burst = perSecond
	}
	b, ok := l.buckets.Get(key)
	if !ok {
		b = rate.NewLimiter(rate.Limit(perSecond), int(burst))
		l.buckets.Add(key, b)
		return b
	}
	if b.Limit() != rate.Limit(perSecond) {
		b.SetLimitAt(now, rate.Limit(perSecond))
	}
	if b.Burst() != int(burst) {
		b.SetBurstAt(now, int(burst))
	}
	return b
}

// look says how it stands with a bucket once one request is taken from it.
func look(b *rate.Limiter, now time.Time) Verdict {
	tokens, perSecond := min(b.TokensAt(now), float64(b.Burst())), float64(b.Limit())
	v := Verdict{Limited: true, Limit: int64(b.Burst())}
	if tokens < 1 {
		v.Wait = max(time.Nanosecond, inSeconds((1-tokens)/perSecond))
		v.Reset = inSeconds((float64(v.Limit) - tokens) / perSecond)
		return v
	}
	v.Remaining = int64(tokens - 1)
	v.Reset = inSeconds((float64(v.Limit) - tokens + 1) / perSecond)
	return v
}

// inSeconds rounds up to the nanosecond, so that who waits so long finds what it waited for.
func inSeconds(s float64) time.Duration { return time.Duration(math.Ceil(s * float64(time.Second))) }

// Wait takes one request as soon as there is one left. It ends early with the context's error.
func (l *Limiter) Wait(ctx context.Context, client, tenant string, kind Kind) error {
	for {
		v := l.Take(client, tenant, kind)
		if v.Wait == 0 {
			return nil
		}
		timer := time.NewTimer(v.Wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// streamRetry is after how long somebody with too many streams may ask again.
const streamRetry = 10 * time.Second

// Open counts a stream of a client and its tenant until it is closed. One too many is fault.TooManyRequests.
func (l *Limiter) Open(client, tenant string) (closed func(), err error) {
	ofClient, ofTenant := l.of(client, tenant)
	l.mu.Lock()
	defer l.mu.Unlock()
	var counted []party
	if client != "" {
		counted = append(counted, party{id: client})
		if most := ofClient.MaxStreams; most > 0 && l.streams[counted[0]] >= most {
			return nil, tooMany("client", most)
		}
	}
	if tenant != "" {
		p := party{tenant: true, id: tenant}
		if most := ofTenant.MaxStreams; most > 0 && l.streams[p] >= most {
			return nil, tooMany("tenant", most)
		}
		counted = append(counted, p)
	}
	for _, p := range counted {
		l.streams[p]++
	}
	return func() { l.close(counted) }, nil
}

func tooMany(whose string, most int64) error {
	return fault.New(fault.TooManyRequests, "the %s has %d streams open, which is all it may have on one node", whose, most).Retry(streamRetry)
}

func (l *Limiter) close(counted []party) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range counted {
		if l.streams[p]--; l.streams[p] == 0 {
			delete(l.streams, p)
		}
	}
}
