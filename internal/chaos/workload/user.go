package workload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/history"
)

// user is one of a tenant's users.
type user struct {
	*session
	number int64
}

func (l *Load) newUser(tenant *chaos.Login, stream uint64) *user {
	return &user{session: l.newSession(*tenant, stream)}
}

// run makes one call after the other until ctx ends.
func (u *user) run(ctx context.Context) {
	for u.load.pace.wait(ctx) {
		u.turn(ctx)
	}
}

// turn is one call, of a kind by chance.
func (u *user) turn(ctx context.Context) {
	switch n := u.random.IntN(100); {
	case n < 30 && u.load.due.Load() > mostDue:
		u.list(ctx)
	case n < 24:
		u.submit(ctx)
	case n < 30:
		u.batch(ctx)
	case n < 37:
		u.replay(ctx)
	case n < 41:
		u.conflict(ctx)
	case n < 44:
		u.again(ctx)
	case n < 56:
		u.amend(ctx)
	case n < 61:
		u.cancel(ctx)
	case n < 83:
		u.get(ctx)
	case n < 95:
		u.list(ctx)
	case n < 97:
		u.foreign(ctx)
	default:
		u.adjust(ctx)
	}
}

func skuOf(i int) string { return "SKU-" + strconv.Itoa(i) }

const channel = "web"

// RefOf is how the history names an order before its id is known.
func RefOf(channel, externalRef string) string { return channel + "/" + externalRef }

// MarkOf is the mark of a submission: of its SKUs, quantities, prices and shipping.
func MarkOf(lines []client.LineSubmission, shipping int64) string {
	h := sha256.New()
	for _, l := range lines {
		_, _ = fmt.Fprintf(h, "%s %d %d\n", l.SKU, l.Quantity, l.UnitPrice)
	}
	_, _ = fmt.Fprintf(h, "%d", shipping)
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// order makes up a new order.
func (u *user) order(ref string) (known, client.OrderSubmission) {
	s := client.OrderSubmission{
		Channel: channel, ExternalRef: ref, BusinessType: sharedWork, Currency: "EUR", Shipping: int64(u.random.IntN(1000)),
		Lines: make([]client.LineSubmission, 1+u.random.IntN(3)),
	}
	tasks := int64(len(transports()))
	switch n := u.random.IntN(10); {
	case n < 8:
		s.BusinessType, tasks = businessType(transports()[n%4]), 1
	case n == 8:
		s.BusinessType, tasks = nobodysWork, 0
	}
	sum := s.Shipping
	for i := range s.Lines {
		s.Lines[i] = client.LineSubmission{SKU: skuOf(u.random.IntN(6)), Quantity: 1 + u.random.Int64N(9), UnitPrice: u.random.Int64N(5000)}
		sum += s.Lines[i].Quantity * s.Lines[i].UnitPrice
	}
	if u.random.IntN(4) == 0 {
		s.Customer = &client.Customer{Name: "Customer " + ref, Email: ref + "@example.com"}
	}
	body, _ := json.Marshal(s) // of plain values
	return known{tenant: u.who.Tenant, ref: ref, body: body, mark: MarkOf(s.Lines, s.Shipping), total: sum, tasks: tasks, named: s.Customer != nil}, s
}

func (u *user) newRef() string {
	u.number++
	return fmt.Sprintf("%s-%d-%d", u.load.world.Run, u.client, u.number)
}

func (k *known) op(kind history.Kind) *history.Op {
	return &history.Op{Kind: kind, Ref: RefOf(channel, k.ref), Order: k.id, Mark: k.mark, Total: k.total}
}

// document is what of an answered order is looked at.
type document struct {
	ID      string `json:"id"`
	Tenant  string `json:"tenant"`
	Version int64  `json:"version"`
	Status  string `json:"status"`
	Lines   []struct {
		LineID string `json:"line_id"`
	} `json:"lines"`
	Total int64 `json:"total"`
}

// takeOrder fills in what an answered order says.
func takeOrder(op *history.Op) func(*answer) {
	return func(a *answer) {
		var d document
		if json.Unmarshal(a.body, &d) != nil {
			return
		}
		op.Order, op.Seen, op.Version, op.State = d.ID, d.Tenant, d.Version, d.Status
	}
}

func (u *user) submit(ctx context.Context) {
	k, _ := u.order(u.newRef())
	k.key = "k-" + k.ref
	op := k.op(history.Submit)
	u.call(ctx, op, request{method: http.MethodPost, path: "/v1/orders", body: k.body, header: map[string]string{"Idempotency-Key": k.key}}, takeOrder(op))
	k.id, k.version = op.Order, op.Version
	u.submitted(&k, op)
}

// submitted keeps a new order for others to turn to.
func (u *user) submitted(k *known, op *history.Op) {
	if op.Outcome == history.OK {
		u.load.due.Add(k.tasks)
	}
	u.load.shared.put(*k, u.random)
}

func (u *user) own(k *known) bool { return k.tenant == u.who.Tenant }

// replay submits the same again: what was cut off before is found out by that, too.
func (u *user) replay(ctx context.Context) {
	k, ok := u.load.shared.pick(u.random, u.own)
	if !ok {
		return
	}
	op := k.op(history.Replay)
	u.call(ctx, op, request{method: http.MethodPost, path: "/v1/orders", body: k.body}, takeOrder(op))
	if op.Outcome == history.OK {
		u.load.shared.seen(k.tenant, k.ref, op.Order, op.Version)
	}
}

// conflict submits another order under the same reference.
func (u *user) conflict(ctx context.Context) {
	k, ok := u.load.shared.pick(u.random, func(k *known) bool { return u.own(k) && (!k.named || !u.load.cfg.Restored) })
	if !ok {
		return
	}
	other, _ := u.order(k.ref)
	if other.mark == k.mark {
		return
	}
	other.id = k.id
	op := other.op(history.Conflict)
	u.call(ctx, op, request{method: http.MethodPost, path: "/v1/orders", body: other.body}, takeOrder(op))
}

// again makes the first request again under its Idempotency-Key.
func (u *user) again(ctx context.Context) {
	k, ok := u.load.shared.pick(u.random, func(k *known) bool { return u.own(k) && k.key != "" && !u.load.cfg.Restored })
	if !ok {
		return
	}
	op := k.op(history.Again)
	u.call(ctx, op, request{method: http.MethodPost, path: "/v1/orders", body: k.body, header: map[string]string{"Idempotency-Key": k.key}}, takeOrder(op))
}

func (u *user) ownKnown() (known, bool) {
	return u.load.shared.pick(u.random, func(k *known) bool { return u.own(k) && k.id != "" })
}

// changeable is an order to change: half of them are of work that nobody does, since the others come to their end soon.
func (u *user) changeable() (known, bool) {
	if u.random.IntN(2) == 0 {
		k, ok := u.load.shared.pick(u.random, func(k *known) bool { return u.own(k) && k.id != "" && k.version > 0 && k.tasks == 0 })
		if ok {
			return k, true
		}
	}
	return u.load.shared.pick(u.random, func(k *known) bool { return u.own(k) && k.id != "" && k.version > 0 })
}

// amend changes an order, and sometimes once more for the version that it had before, as one who did not hear of the first change.
func (u *user) amend(ctx context.Context) {
	k, ok := u.changeable()
	if !ok {
		return
	}
	u.amendAt(ctx, k)
	if u.random.IntN(4) == 0 {
		u.amendAt(ctx, k)
	}
}

// amendAt sets an attribute that no other amendment sets, and the shipping, for the version that is known.
func (u *user) amendAt(ctx context.Context, k known) {
	u.number++
	k.mark = fmt.Sprintf("a-%d-%d", u.client, u.number)
	op := k.op(history.Amend)
	op.IfVersion, op.Total = k.version, 0
	body := fmt.Appendf(nil, `{"attributes":{"mark":%q},"shipping":%d}`, k.mark, u.random.IntN(1000))
	u.change(ctx, k, op, request{
		method: http.MethodPatch, path: "/v1/orders/" + k.id, body: body, kind: "application/merge-patch+json",
		header: map[string]string{"If-Match": strconv.Quote(strconv.FormatInt(k.version, 10))},
	})
}

func (u *user) cancel(ctx context.Context) {
	k, ok := u.changeable()
	if !ok {
		return
	}
	u.number++
	k.mark = fmt.Sprintf("c-%d-%d", u.client, u.number)
	op := k.op(history.Cancel)
	op.IfVersion, op.Total = k.version, 0
	u.change(ctx, k, op, request{
		method: http.MethodPost, path: "/v1/orders/" + k.id + "/cancel", body: fmt.Appendf(nil, `{"reason":%q}`, k.mark),
		header: map[string]string{"If-Match": strconv.Quote(strconv.FormatInt(k.version, 10))},
	})
}

func (u *user) change(ctx context.Context, k known, op *history.Op, r request) {
	a := u.call(ctx, op, r, takeOrder(op))
	version := op.Version
	if a.status == http.StatusPreconditionFailed {
		var problem struct {
			Version int64 `json:"version"`
		}
		_ = json.Unmarshal(a.body, &problem)
		version = problem.Version
	}
	if version > 0 {
		u.load.shared.seen(k.tenant, k.ref, k.id, version)
	}
}

// token is what a read has to reflect: mostly all that this client has seen.
func (u *user) token() int64 {
	if u.random.IntN(4) == 0 {
		return 0
	}
	return u.seen
}

func (u *user) get(ctx context.Context) {
	k, ok := u.ownKnown()
	if !ok {
		return
	}
	op := k.op(history.Read)
	op.Mark, op.Total, op.Token = "", 0, u.token()
	u.call(ctx, op, request{method: http.MethodGet, path: "/v1/orders/" + k.id, header: atLeast(op.Token)}, takeOrder(op))
	if op.Outcome == history.OK {
		u.load.shared.seen(k.tenant, k.ref, k.id, op.Version)
	}
}

// listed is a page of a list.
type listed struct {
	Items []document `json:"items"`
}

// list reads a page: the orders that changed last, the newest or the oldest, of all or of one status.
func (u *user) list(ctx context.Context) {
	q := url.Values{"limit": {"40"}, "fields": {"id,tenant,version,status"}, "sort": {[]string{"-updated_at", "-placed_at", "placed_at"}[u.random.IntN(3)]}}
	op := &history.Op{Kind: history.List, Token: u.token()}
	if n := u.random.IntN(6); n < 3 {
		op.Mark = []string{"routed", "processing", "completed"}[n]
		q.Set("status", op.Mark)
	}
	u.call(ctx, op, request{method: http.MethodGet, path: "/v1/orders?" + q.Encode(), header: atLeast(op.Token)}, func(a *answer) {
		var page listed
		if json.Unmarshal(a.body, &page) != nil {
			return
		}
		for _, d := range page.Items {
			op.Items = append(op.Items, history.Item{Order: d.ID, Tenant: d.Tenant, Version: d.Version, Status: d.Status})
		}
	})
}

// foreign asks for another tenant's order.
func (u *user) foreign(ctx context.Context) {
	k, ok := u.load.shared.pick(u.random, func(k *known) bool { return !u.own(k) && k.id != "" })
	if !ok {
		return
	}
	op := &history.Op{Kind: history.Foreign, Order: k.id}
	u.call(ctx, op, request{method: http.MethodGet, path: "/v1/orders/" + k.id}, takeOrder(op))
}

// adjust tells of goods that came or went, sometimes twice.
func (u *user) adjust(ctx context.Context) {
	u.number++
	id := fmt.Sprintf("s-%s-%d-%d", u.load.world.Run, u.client, u.number)
	line := map[string]any{"sku": skuOf(u.random.IntN(6)), "delta": 1 + u.random.IntN(50), "reason": "chaos"}
	if u.random.IntN(5) == 0 {
		delete(line, "delta")
		line["counted"] = u.random.IntN(500)
	}
	body, _ := json.Marshal(map[string]any{"adjustment_id": id, "lines": []any{line}}) // of plain values
	for range 1 + u.random.IntN(2) {
		op := &history.Op{Kind: history.Stock, Mark: id}
		u.call(ctx, op, request{method: http.MethodPost, path: "/v1/stock/adjustments", body: body}, nil)
	}
}
