package auxiliary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/webhook"
)

// hearer is a tenant's receiver of levels.
type hearer struct {
	*httptest.Server

	mu      sync.Mutex
	status  func() int
	secret  string
	bodies  map[string]string // by webhook-id
	again   int               // calls that came more than once
	faults  []string
	newest  map[string]stockLevel
	told    map[string]int // ids that "sku@position" came under
	arrived map[string][]arrival
}

// arrival is when a level of an SKU was first heard.
type arrival struct {
	position int64
	at       time.Time
}

func newHearer(t testing.TB) *hearer {
	t.Helper()
	g := &hearer{
		status: func() int { return http.StatusNoContent }, bodies: map[string]string{}, newest: map[string]stockLevel{}, told: map[string]int{},
		arrived: map[string][]arrival{},
	}
	g.Server = httptest.NewServer(http.HandlerFunc(g.hear))
	t.Cleanup(g.Close)
	return g
}

func (g *hearer) hear(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	verifier, wrong := client.NewWebhookVerifier(client.WebhookConfig{Secrets: []string{g.secret}})
	if wrong == nil {
		_, wrong = verifier.Verify(r.Header, body)
	}
	var call levelsCall
	if err != nil || wrong != nil || json.Unmarshal(body, &call) != nil || call.Type != StockLevelChanged || call.Tenant != "demo" {
		g.faults = append(g.faults, fmt.Sprint(err, wrong, string(body)))
	}
	id, status := r.Header.Get("Webhook-Id"), g.status()
	if was, twice := g.bodies[id]; twice {
		if g.again++; was != string(body) {
			g.faults = append(g.faults, id+" came as another message")
		}
	} else {
		g.bodies[id] = string(body)
		for _, l := range call.Levels {
			at := fmt.Sprintf("%s@%d", l.SKU, l.Position)
			if g.told[at]++; g.newest[l.SKU].Position < l.Position {
				g.newest[l.SKU], g.arrived[l.SKU] = *l, append(g.arrived[l.SKU], arrival{l.Position, time.Now()})
			}
		}
	}
	w.WriteHeader(status)
}

// level waits until the receiver knows a level of an SKU.
func (g *hearer) level(t testing.TB, sku string, position int64) stockLevel {
	t.Helper()
	var level stockLevel
	require.Eventually(t, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		level = g.newest[sku]
		return level.Position == position
	}, testWithin, 5*time.Millisecond, "%s at %d", sku, position)
	return level
}

func (g *hearer) answer(status func() int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status = status
}

// telling is a runner of the stock that tells.
func (h *house) telling() *Runner {
	h.t.Helper()
	hooks, err := NewHooks(HooksConfig{Guard: loopback()})
	require.NoError(h.t, err)
	told := &teller{pool: h.aux, hooks: hooks, logger: slog.New(slog.DiscardHandler), now: time.Now}
	return h.runner(quick(), &Stock{beside: []func(context.Context){told.run}})
}

func (h *house) stockDesk() *desk {
	h.t.Helper()
	guard, err := webhook.NewGuard(loopback())
	require.NoError(h.t, err)
	return h.desk(stockWebhookRoutes(RouteDeps{Pool: h.aux, Guard: guard, Now: time.Now})...)
}

func (d *desk) hook(body string, status int) stockWebhookDocument {
	d.h.t.Helper()
	got, answer := d.ask("user", http.MethodPut, stockWebhookPath, body)
	require.Equal(d.h.t, status, got, answer)
	var document stockWebhookDocument
	require.NoError(d.h.t, json.Unmarshal([]byte(answer), &document))
	return document
}

// A tenant's receiver hears the newest level of each SKU, signed, also where it failed at first, and nothing twice: not by a rebuild of
// the stock, nor by a process that comes after another. After 410 it hears nothing until it is asked for, and then what it has missed.
func TestAWebhookHearsOfLevels(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(product("cup", 5), product("pot", 5), product(oddSKU, 5), adjusted(events.AdjustedStock{SKU: "cup", Delta: 9}))
	r := h.telling()
	stop := start(t, r)
	h.reached(r, StockName, h.position)

	g, d := newHearer(t), h.stockDesk()
	refuse := 1
	g.answer(func() int {
		if refuse--; refuse >= 0 {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	})
	made := d.hook(`{"url":"`+g.URL+`"}`, http.StatusCreated)
	require.EqualValues(t, 4, made.Position, "what was before is not told")
	g.mu.Lock()
	g.secret = made.Secret
	g.mu.Unlock()
	for range 60 {
		h.append(adjusted(events.AdjustedStock{SKU: "cup", Delta: 1}, events.AdjustedStock{SKU: oddSKU, Delta: 2}), ordered("pot", 1, 1))
	}
	assert.EqualValues(t, 69, g.level(t, "cup", 123).OnHand)
	assert.EqualValues(t, 120, g.level(t, oddSKU, 123).Available)
	pot := g.level(t, "pot", 124)
	assert.Equal(t, stockLevel{
		SKU: "pot", Name: "The pot", VendorID: "v", Reserved: 60, Available: -60, ReorderLevel: 5, TargetLevel: 10, Position: 124,
	}, pot)
	h.eventually("it is noted", nil, `SELECT position = 124 AND batch IS NULL AND failure = '' FROM stock_webhooks`)

	require.NoError(t, Rebuild(t.Context(), h.aux, NewStock()))
	h.eventually("it is at the end again", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	g.answer(func() int { return http.StatusBadGateway })
	h.append(adjusted(events.AdjustedStock{SKU: "cup", Counted: new(int64)}))
	h.eventually("it fails", nil, `SELECT failure LIKE '502%' AND batch IS NOT NULL FROM stock_webhooks`)
	stop()
	h.append(adjusted(events.AdjustedStock{SKU: "cup", Delta: 1}))
	g.answer(func() int { return http.StatusNoContent })
	start(t, h.telling()) // sends first what the other did not get through, as it was
	assert.EqualValues(t, 1, g.level(t, "cup", 126).OnHand)
	h.eventually("it is noted", nil, `SELECT position = 126 FROM stock_webhooks`)
	g.mu.Lock()
	require.Empty(t, g.faults)
	assert.GreaterOrEqual(t, g.again, 2, "what failed came again")
	assert.Less(t, len(g.bodies), 60, "changes go out together")
	assert.Contains(t, g.told, "cup@125")
	for at, times := range g.told {
		assert.Equal(t, 1, times, at)
	}
	g.mu.Unlock()

	g.answer(func() int { return http.StatusGone })
	h.append(adjusted(events.AdjustedStock{SKU: "pot", Delta: 100}))
	h.eventually("it is given up", nil, `SELECT disabled <> '' FROM stock_webhooks`)
	h.append(adjusted(events.AdjustedStock{SKU: "cup", Delta: 3}), adjusted(events.AdjustedStock{SKU: "pot", Delta: 1}))
	status, answer := d.ask("user", http.MethodGet, stockWebhookPath, "")
	require.Equal(t, http.StatusOK, status)
	assert.Contains(t, answer, `"status":"disabled","reason":"410 Gone`)
	assert.NotContains(t, answer, "secret")
	g.answer(func() int { return http.StatusNoContent })
	again := d.hook(`{"url":"`+g.URL+`","skus":["cup","pot"],"max_available":40}`, http.StatusOK)
	assert.Empty(t, again.Secret, "it is the same")
	assert.EqualValues(t, 126, again.Position)
	h.append(adjusted(events.AdjustedStock{SKU: oddSKU, Delta: 1}), adjusted(events.AdjustedStock{SKU: "cup", Delta: 1}))
	assert.EqualValues(t, 5, g.level(t, "cup", h.position).Available)
	g.mu.Lock()
	defer g.mu.Unlock()
	assert.Empty(t, g.faults)
	assert.Zero(t, g.told[fmt.Sprintf("%s@%d", oddSKU, h.position-1)], "nobody asked for it")
	assert.Zero(t, g.told[fmt.Sprintf("pot@%d", h.position-2)], "there are 41")
}

func TestStockWebhookRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.stockDesk()
	for body, wanted := range map[string]int{
		`{"url":"http://169.254.169.254/latest"}`: http.StatusUnprocessableEntity, `{"url":"https://10.0.0.1/"}`: http.StatusUnprocessableEntity,
		`{}`: http.StatusUnprocessableEntity, `{"url":"https://example.com/","tenant":"other"}`: http.StatusBadRequest,
		`{"url":"https://example.com/","skus":[""]}`: http.StatusUnprocessableEntity,
	} {
		status, answer := d.ask("user", http.MethodPut, stockWebhookPath, body)
		assert.Equal(t, wanted, status, body+answer)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		status, _ := d.ask("user", method, stockWebhookPath, "")
		assert.Equal(t, http.StatusNotFound, status)
	}
	status, _ := d.ask("ops", http.MethodGet, stockWebhookPath, "")
	assert.Equal(t, http.StatusForbidden, status, "it is the tenant's")
	assert.Zero(t, h.count(`SELECT count(*) FROM stock_webhooks`))
}
