package workload

import (
	"math/rand/v2"
	"sync"
)

// known is an order that somebody submitted.
type known struct {
	tenant  string
	ref     string // external_ref
	id      string // empty: its answer was lost
	body    []byte // what was submitted
	mark    string // of body
	key     string // Idempotency-Key; empty: it came in a batch
	version int64  // as it was last answered
	total   int64
	tasks   int64 // that it is offered as; 0: nobody does its work, and it stays open
	named   bool  // it has a customer
}

// pool is the orders that anybody may turn to, the newest of them.
type pool struct {
	mu  sync.Mutex
	all []known
}

// pooled is how many orders are kept: few enough that each is turned to again and again.
const pooled = 400

func newPool() *pool { return &pool{} }

func (p *pool) put(k known, random *rand.Rand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) < pooled {
		p.all = append(p.all, k)
		return
	}
	p.all[random.IntN(pooled)] = k
}

// pick gives any order that suits.
func (p *pool) pick(random *rand.Rand, suits func(*known) bool) (known, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) == 0 {
		return known{}, false
	}
	from := random.IntN(len(p.all))
	for i := range p.all {
		k := &p.all[(from+i)%len(p.all)]
		if suits(k) {
			return *k, true
		}
	}
	return known{}, false
}

// seen notes an order's id and version.
func (p *pool) seen(tenant, ref, id string, version int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.all {
		if k := &p.all[i]; k.tenant == tenant && (k.ref == ref || k.id == id && id != "") {
			k.id, k.version = id, max(version, k.version)
			return
		}
	}
}
