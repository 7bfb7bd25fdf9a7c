package workload

import (
	"context"
	"fmt"
	"net/http"

	"github.com/orderstore/orderstore/internal/chaos/history"
)

// system is an auxiliary system outside of the store, which stores records of any tenant's orders.
type system struct {
	*session
	revisions map[string]int64 // by order: the last that was sent
}

func (l *Load) newSystem() *system {
	return &system{session: l.newSession(l.world.System, 1<<20), revisions: map[string]int64{}}
}

func (s *system) run(ctx context.Context) {
	for rest(ctx, recordEvery) {
		k, ok := s.load.shared.pick(s.random, func(k *known) bool { return k.id != "" })
		if !ok {
			continue
		}
		s.put(ctx, &k)
	}
}

// put stores the next revision of the system's record of an order.
func (s *system) put(ctx context.Context, k *known) {
	s.revisions[k.id]++
	revision := s.revisions[k.id]
	op := &history.Op{Kind: history.Attach, Order: k.id, Ref: RefOf(channel, k.ref), Mark: "state", Total: revision}
	s.call(ctx, op, request{
		method: http.MethodPut, path: "/v1/orders/" + k.id + "/auxiliary/" + s.who.System + "/state",
		body: fmt.Appendf(nil, `{"kind":"state","revision":%d,"payload":{"revision":%d}}`, revision, revision),
	}, func(*answer) { op.Version = revision })
	if op.Outcome == history.OK {
		op.Tenant = k.tenant
	}
}
