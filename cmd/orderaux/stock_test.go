package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/command"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/migrations"
)

// names are the tokens of a shop: kind and name.
type names struct{}

func (names) Authenticate(_ context.Context, bearer string) (auth.Identity, error) {
	kind, name, ok := strings.Cut(bearer, ":")
	if !ok {
		return auth.Identity{}, fault.New(fault.Unauthorized, "no token of ours")
	}
	who := auth.Identity{ClientID: bearer, Kind: auth.Kind(kind), Scopes: auth.DefaultScopes(auth.Kind(kind))}
	switch who.Kind {
	case auth.KindUser:
		who.Tenant = name
	case auth.KindProvider:
		who.Provider = name
	case auth.KindAuxiliary:
		who.System = name
	}
	return who, nil
}

func (names) Check(auth.Identity) error { return nil }

// shop is the real write side in memory, driven through its routes by whatever chance says.
type shop struct {
	t      *rapid.T
	api    http.Handler
	log    []events.Event
	orders map[string]*events.Order
	ids    []string
	ref    int
	counts map[string]*counted
}

// counted is what the test counts by itself, from the order documents and from what it asked for.
type counted struct{ onHand, reserved, sold, received, onOrder int64 }

func skus() []string { return []string{"cup", "pot", "房间"} }

func newShop(t *rapid.T) *shop {
	s := &shop{t: t, orders: map[string]*events.Order{}, counts: map[string]*counted{}}
	for _, sku := range skus() {
		s.counts[sku] = &counted{}
	}
	memory := command.NewMemory(time.Now, func(all []events.Appended) {
		for _, a := range all {
			body, err := a.Event.Encode()
			require.NoError(t, err)
			e, err := events.Decode(a.Event.Position, body)
			require.NoError(t, err)
			s.log = append(s.log, e)
			s.count(&e)
		}
	})
	e, err := httpapi.New(httpapi.Config{})
	require.NoError(t, err)
	httpapi.Mount(e, names{}, command.Routes(memory, nil))
	s.api = e
	for _, provider := range []string{"a", "b"} {
		s.must("operator:", http.MethodPut, "/v1/admin/providers/"+provider, `{"business_types":["all","one","deep"]}`)
	}
	s.must("operator:", http.MethodPut, "/v1/admin/routes/all", `{"policy":"all"}`)
	return s
}

// count keeps the documents as events.Apply folds them, and takes from each change of a line's counters what it moved.
func (s *shop) count(e *events.Event) {
	if e.OrderID == "" {
		return
	}
	if back, ok := e.Data.(*events.OrderReturn); ok {
		s.countBack(s.orders[e.OrderID], back)
	}
	fulfilled := map[string]int64{}
	if before := s.orders[e.OrderID]; before != nil {
		for _, l := range before.Lines {
			fulfilled[l.LineID] = l.Quantities.Fulfilled
		}
	} else {
		s.ids = append(s.ids, e.OrderID)
	}
	after, err := events.Apply(s.orders[e.OrderID], e)
	require.NoError(s.t, err)
	s.orders[e.OrderID] = after
	for _, l := range after.Lines {
		n := l.Quantities.Fulfilled - fulfilled[l.LineID]
		s.counts[l.SKU].sold += n
		s.counts[l.SKU].onHand -= n
	}
}

// countBack books what came back by the line's SKU, as the order was before.
func (s *shop) countBack(o *events.Order, back *events.OrderReturn) {
	for _, l := range back.Lines {
		c := s.counts[o.Line(l.LineID).SKU]
		known := min(l.Quantity, c.sold)
		c.sold -= known
		if l.Restock {
			c.onHand, c.received = c.onHand+l.Quantity, c.received+l.Quantity-known
		} else {
			c.received -= known
		}
	}
}

// bring brings goods of an order back: some that it has, more than it has, or the same again.
func (s *shop) bring() {
	if len(s.ids) == 0 {
		return
	}
	o := s.orders[rapid.SampledFrom(s.ids).Draw(s.t, "order")]
	s.ref++
	var lines []string
	want := http.StatusCreated
	for _, l := range o.Lines {
		if l.Quantities.Kept() == 0 && rapid.Bool().Draw(s.t, "leave out") {
			continue
		}
		n := rapid.Int64Range(1, l.Quantities.Kept()+1).Draw(s.t, "units")
		if n > l.Quantities.Kept() {
			want = http.StatusUnprocessableEntity
		}
		lines = append(lines, fmt.Sprintf(`{"line_id":%q,"quantity":%d,"restock":%t}`, l.LineID, n, rapid.Bool().Draw(s.t, "restock")))
	}
	if len(lines) == 0 {
		return
	}
	body := fmt.Sprintf(`{"return_id":"b%d","lines":[%s]}`, s.ref, strings.Join(lines, ","))
	status, answer := s.call("user:demo", http.MethodPost, "/v1/orders/"+o.ID+"/returns", body)
	require.Equal(s.t, want, status, answer)
	if status < 300 && rapid.Bool().Draw(s.t, "again") {
		status, answer = s.call("user:demo", http.MethodPost, "/v1/orders/"+o.ID+"/returns", body)
		require.Equal(s.t, http.StatusOK, status, answer)
	}
}

func (s *shop) call(token, method, path, body string) (int, string) {
	req := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", "*")
	rec := httptest.NewRecorder()
	s.api.ServeHTTP(rec, req)
	require.Less(s.t, rec.Code, 500, rec.Body)
	return rec.Code, rec.Body.String()
}

func (s *shop) must(token, method, path, body string) {
	status, answer := s.call(token, method, path, body)
	require.Less(s.t, status, 300, answer)
}

func (s *shop) lines(first int) string {
	var all []string
	for i := range rapid.IntRange(1, 3).Draw(s.t, "lines") {
		all = append(all, fmt.Sprintf(`{"line_id":"%d","sku":%q,"quantity":%d,"unit_price":1}`, first+i,
			rapid.SampledFrom(skus()).Draw(s.t, "sku"), rapid.Int64Range(1, 5).Draw(s.t, "quantity")))
	}
	return `"lines":[` + strings.Join(all, ",") + `]`
}

func (s *shop) place() {
	s.ref++
	businessType := rapid.SampledFrom([]string{"all", "one", "nobody"}).Draw(s.t, "business type")
	s.must("user:demo", http.MethodPost, "/v1/orders",
		fmt.Sprintf(`{"channel":"web","external_ref":"%d","business_type":%q,"currency":"EUR",%s}`, s.ref, businessType, s.lines(1)))
}

// order acts on an order in some way that may be allowed or not.
func (s *shop) change() {
	if len(s.ids) == 0 {
		return
	}
	o := s.orders[rapid.SampledFrom(s.ids).Draw(s.t, "order")]
	path := "/v1/orders/" + o.ID
	if len(o.Tasks) == 0 || rapid.IntRange(0, 5).Draw(s.t, "who") == 0 {
		if rapid.Bool().Draw(s.t, "cancel") {
			s.call("user:demo", http.MethodPost, path+"/cancel", `{}`)
			return
		}
		s.amend(o, path)
		return
	}
	task := &o.Tasks[rapid.IntRange(0, len(o.Tasks)-1).Draw(s.t, "task")]
	path = "/v1/tasks/" + task.ID
	switch action := rapid.SampledFrom([]string{"accept", "reject", "delegate", "result", "result", "result"}).Draw(s.t, "action"); action {
	case "reject":
		s.call("provider:"+task.Provider, http.MethodPost, path+"/reject", `{"reason_code":"no"}`)
	case "delegate":
		s.call("provider:"+task.Provider, http.MethodPost, path+"/delegate", `{"business_type":"deep"}`)
	case "accept":
		s.call("provider:"+task.Provider, http.MethodPost, path+"/accept", `{}`)
	default:
		s.result(task, path)
	}
}

func (s *shop) amend(o *events.Order, path string) {
	var kept []string
	for _, l := range o.Lines {
		if rapid.IntRange(0, 3).Draw(s.t, "keep") > 0 {
			kept = append(kept, fmt.Sprintf(`{"line_id":%q,"sku":%q,"quantity":%d,"unit_price":1}`, l.LineID, l.SKU,
				rapid.Int64Range(1, 6).Draw(s.t, "quantity")))
		}
	}
	more := strings.TrimSuffix(strings.TrimPrefix(s.lines(10+s.ref), `"lines":[`), "]")
	if len(kept) == 0 || rapid.Bool().Draw(s.t, "more") {
		kept = append(kept, more)
	}
	s.ref += 3
	s.call("user:demo", http.MethodPatch, path, `{"lines":[`+strings.Join(kept, ",")+`]}`)
}

func (s *shop) result(task *events.Task, path string) {
	s.ref++
	outcome := rapid.SampledFrom([]string{"completed", "partial", "partial", "failed"}).Draw(s.t, "outcome")
	var lines []string
	for _, l := range task.Lines {
		if l.Open() == 0 || outcome == "completed" || rapid.Bool().Draw(s.t, "leave out") {
			continue
		}
		lines = append(lines, fmt.Sprintf(`{"line_id":%q,"quantity":%d,"outcome":%q}`, l.LineID, rapid.Int64Range(1, l.Open()).Draw(s.t, "units"),
			rapid.SampledFrom([]string{"fulfilled", "fulfilled", "rejected", "cancelled"}).Draw(s.t, "line outcome")))
	}
	s.call("provider:"+task.Provider, http.MethodPost, path+"/result",
		fmt.Sprintf(`{"result_id":"r%d","outcome":%q,"lines":[%s]}`, s.ref, outcome, strings.Join(lines, ",")))
}

// adjust moves goods, and counts what that has to come to.
func (s *shop) adjust() {
	s.ref++
	sku := rapid.SampledFrom(skus()).Draw(s.t, "sku")
	n, c := rapid.Int64Range(0, 9).Draw(s.t, "units"), s.counts[sku]
	line := map[string]any{"sku": sku}
	switch rapid.SampledFrom([]string{"came", "broke", "counted", "returned", "bought"}).Draw(s.t, "adjustment") {
	case "came":
		line["delta"], line["on_order_delta"] = n, -n
		c.onHand, c.received, c.onOrder = c.onHand+n, c.received+n, max(0, c.onOrder-n)
	case "broke":
		line["delta"] = -n
		c.onHand, c.received = c.onHand-n, c.received-n
	case "counted":
		line["counted"] = n
		c.received += n - c.onHand
		c.onHand = n
	case "returned":
		line["delta"], line["reason"] = n, events.ReasonReturn
		known := min(n, c.sold)
		c.onHand, c.sold, c.received = c.onHand+n, c.sold-known, c.received+n-known
	case "bought":
		line["on_order_delta"] = n
		c.onOrder += n
	}
	body, err := json.Marshal(map[string]any{"adjustment_id": fmt.Sprint(s.ref), "lines": []any{line}})
	require.NoError(s.t, err)
	s.must("user:demo", http.MethodPost, "/v1/stock/adjustments", string(body))
	if rapid.Bool().Draw(s.t, "again") {
		s.must("user:demo", http.MethodPost, "/v1/stock/adjustments", string(body))
	}
}

// want is the independent count.
func (s *shop) want() map[string]counted {
	all := map[string]counted{}
	for sku, c := range s.counts {
		c.reserved = 0
		for _, o := range s.orders {
			for _, l := range o.Lines {
				if l.SKU == sku {
					c.reserved += l.Quantities.Open()
				}
			}
		}
		if *c != (counted{}) {
			all[sku] = *c
		}
	}
	return all
}

// folded reads what the system has in its tables.
func folded(t *rapid.T, pool *pgxpool.Pool) map[string]counted {
	rows, err := pool.Query(context.Background(), `SELECT sku, on_hand, reserved, sold, received, on_order FROM stock`)
	require.NoError(t, err)
	all := map[string]counted{}
	var sku string
	var c counted
	_, err = pgx.ForEachRow(rows, []any{&sku, &c.onHand, &c.reserved, &c.sold, &c.received, &c.onOrder}, func() error {
		require.Equal(t, c.received, c.reserved+c.sold+(c.onHand-c.reserved), "reserved + sold + free")
		if c != (counted{}) {
			all[sku] = c
		}
		return nil
	})
	require.NoError(t, err)
	return all
}

// Whatever users and providers do, and however the log is cut into transactions, the stock is what the order documents say.
func TestStockIsNeverWrongByOne(t *testing.T) {
	t.Parallel()
	pool := pgtest.Database(t, migrations.Auxiliary, "auxiliary")
	system := auxiliary.NewStock()
	inTx := func(t *rapid.T, do func(ctx context.Context, tx pgx.Tx) error) {
		require.NoError(t, postgres.InTx(context.Background(), pool, func(tx pgx.Tx) error { return do(context.Background(), tx) }))
	}
	rapid.Check(t, func(t *rapid.T) {
		inTx(t, system.Reset)
		s, taken := newShop(t), 0
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			rapid.SampledFrom([]func(){s.place, s.change, s.change, s.change, s.change, s.adjust, s.bring}).Draw(t, "step")()
			if rapid.IntRange(0, 9).Draw(t, "commit") > 0 {
				continue
			}
			inTx(t, func(ctx context.Context, tx pgx.Tx) error {
				return system.Apply(ctx, tx, auxiliary.Batch{Events: s.log[taken:]})
			})
			taken = len(s.log)
			require.Equal(t, s.want(), folded(t, pool))
		}
		inTx(t, system.Reset)
		inTx(t, func(ctx context.Context, tx pgx.Tx) error {
			return system.Apply(ctx, tx, auxiliary.Batch{Events: s.log})
		})
		require.Equal(t, s.want(), folded(t, pool), "all at once is the same")
	})
}
