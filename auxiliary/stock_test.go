package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
)

const oddSKU = "Füller *.> 1/2"

func ofTenant(typ events.Type, data any) events.Event {
	e := events.New(typ, noon(), data)
	e.Tenant = "demo"
	return e
}

func product(sku string, reorder int64) events.Event {
	return ofTenant(events.ProductChanged, &events.Product{
		SKU: sku, Tenant: "demo", Name: "The " + sku, VendorID: "v", ReorderLevel: reorder, TargetLevel: 2 * reorder,
	})
}

func adjusted(lines ...events.AdjustedStock) events.Event {
	return ofTenant(events.StockAdjusted, &events.StockAdjustment{AdjustmentID: uuid.NewString(), Lines: lines})
}

// ordered is an order of two lines.
func ordered(sku string, first, second int64) events.Event {
	e := placed(nil)
	data, _ := e.Data.(*events.Placed)
	data.Lines = []events.PlacedLine{
		{LineID: "1", SKU: sku, Quantity: first}, {LineID: "2", SKU: "never seen", Quantity: second},
	}
	return e
}

// next is an event of an order that had some before.
func next(order events.Event, version int64, typ events.Type, data any) events.Event {
	e := events.New(typ, noon(), data)
	e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion, e.TaskID = order.Tenant, order.BusinessType, order.OrderID, version, "t1"
	return e
}

func results(lines ...events.ResultLine) *events.ResultPosted {
	return &events.ResultPosted{ResultID: uuid.NewString(), Outcome: events.OutcomePartial, Lines: lines, TaskStatus: events.TaskStatusAccepted}
}

func (h *house) stock(sku string) (i stockItem) {
	h.t.Helper()
	rows, err := h.aux.Query(h.t.Context(), `SELECT `+stockColumns+` FROM stock s WHERE sku = $1`, sku)
	require.NoError(h.t, err)
	require.True(h.t, rows.Next(), sku)
	defer rows.Close()
	found, err := scanStock(rows)
	require.NoError(h.t, err)
	return *found
}

func (h *house) stockVerified() StockReport {
	h.t.Helper()
	report, err := VerifyStock(h.t.Context(), h.aux, h.log)
	require.NoError(h.t, err)
	require.True(h.t, report.Clean(), strings.Join(report.Details, "\n"))
	return report
}

func TestStockFollowsTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	order := ordered("cup", 5, 3)
	end := next(order, 5, events.OrderCancelled, &events.OrderCancellation{Lines: []events.TaskQuantity{{LineID: "2", Quantity: 3}}})
	late := results(events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineFulfilled})
	late.Late = true
	h.append(
		product("cup", 50), adjusted(events.AdjustedStock{SKU: "cup", Delta: 200, OnOrderDelta: 7}), order,
		next(order, 2, events.TaskResultPosted, results(
			events.ResultLine{LineID: "1", Quantity: 2, Outcome: events.LineFulfilled}, events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineRejected})),
		// 4 of line 1 are 1 open: 3 were settled before.
		next(order, 3, events.OrderAmended, &events.Amended{Lines: []events.PlacedLine{
			{LineID: "1", SKU: "cup", Quantity: 4}, {LineID: "2", SKU: "never seen", Quantity: 3},
		}}),
		next(order, 4, events.TaskResultPosted, late),
	)
	r := h.runner(quick(), NewStock())
	stop := start(t, r)
	h.reached(r, StockName, h.position)
	cup := h.stock("cup")
	assert.Equal(t, [5]int64{198, 1, 2, 200, 7}, [5]int64{cup.onHand, cup.reserved, cup.sold, cup.received, cup.onOrder})
	assert.Equal(t, int64(5), cup.position, "a late result moves nothing")
	assert.Equal(t, int64(3), h.stock("never seen").reserved)
	assert.False(t, h.stock("never seen").listed || h.stock("never seen").adjusted, "it is nobody's stock")
	assert.Equal(t, StockReport{Position: 6, Items: 2, Orders: 1}, h.stockVerified())

	end.Status = events.OrderStatusCompleted
	h.append(next(order, 5, events.TaskResultPosted, results(events.ResultLine{LineID: "1", Quantity: 1, Outcome: events.LineCancelled})))
	end.OrderVersion = 6
	h.append(end, adjusted(events.AdjustedStock{SKU: "cup", Delta: 3, Reason: events.ReasonReturn, OnOrderDelta: -9}))
	h.reached(r, StockName, h.position)
	cup = h.stock("cup")
	assert.Equal(t, [5]int64{201, 0, 0, 201, 0}, [5]int64{cup.onHand, cup.reserved, cup.sold, cup.received, cup.onOrder},
		"two of the three were sold before, one is new, and no more can come than was bought")
	assert.Zero(t, h.stock("never seen").reserved)
	before := cup
	require.NoError(t, Rebuild(t.Context(), h.aux, NewStock()))
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	assert.Equal(t, before, h.stock("cup"))
	assert.Equal(t, StockReport{Position: 9, Items: 2}, h.stockVerified())
	stop()

	for damage, found := range map[string]string{
		`UPDATE stock SET on_hand = on_hand + 1, received = received + 1 WHERE sku = 'cup'`: "cup of demo is",
		`DELETE FROM stock WHERE sku = 'never seen'`:                                        "never seen of demo has no row",
		`INSERT INTO stock_orders VALUES (gen_random_uuid(), 'demo', '[]')`:                 "is not open in the log",
		`UPDATE checkpoints SET position = 99`:                                              "the log ends at 9",
	} {
		_, err := h.aux.Exec(t.Context(), damage)
		require.NoError(t, err)
		report, err := VerifyStock(t.Context(), h.aux, h.log)
		require.NoError(t, err)
		assert.Contains(t, fmt.Sprint(report.Details), found)
	}
}

// wired runs the stock with its bucket and runs, which raise into the log.
func (h *house) wired(every time.Duration, raise RaiseRun) *Runner {
	h.t.Helper()
	system := wireStock(Deps{
		Pool: h.aux, JS: h.js, Logger: slog.New(slog.DiscardHandler), Clock: noon,
		Replenishment: ReplenishmentConfig{Every: every, Raise: raise},
	}, nil)
	return h.runner(quick(), system)
}

// bucket waits for a level in the bucket.
func (h *house) bucket(sku string, available int64) stockLevel {
	h.t.Helper()
	var level stockLevel
	require.Eventually(h.t, func() bool {
		kv, err := h.js.KeyValue(h.t.Context(), StockBucket)
		if err != nil {
			return false
		}
		entry, err := kv.Get(h.t.Context(), StockKey("demo", sku))
		return err == nil && json.Unmarshal(entry.Value(), &level) == nil && level.Available == available
	}, testWithin, 5*time.Millisecond, "level of %s", sku)
	return level
}

func TestTheBucketHasEachLevel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(product("cup", 50), adjusted(events.AdjustedStock{SKU: "cup", Delta: 9}, events.AdjustedStock{SKU: oddSKU, Delta: 7}), ordered("cup", 4, 1))
	stop := start(t, h.wired(0, nil))
	assert.Equal(t, stockLevel{
		SKU: "cup", Name: "The cup", VendorID: "v", OnHand: 9, Reserved: 4, Available: 5, ReorderLevel: 50, TargetLevel: 100, Position: 3,
	}, h.bucket("cup", 5))
	h.bucket(oddSKU, 7)
	assert.Equal(t, "demo.F=C3=BCller=20=2A=2E=3E=201=2F2", StockKey("demo", oddSKU))
	kv, err := h.js.KeyValue(t.Context(), StockBucket)
	require.NoError(t, err)
	keys, err := kv.Keys(t.Context())
	require.NoError(t, err)
	assert.Len(t, keys, 2, "what is nobody's stock is not there")

	// A lost bucket is filled again, though nothing happens.
	require.NoError(t, h.js.DeleteKeyValue(t.Context(), StockBucket))
	h.bucket("cup", 5)
	h.bucket(oddSKU, 7)

	// A later level that somebody else has written stays; an older one goes.
	kv, err = h.js.KeyValue(t.Context(), StockBucket)
	require.NoError(t, err)
	_, err = kv.PutString(t.Context(), StockKey("demo", "cup"), `{"available":-1,"position":1000}`)
	require.NoError(t, err)
	_, err = kv.PutString(t.Context(), StockKey("demo", oddSKU), `{"available":-1,"position":1}`)
	require.NoError(t, err)
	h.append(adjusted(events.AdjustedStock{SKU: "cup", Delta: 1}, events.AdjustedStock{SKU: oddSKU, Delta: 1}))
	h.bucket(oddSKU, 8)
	h.bucket("cup", -1)
	stop()

	// What changed while nobody wrote is brought at the start.
	h.append(adjusted(events.AdjustedStock{SKU: oddSKU, Delta: 1}), adjusted(events.AdjustedStock{SKU: "pot", Delta: 6}))
	stop = start(t, h.wired(0, nil))
	h.bucket(oddSKU, 9)
	h.bucket("cup", -1)
	position := h.bucket("pot", 6).Position
	stop()

	// What another version of the code made of the same event is replaced.
	_, err = kv.PutString(t.Context(), StockKey("demo", "pot"), fmt.Sprintf(`{"available":-1,"position":%d}`, position))
	require.NoError(t, err)
	start(t, h.wired(0, nil))
	h.bucket("pot", 6)
}

func TestARunIsRaisedOnceForWhatIsToBeBought(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	other := product("pot", 0)
	h.append(product("cup", 50), product("jug", 50), other, adjusted(events.AdjustedStock{SKU: "jug", Delta: 51}))
	var mu sync.Mutex
	var raised []events.ReplenishmentRun
	tried := make(chan struct{}, 100)
	raise := func(_ context.Context, tenant string, run *events.ReplenishmentRun) error {
		mu.Lock()
		defer mu.Unlock()
		raised = append(raised, *run)
		tried <- struct{}{}
		if len(raised) == 1 {
			return fmt.Errorf("no answer for %s", tenant)
		}
		return nil
	}
	stop := start(t, h.wired(time.Second, raise))
	<-tried
	<-tried
	want := events.ReplenishmentRun{RunID: "20260301T120000Z", Position: 4, Vendors: 1, Lines: 1}
	h.eventually("the run is noted", nil, `SELECT EXISTS (SELECT FROM replenishment_runs WHERE tenant = 'demo' AND lines = 1)`)
	stop()
	assert.Equal(t, []events.ReplenishmentRun{want, want}, raised, "again where the answer was lost, and under the same id")

	// A process that starts anew knows what was told.
	require.NoError(t, (&runs{ReplenishmentConfig: ReplenishmentConfig{Every: time.Second, Raise: raise}, pool: h.aux, js: h.js, now: noon}).look(t.Context()))
	assert.Len(t, raised, 2)
}

// A tenant's own schedule holds instead of the installation's, and its runs are at the schedule's times.
func TestATenantHasAScheduleOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	theirs := product("cup", 50)
	theirs.Tenant, theirs.Data.(*events.Product).Tenant = "other", "other"
	h.append(product("cup", 50), theirs)
	start(t, h.wired(0, nil))
	h.bucket("cup", 0)
	raised := map[string]string{}
	r := &runs{
		ReplenishmentConfig: ReplenishmentConfig{Raise: func(_ context.Context, tenant string, run *events.ReplenishmentRun) error {
			raised[tenant] = run.RunID
			return nil
		}}, pool: h.aux, js: h.js, now: func() time.Time { return noon().Add(90 * time.Minute) },
	}
	look := func(every time.Duration) map[string]string {
		clear(raised)
		r.Every = every
		require.NoError(t, r.look(t.Context()))
		return raised
	}
	d := h.desk(scheduleRoutes(RouteDeps{Pool: h.aux, Now: noon})...)
	ask := func(method, body string, wanted int) string {
		t.Helper()
		status, answer := d.ask("user", method, schedulePath, body)
		require.Equal(t, wanted, status, answer)
		return answer
	}
	ask(http.MethodGet, "", http.StatusNotFound)
	assert.Empty(t, look(0))
	assert.JSONEq(t, `{"every":"30m0s","updated_at":"2026-03-01T12:00:00Z"}`, ask(http.MethodPut, `{"every":"30m"}`, http.StatusOK))
	assert.Contains(t, ask(http.MethodGet, "", http.StatusOK), `"30m0s"`)
	assert.Equal(t, map[string]string{"demo": "20260301T133000Z"}, look(0))
	assert.Equal(t, map[string]string{"other": "20260301T130000Z"}, look(time.Hour))
	ask(http.MethodPut, `{"every":"0s"}`, http.StatusOK)
	assert.Equal(t, map[string]string{"other": "20260301T000000Z"}, look(24*time.Hour))
	ask(http.MethodDelete, "", http.StatusNoContent)
	assert.Equal(t, map[string]string{"demo": "20260301T000000Z"}, look(24*time.Hour))
	for _, every := range []string{"-1s", "1.5s", "9999h", "soon"} {
		ask(http.MethodPut, `{"every":"`+every+`"}`, http.StatusUnprocessableEntity)
	}
}

func TestTwoWritersOfABucketLeaveTheLatest(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := &bucketWriter{pool: h.aux, js: h.js, logger: slog.New(slog.DiscardHandler)}
	one, err := w.open(t.Context())
	require.NoError(t, err)
	two, err := w.open(t.Context())
	require.NoError(t, err)
	at := func(position int64) []*stockItem {
		return []*stockItem{{stockKey: stockKey{"demo", "cup"}, onHand: position, position: position}}
	}
	require.NoError(t, w.put(t.Context(), one, at(5)))
	require.NoError(t, w.put(t.Context(), two, at(4)))
	assert.EqualValues(t, 5, h.bucket("cup", 5).Position)
	require.NoError(t, w.put(t.Context(), two, at(7)))
	require.NoError(t, w.put(t.Context(), one, at(6)))
	require.NoError(t, w.put(t.Context(), one, at(8)))
	assert.EqualValues(t, 8, h.bucket("cup", 8).Position)
	require.NoError(t, h.js.DeleteKeyValue(t.Context(), StockBucket))
	require.ErrorIs(t, w.same(t.Context(), one), jetstream.ErrStreamNotFound)
	_, err = w.open(t.Context())
	require.NoError(t, err)
	require.ErrorIs(t, w.same(t.Context(), one), errBucketLost)
}
