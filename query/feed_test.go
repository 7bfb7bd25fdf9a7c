package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

// history is when each order got its versions, as another process projects them.
type history struct {
	w  *world
	mu sync.Mutex
	at map[string][]int64 // the position of each version
}

// change gives orders their next versions, each at a position of its own, in one transaction.
func (h *history) change(ids ...string) error {
	h.mu.Lock()
	first := h.w.position
	for _, id := range ids {
		h.w.position++
		h.at[id] = append(h.at[id], h.w.position)
	}
	h.mu.Unlock()
	return postgres.InTx(h.w.t.Context(), h.w.read, func(tx pgx.Tx) error {
		for i, id := range ids {
			if _, err := tx.Exec(h.w.t.Context(), `
				UPDATE order_view SET version = version + 1, position = $2,
				    document = convert_to(jsonb_set(convert_from(document, 'UTF8')::jsonb, '{version}', to_jsonb(version + 1))::text, 'UTF8')
				WHERE id = $1`, id, first+int64(i)+1); err != nil {
				return err
			}
			if _, err := tx.Exec(h.w.t.Context(), `INSERT INTO timeline (position, tenant, order_id, event) VALUES ($1, 'demo', $2, '')`,
				first+int64(i)+1, id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(h.w.t.Context(), `UPDATE checkpoints SET position = $1`, first+int64(len(ids)))
		return err
	})
}

// reading is what an answer said of an order.
type reading struct {
	id                string
	version, position int64
}

// holds says whether the order had that version at that position.
func (h *history) holds(r reading) bool {
	changes := h.at[r.id]
	return changes[r.version-1] <= r.position && (int(r.version) == len(changes) || changes[r.version] > r.position)
}

// polled is the routes with a cache over a read database that another process projects to.
func polled(t *testing.T, w *world) (*httptest.Server, *OrderCache) {
	t.Helper()
	cache, err := NewOrderCache(CacheConfig{Bytes: 1 << 20})
	require.NoError(t, err)
	p := NewPoller(w.read, cache, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	cfg := w.config()
	cfg.Positions, cfg.Cache = p, cache
	return w.serve(cfg), cache
}

func ask(w *world, server *httptest.Server, id string) (reading, error) {
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, server.URL+"/v1/orders/"+id, http.NoBody)
	if err != nil {
		return reading{}, err
	}
	req.Header.Set("Authorization", "Bearer demo")
	res, err := server.Client().Do(req)
	if err != nil {
		return reading{}, err
	}
	defer res.Body.Close()
	version, err1 := strconv.ParseInt(res.Header.Get("ETag")[1:len(res.Header.Get("ETag"))-1], 10, 64)
	position, err2 := strconv.ParseInt(res.Header.Get(httpapi.HeaderPosition), 10, 64)
	return reading{id, version, position}, errors.Join(err1, err2)
}

// Orders are read through a cache on a node that only polls the checkpoints, while another process changes them: no answer is older, or
// newer, than its Order-Position says.
func TestPolledOrdersAreAsTheirPositionSays(t *testing.T) {
	t.Parallel()
	w := setup(t)
	server, cache := polled(t, w)
	h := &history{w: w, at: map[string][]int64{}}
	var ids []string
	for range 5 {
		g := w.store(given{})
		ids, h.at[g.id] = append(ids, g.id), []int64{w.position}
	}
	written := make(chan error, 1)
	go func() {
		for range 150 {
			if err := h.change(ids[rand.IntN(2)], ids[2+rand.IntN(2)]); err != nil { // the last one never changes
				written <- err
				return
			}
		}
		written <- nil
	}()
	readings := make([][]reading, 4)
	stop := make(chan struct{})
	var readers errorsOf
	for i := range readings {
		readers.do(func() error {
			for n := i; ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				r, err := ask(w, server, ids[n%len(ids)])
				if err != nil {
					return err
				}
				readings[i] = append(readings[i], r)
			}
		})
	}
	require.NoError(t, <-written)
	close(stop)
	require.NoError(t, readers.wait())
	for _, r := range slices.Concat(readings...) {
		require.True(t, h.holds(r), "%v of %v", r, h.at[r.id])
	}
	require.Positive(t, cache.hits.Load())
}

// errorsOf is a group of goroutines and what went wrong in them.
type errorsOf struct {
	group sync.WaitGroup
	mu    sync.Mutex
	errs  []error
}

func (e *errorsOf) do(what func() error) {
	e.group.Go(func() {
		err := what()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.errs = append(e.errs, err)
	})
}

func (e *errorsOf) wait() error {
	e.group.Wait()
	return errors.Join(e.errs...)
}

// Whatever happens to the read database that no event tells of, what was kept is not answered any more.
func TestCacheIsDroppedWithTheGroundUnderIt(t *testing.T) {
	t.Parallel()
	w := setup(t)
	server, cache := polled(t, w)
	g := w.store(given{})
	w.reach(10)
	silently := func(version int, how string) {
		t.Helper()
		hits := cache.hits.Load()
		w.until("the order is answered from memory", func() bool {
			w.getFrom(server, "demo", "/v1/orders/"+g.id).is(http.StatusOK)
			return cache.hits.Load() > hits
		})
		w.exec(w.read, fmt.Sprintf(`WITH at AS (%s) UPDATE order_view SET version = $1 WHERE id = $2`, how), version, g.id)
		w.until(how, func() bool {
			return w.getFrom(server, "demo", "/v1/orders/"+g.id).header.Get("ETag") == fmt.Sprintf(`"%d"`, version)
		})
	}
	silently(2, `UPDATE checkpoints SET generation = generation + 1 WHERE view = 'order_view'`) // a rebuild
	silently(3, `UPDATE checkpoints SET position = position - 1`)                               // it lost its last commit
	silently(4, `UPDATE checkpoints SET digest = decode(repeat('11', 32), 'hex')`)              // another log
	silently(5, `UPDATE checkpoints SET position = position + 1`)                               // an event that is not there
	silently(6, `UPDATE checkpoints SET position = position + 100000`)                          // too many to look through
	silently(7, `UPDATE checkpoints SET position = 0 WHERE view = 'timeline'`)                  // what tells of changes is emptied
}

// What one party's request has put into memory is not another's to see.
func TestCachedOrdersAreStillTheirTenants(t *testing.T) {
	t.Parallel()
	w := setup(t)
	server, cache := polled(t, w)
	g := w.store(given{tasks: []givenTask{{newID(t), "acme", "offered"}}})
	w.until("the order is kept", func() bool {
		w.getFrom(server, "demo", "/v1/orders/"+g.id+"?position=1").is(http.StatusOK)
		return cache.hits.Load() > 0
	})
	hits := cache.hits.Load()
	w.getFrom(server, "other", "/v1/orders/"+g.id).problem(http.StatusNotFound, fault.NotFound)
	w.getFrom(server, "beta", "/v1/orders/"+g.id).problem(http.StatusNotFound, fault.NotFound)
	require.NotContains(t, string(w.getFrom(server, "acme", "/v1/orders/"+g.id).is(http.StatusOK).body), "beta")
	require.Contains(t, string(w.getFrom(server, "demo", "/v1/orders/"+g.id).is(http.StatusOK).body), "beta")
	require.Greater(t, cache.hits.Load(), hits, "they were answered from memory")
}

func (w *world) until(what string, reached func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not in time: %s", what)
		}
	}
}
