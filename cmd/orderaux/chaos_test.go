package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/auxiliary"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// chaosOrders is how many orders the kill test runs: ORDERSTORE_CHAOS_ORDERS, or so many that it is quick.
func chaosOrders(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ORDERSTORE_CHAOS_ORDERS")
	if text == "" {
		return 1000
	}
	orders, err := strconv.Atoi(text)
	require.NoError(t, err)
	require.GreaterOrEqual(t, orders, 100)
	return orders
}

// receiver takes the webhooks of a tenant.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	bodies map[string]string // by webhook-id
	again  int               // messages that came more than once
	other  int               // of these, with another body
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{bodies: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // killed in the middle of it
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := req.Header.Get("Webhook-Id")
		if was, twice := r.bodies[id]; twice {
			r.again++
			if was != string(body) {
				r.other++
			}
		}
		r.bodies[id] = string(body)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

// hook has each placed order told by a webhook too, as an operator's PUT does, and levels of stock by another, as a user's.
func (p *place) hook(url, levels string) {
	p.t.Helper()
	require.NoError(p.t, postgres.Migrate(p.t.Context(), p.auxURL, migrations.Auxiliary, "auxiliary"))
	const secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	_, err := p.aux.Exec(p.t.Context(), `
		INSERT INTO notice_settings VALUES
		    ('demo', 0, 'en', '{order.placed,order.completed,order.rejected,order.cancelled,order.returned}', '{order.placed}', $1, $2, now())`,
		url, secret)
	require.NoError(p.t, err)
	_, err = p.aux.Exec(p.t.Context(), `
		INSERT INTO stock_webhooks (tenant, url, secret, skus, position, updated_at) VALUES ('demo', $1, $2, '{}', 0, now())`, levels, secret)
	require.NoError(p.t, err)
}

// fate is what is counted of orders by the test itself.
type fate struct {
	told, demo               int64 // notices by mail; orders of the tenant demo
	reserved, sold, received int64 // units of demo's products
	invoices, credits        map[string]int64
}

// chaosSKUs is how many products there are.
const chaosSKUs = 7

// trade writes orders of two tenants with all that may become of them: open, fulfilled, returned in part and whole, cancelled before and
// after the invoice, rejected. Each is of three units of a product.
func (p *place) trade(r *rand.Rand, orders int, f *fate) (ids []string) {
	p.t.Helper()
	delivery := &events.StockAdjustment{AdjustmentID: uuid.NewString()}
	for sku := range chaosSKUs {
		delivery.Lines = append(delivery.Lines, events.AdjustedStock{SKU: fmt.Sprint("s", sku), Delta: 10, OnOrderDelta: 1})
		f.received += 10
	}
	all := []events.Event{events.New(events.StockAdjusted, time.Now(), delivery)}
	all[0].Tenant = "demo"
	for range orders {
		history := history(r, f)
		ids = append(ids, history[0].OrderID)
		all = append(all, history...)
	}
	p.append(all...)
	return ids
}

func history(r *rand.Rand, f *fate) []events.Event {
	const price, discount, tax, units = 333, 10, 50, 3
	who, sku := r.IntN(40), fmt.Sprint("s", r.IntN(chaosSKUs))
	e := events.New(events.OrderPlaced, time.Now(), &events.Placed{
		Channel: []string{"web", "pos"}[who%2], ExternalRef: uuid.NewString(), Region: "default", Currency: "EUR", Total: units*price - discount + tax + 490, Shipping: 490,
		Lines: []events.PlacedLine{{
			LineID: "1", SKU: sku, Quantity: units, UnitPrice: price, Discount: discount, Tax: tax, Total: units*price - discount + tax,
		}},
		Customer: &events.Customer{Name: "Zoë 日本", Email: fmt.Sprintf("zoe%d@example.com", who), Phone: fmt.Sprintf("+4930901820%d", who%9)},
	})
	e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion, e.Status = "demo", "retail", uuid.Must(uuid.NewV7()).String(), 1, events.OrderRouted
	if r.IntN(4) == 0 {
		e.Tenant = "other"
	}
	all := []events.Event{e}
	next := func(typ events.Type, status events.OrderStatus, data any) *events.Event {
		n := events.New(typ, time.Now(), data)
		n.Tenant, n.BusinessType, n.OrderID, n.OrderVersion, n.Status = e.Tenant, e.BusinessType, e.OrderID, int64(len(all))+1, status
		all = append(all, n)
		if typ != events.TaskResultPosted {
			f.told++
		}
		return &all[len(all)-1]
	}
	back := func(id string, units, total int64) *events.Event {
		return next(events.OrderReturned, events.OrderStatusCompleted, &events.OrderReturn{
			ReturnID: id, Lines: []events.ReturnedLine{{LineID: "1", SKU: sku, Quantity: units, Restock: true, Total: total}},
		})
	}
	f.told++
	reserved, sold := int64(units), int64(0)
	fate := r.IntN(8)
	if fate < 5 {
		next(events.TaskResultPosted, events.OrderProcessing, &events.ResultPosted{
			ResultID: "r", Outcome: events.OutcomeCompleted, TaskStatus: events.TaskStatusCompleted,
			Lines: []events.ResultLine{{LineID: "1", Quantity: units, Outcome: events.LineFulfilled}},
		}).TaskID = uuid.NewString()
		next(events.OrderCompleted, events.OrderStatusCompleted, &events.Closed{})
		f.invoices[e.Tenant]++
		reserved, sold = 0, units
	}
	switch fate {
	case 0, 1:
		back("a", 1, 346)
		f.credits[e.Tenant]++
		if sold--; fate == 1 {
			back("b", 2, 693).FulfillmentStatus = events.Returned
			f.credits[e.Tenant]++
			sold = 0
		}
	case 2:
		next(events.OrderCancelled, events.OrderStatusCancelled, &events.OrderCancellation{Reason: "late"})
		f.credits[e.Tenant]++
	case 5:
		next(events.OrderCancelled, events.OrderStatusCancelled, &events.OrderCancellation{Lines: []events.TaskQuantity{{LineID: "1", Quantity: units}}})
		reserved = 0
	case 6:
		next(events.OrderRejected, events.OrderStatusRejected, &events.Closed{Reason: "nobody has it"})
		reserved = 0
	}
	if e.Tenant == "demo" {
		f.demo++
		f.reserved += reserved
		f.sold += sold
	}
	return all
}

// chaosSeed makes each run the same orders and the same points, as far as points in time can be the same.
const chaosSeed = 20260301

// kill -9 at random points while orders flow: every record is a fresh fold of the log, numbers of invoices have no gaps, each event is told
// once by mail, and by webhook at least once with the same id and body. Levels of stock are told under one id each, and the last one is
// what is stored. What an outside system stored meanwhile stands.
func TestChaosKilledAtRandomPoints(t *testing.T) {
	t.Parallel()
	p, calls, levels := newPlace(t), newReceiver(t), newReceiver(t)
	p.env = append(p.env, "ORDERSTORE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8")
	p.hook(calls.URL, levels.URL)
	orders := chaosOrders(t)
	p.within = max(testWithin, time.Duration(orders)*60*time.Millisecond)
	kills := max(6, orders/500)
	r, f := rand.New(rand.NewPCG(chaosSeed, 1)), &fate{invoices: map[string]int64{}, credits: map[string]int64{}}
	erp := newOutside(p)
	left := orders - orders/kills
	erp.store(p.trade(r, orders-left, f))
	for range kills {
		g := p.run()
		n := min(left, orders/kills)
		erp.store(p.trade(r, n, f))
		left -= n
		enough := p.mails() + r.IntN(orders/kills)
		require.Eventually(t, func() bool { return p.mails() >= enough || p.handled() }, p.within, 5*time.Millisecond)
		require.Error(t, g.end(t, syscall.SIGKILL))
	}
	erp.store(p.trade(r, left, f))
	p.run()
	p.settled()

	p.checkFolds()
	p.checkCounts(f)
	report, err := auxiliary.Verify(t.Context(), p.aux, stream.NewLog(p.write), nil)
	require.NoError(t, err)
	require.True(t, report.Clean(), strings.Join(report.Details, "\n"))
	assert.EqualValues(t, orders, report.Orders)
	assert.Equal(t, f.told, report.Sent)
	assert.Equal(t, f.demo, report.Called)
	assert.EqualValues(t, f.told, p.mails(), "one file an event")
	calls.mu.Lock()
	assert.Len(t, calls.bodies, int(f.demo))
	assert.Zero(t, calls.other, "what comes again is the same")
	t.Logf("%d kills, %d of %d calls came again", kills, calls.again, f.demo)
	calls.mu.Unlock()
	p.checkMails(int(f.told))
	p.checkLevels(levels)
	erp.check()
}

// checkFolds compares every system's tables with a fresh fold of the log.
func (p *place) checkFolds() {
	p.t.Helper()
	log := stream.NewLog(p.write)
	stock, err := auxiliary.VerifyStock(p.t.Context(), p.aux, log)
	require.NoError(p.t, err)
	require.True(p.t, stock.Clean(), strings.Join(stock.Details, "\n"))
	for _, system := range auxiliary.Folds() {
		report, err := auxiliary.VerifyFold(p.t.Context(), p.aux, log, system)
		require.NoError(p.t, err)
		require.True(p.t, report.Clean(), "%s: %s", system.Name(), strings.Join(report.Details, "\n"))
	}
}

// checkCounts compares with what the test has counted by itself.
func (p *place) checkCounts(f *fate) {
	p.t.Helper()
	var got fate
	const level = `SELECT sum(reserved)::bigint, sum(sold)::bigint, sum(received)::bigint FROM stock WHERE tenant = 'demo' AND on_hand + sold = received`
	require.NoError(p.t, p.aux.QueryRow(p.t.Context(), level).Scan(&got.reserved, &got.sold, &got.received))
	require.Equal(p.t, [3]int64{f.reserved, f.sold, f.received}, [3]int64{got.reserved, got.sold, got.received}, "no line is counted twice")
	const numbered = `
		SELECT count(*), count(DISTINCT number), coalesce(min(number), 'INV-000001'), coalesce(max(number), '') FROM (
		    SELECT convert_from(payload, 'UTF8')::jsonb ->> 'number' AS number FROM records WHERE system = 'invoice' AND tenant = $1 AND kind = $2) n`
	for tenant := range f.invoices {
		for kind, want := range map[string]int64{"invoice": f.invoices[tenant], "credit_note": f.credits[tenant]} {
			var all, distinct int64
			var first, last string
			require.NoError(p.t, p.aux.QueryRow(p.t.Context(), numbered, tenant, kind).Scan(&all, &distinct, &first, &last))
			require.Equal(p.t, [2]int64{want, want}, [2]int64{all, distinct}, "%s of %s", kind, tenant)
			require.True(p.t, strings.HasSuffix(first, "-000001") && strings.HasSuffix(last, fmt.Sprintf("-%06d", want)), "%s to %s", first, last)
		}
	}
}

// checkLevels looks at what the tenant's receiver and the bucket have of the SKU, once all is told.
func (p *place) checkLevels(levels *receiver) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var told bool
		err := p.aux.QueryRow(p.t.Context(), `
			SELECT h.batch IS NULL AND h.position = (SELECT max(position) FROM stock WHERE tenant = 'demo') FROM stock_webhooks h`).Scan(&told)
		return err == nil && told
	}, testWithin, 10*time.Millisecond)
	kv, err := p.js.KeyValue(p.t.Context(), auxiliary.StockBucket)
	require.NoError(p.t, err)
	type level struct {
		SKU                 string
		Position, Available int64
	}
	rows, err := p.aux.Query(p.t.Context(), `SELECT sku, position, on_hand - reserved FROM stock WHERE tenant = 'demo'`)
	require.NoError(p.t, err)
	last, err := pgx.CollectRows(rows, pgx.RowToStructByPos[level])
	require.NoError(p.t, err)
	require.Len(p.t, last, chaosSKUs)
	for _, want := range last {
		require.Eventually(p.t, func() bool {
			var got level
			entry, err := kv.Get(p.t.Context(), auxiliary.StockKey("demo", want.SKU))
			return err == nil && json.Unmarshal(entry.Value(), &got) == nil && got == want
		}, testWithin, 10*time.Millisecond)
	}
	levels.mu.Lock()
	defer levels.mu.Unlock()
	require.Zero(p.t, levels.other, "what comes again is the same")
	told, newest := map[string]bool{}, map[string]level{}
	for _, body := range levels.bodies {
		var call struct{ Levels []level }
		require.NoError(p.t, json.Unmarshal([]byte(body), &call))
		for _, l := range call.Levels {
			change := fmt.Sprint(l.SKU, "@", l.Position)
			require.False(p.t, told[change], "%s is told under one id", change)
			if told[change] = true; newest[l.SKU].Position < l.Position {
				newest[l.SKU] = l
			}
		}
	}
	for _, want := range last {
		require.Equal(p.t, want, newest[want.SKU])
	}
	p.t.Logf("%d calls told of %d levels, %d came again", len(levels.bodies), len(told), levels.again)
}

// handled tells whether all that was placed is handled and sent.
func (p *place) handled() bool {
	var done bool
	err := p.aux.QueryRow(p.t.Context(), handledSQL, p.last).Scan(&done)
	return err == nil && done
}

// checkMails looks whether each mail is whole and of the event that its name says.
func (p *place) checkMails(told int) {
	p.t.Helper()
	ids := map[string]bool{}
	files, err := os.ReadDir(p.mail)
	require.NoError(p.t, err)
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".eml" {
			continue // the part of a file that a kill left behind
		}
		body, err := os.ReadFile(filepath.Join(p.mail, f.Name()))
		require.NoError(p.t, err)
		msg, err := netmail.ReadMessage(bytes.NewReader(body))
		require.NoError(p.t, err, f.Name())
		id := msg.Header.Get("Message-ID")
		require.Equal(p.t, strings.TrimSuffix(f.Name(), ".eml"), strings.Split(id, ".")[1], "the id names the event")
		ids[id] = true
		require.Contains(p.t, string(body), "</html>", "the mail is whole")
	}
	assert.Len(p.t, ids, told)
}
