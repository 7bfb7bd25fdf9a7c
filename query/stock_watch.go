package query

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	stockLook   = 30 * time.Millisecond // between a watcher's looks
	stockShared = 20 * time.Millisecond // one look at the database serves all watchers for so long
	stockQuiet  = 15 * time.Second      // between comments on a stream that has nothing to say
	stockBatch  = 500                   // levels read at a time
)

// stockEnd is the position of the last change of any stock, as it was a moment ago. All watchers share one look at it.
type stockEnd struct {
	mu       sync.Mutex
	looked   time.Time
	position int64
}

const selectStockEnd = `SELECT coalesce(max(position), 0) FROM stock WHERE listed OR adjusted`

func (q *queries) stockMovedTo(ctx context.Context) (int64, error) {
	end := &q.stockEnd
	end.mu.Lock()
	defer end.mu.Unlock()
	if q.cfg.Now().Sub(end.looked) < stockShared {
		return end.position, nil
	}
	// Of all tenants, since all watchers share it: it tells them when to look, not what they see.
	within, cancel := context.WithTimeout(postgres.WithScope(ctx, postgres.Everything()), readTimeout)
	defer cancel()
	if err := q.auxiliary.db.GetContext(within, &end.position, selectStockEnd); err != nil {
		return 0, fmt.Errorf("read the end of the stock: %w", err)
	}
	end.looked = q.cfg.Now()
	return end.position, nil
}

// stockWatch is one client that follows levels.
type stockWatch struct {
	q           *queries
	sse         *httpapi.SSE
	tenant, sku string // sku empty: all
	// What was sent: all changes before the position next, and those at it up to the SKU.
	next  int64
	after string
}

// watchStock sends levels as they change, each with the position of its change as its id. Who comes with Last-Event-ID, or after=,
// hears what changed since; others hear first how things stand.
func (q *queries) watchStock(c echo.Context, who auth.Identity) error {
	ask, err := askOf(c, who, "after")
	if err != nil {
		return err
	}
	w := &stockWatch{q: q, tenant: ask.tenant}
	if c.Param("sku") != "" {
		if w.sku, err = skuParam(c); err != nil {
			return err
		}
		page, err := q.oneStock(c, ask, w.sku)
		if err != nil {
			return err
		}
		if len(page.items) == 0 {
			return fault.New(fault.NotFound, "there is no such stock")
		}
	}
	seen, err := watchedTo(c)
	if err != nil {
		return err
	}
	w.next = seen + 1
	first, err := w.read(c.Request().Context())
	if err != nil {
		return stockFault(c.Request().Context(), err)
	}
	header(c, first.seen)
	if w.sse, err = httpapi.Stream(c); err != nil {
		return nil //nolint:nilerr // the client is gone
	}
	if err := w.send(first); err == nil {
		w.follow(c.Request().Context())
	}
	return nil
}

func watchedTo(c echo.Context) (int64, error) {
	raw := c.Request().Header.Get("Last-Event-ID")
	if raw == "" {
		raw = c.QueryParam("after")
	}
	if raw == "" {
		return 0, nil
	}
	position, err := strconv.ParseInt(raw, 10, 64)
	if err != nil || position < 0 {
		return 0, fault.New(fault.BadParameter, "Last-Event-ID must be a position")
	}
	return position, nil
}

// follow sends changes until the client is gone. A database that is away is waited for: the client keeps its stream.
func (w *stockWatch) follow(ctx context.Context) {
	spoken := time.Now()
	for ctx.Err() == nil {
		moved, err := w.q.stockMovedTo(ctx)
		switch {
		case err != nil:
			pause(ctx, pollTrouble)
		case moved >= w.next:
			page, err := w.read(ctx)
			if err != nil {
				pause(ctx, pollTrouble)
				continue
			}
			if len(page.items) > 0 {
				spoken = time.Now()
			}
			if w.send(page) != nil {
				return
			}
			if len(page.items) == stockBatch {
				continue
			}
			w.next, w.after = max(w.next, moved)+1, ""
		}
		if time.Since(spoken) > stockQuiet {
			if w.sse.Comment() != nil {
				return
			}
			spoken = time.Now()
		}
		pause(ctx, stockLook)
	}
}

func (w *stockWatch) read(ctx context.Context) (stockPage, error) {
	within, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return w.q.readStock(within, selectStockChanges, w.tenant, w.sku, w.next, w.after, stockBatch)
}

// send writes a page. Of several changes at one position only the last has the id: who comes back with it has seen them all.
func (w *stockWatch) send(page stockPage) error {
	for i := range page.items {
		item := &page.items[i]
		data, err := json.Marshal(item)
		if err != nil {
			return fmt.Errorf("encode stock: %w", err)
		}
		id := ""
		last := i == len(page.items)-1
		if last && len(page.items) < stockBatch || !last && page.items[i+1].Position > item.Position {
			id = strconv.FormatInt(item.Position, 10)
		}
		if err := w.sse.Add(id, "stock", data); err != nil {
			return err
		}
		w.next, w.after = item.Position, item.SKU
	}
	return w.sse.Flush()
}
