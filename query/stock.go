package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// stockSystem is the auxiliary system whose checkpoint says how fresh the stock is.
const stockSystem = "stock"

const maxSKU = 128 // characters

// stockItem is a product's level as it is answered.
type stockItem struct {
	SKU          string `json:"sku" db:"sku"`
	Name         string `json:"name" db:"name"`
	VendorID     string `json:"vendor_id" db:"vendor_id"`
	OnHand       int64  `json:"on_hand" db:"on_hand"`
	Reserved     int64  `json:"reserved" db:"reserved"`
	Available    int64  `json:"available" db:"available"`
	OnOrder      int64  `json:"on_order" db:"on_order"`
	ReorderLevel int64  `json:"reorder_level" db:"reorder_level"`
	TargetLevel  int64  `json:"target_level" db:"target_level"`
	Position     int64  `json:"position" db:"position"` // of the event that last changed it
}

// stockRow is an item, or the lack of one, with the checkpoint of the same moment.
type stockRow struct {
	Checkpoint int64 `db:"checkpoint"`
	Found      *bool `db:"found"`
	stockItem
}

// Items that are neither in the catalog nor were ever adjusted are nobody's stock: rooms of a hotel, for one.
const selectStock = `
SELECT c.position AS checkpoint, s.found, coalesce(s.sku, '') AS sku, coalesce(s.name, '') AS name, coalesce(s.vendor_id, '') AS vendor_id,
    coalesce(s.on_hand, 0) AS on_hand, coalesce(s.reserved, 0) AS reserved, coalesce(s.on_hand - s.reserved, 0) AS available,
    coalesce(s.on_order, 0) AS on_order, coalesce(s.reorder_level, 0) AS reorder_level, coalesce(s.target_level, 0) AS target_level,
    coalesce(s.position, 0) AS position
FROM (SELECT coalesce((SELECT position FROM checkpoints WHERE system = '` + stockSystem + `'), 0) AS position) c
LEFT JOIN LATERAL (
    SELECT true AS found, * FROM stock s WHERE s.tenant = $1 AND (s.listed OR s.adjusted)`

const (
	selectOneStock  = selectStock + ` AND s.sku = $2) s ON true`
	selectStockPage = selectStock + ` AND s.sku > $2 AND ($3 = '' OR s.vendor_id = $3)
        AND (NOT $4 OR (s.listed AND NOT s.discontinued AND s.on_hand - s.reserved + s.on_order <= s.reorder_level))
    ORDER BY s.sku LIMIT $5) s ON true ORDER BY s.sku`
	selectStockChanges = selectStock + ` AND ($2 = '' OR s.sku = $2) AND (s.position, s.sku) > ($3, $4)
    ORDER BY s.position, s.sku LIMIT $5) s ON true ORDER BY s.position, s.sku`
)

// stockPage is some items and the position that they reflect.
type stockPage struct {
	seen  int64
	items []stockItem
}

func (q *queries) readStock(ctx context.Context, sql string, args ...any) (stockPage, error) {
	if q.auxiliary.db == nil {
		return stockPage{}, stockAway(errNoAuxiliary)
	}
	var rows []stockRow
	if err := sqlx.SelectContext(ctx, q.auxiliary.db, &rows, sql, args...); err != nil {
		return stockPage{}, fmt.Errorf("read stock: %w", err)
	}
	page := stockPage{items: make([]stockItem, 0, len(rows))}
	for i := range rows {
		page.seen = rows[i].Checkpoint
		if rows[i].Found != nil {
			page.items = append(page.items, rows[i].stockItem)
		}
	}
	return page, nil
}

func stockAway(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, "the auxiliary database is away").Retry(retryAfter)
}

// stockFault tells which database is away, where one is.
func stockFault(ctx context.Context, err error) error {
	if err = unavailable(ctx, err); fault.CodeOf(err) == fault.Unavailable {
		return stockAway(err)
	}
	return err
}

// freshStock reads until the stock is where the request wants it. The read itself tells where that is.
func (q *queries) freshStock(c echo.Context, w wanted, read func(ctx context.Context) (int64, error)) error {
	ctx := c.Request().Context()
	waiting, cancel := context.WithTimeout(ctx, w.within)
	defer cancel()
	for {
		seen, err := q.timed(ctx, listTimeout, read)
		if err != nil || seen >= w.position {
			return stockFault(ctx, err)
		}
		if pause(waiting, recheck); waiting.Err() != nil {
			return notReached(stockSystem, w.position, seen)
		}
	}
}

// stockTenant is whose stock is asked for. A system that belongs to no tenant has to name one.
func stockTenant(c echo.Context, who auth.Identity) (string, error) {
	named := c.QueryParam("tenant")
	switch {
	case who.Tenant == "" && who.Kind == auth.KindUser:
		return "", fault.New(fault.Forbidden, "the client belongs to nobody")
	case who.Tenant != "" && named != "" && named != who.Tenant:
		return "", fault.New(fault.Forbidden, "the token is not for this tenant")
	case who.Tenant != "":
		return who.Tenant, nil
	case !httpapi.ValidID(named):
		return "", fault.New(fault.BadParameter, "tenant has to say whose stock is meant")
	}
	return named, nil
}

// stockAsk is what every read of the stock is asked with.
type stockAsk struct {
	tenant string
	wanted
}

func askOf(c echo.Context, who auth.Identity, known ...string) (stockAsk, error) {
	var ask stockAsk
	if err := onlyKnown(c, "", append(known, "tenant")...); err != nil {
		return ask, err
	}
	var err error
	if ask.tenant, err = stockTenant(c, who); err != nil {
		return ask, err
	}
	ask.wanted, err = wantedOf(c)
	return ask, err
}

func skuParam(c echo.Context) (string, error) {
	sku, err := url.PathUnescape(c.Param("sku"))
	if err != nil || sku == "" || !utf8.ValidString(sku) || utf8.RuneCountInString(sku) > maxSKU {
		return "", fault.InvalidFields([]fault.Field{{Pointer: "/sku", Detail: "must have 1 to 128 characters"}})
	}
	return sku, nil
}

func (q *queries) getStock(c echo.Context, who auth.Identity) error {
	ask, err := askOf(c, who)
	if err != nil {
		return err
	}
	sku, err := skuParam(c)
	if err != nil {
		return err
	}
	page, err := q.oneStock(c, ask, sku)
	if err != nil {
		return err
	}
	header(c, page.seen)
	if len(page.items) == 0 {
		return fault.New(fault.NotFound, "there is no such stock")
	}
	if httpapi.NotModified(c, httpapi.ETag(page.items[0].Position, "")) {
		return nil
	}
	body, err := json.Marshal(page.items[0])
	if err != nil {
		return fmt.Errorf("encode stock: %w", err)
	}
	return answer(c, page.seen, body)
}

// oneStock reads an item. That there is none is said once all that was in the log is in the stock, unless the client named a
// position.
func (q *queries) oneStock(c echo.Context, ask stockAsk, sku string) (stockPage, error) {
	var page stockPage
	read := func(ctx context.Context) (int64, error) {
		var err error
		page, err = q.readStock(ctx, selectOneStock, ask.tenant, sku)
		return page.seen, err
	}
	if err := q.freshStock(c, ask.wanted, read); err != nil || len(page.items) > 0 || ask.position > 0 {
		return page, err
	}
	end, err := q.cfg.End(c.Request().Context())
	if err != nil {
		return page, fault.Wrap(err, fault.Unavailable, "it cannot be told now whether this exists").Retry(retryAfter)
	}
	ask.position = end
	return page, q.freshStock(c, ask.wanted, read)
}

func (q *queries) listStock(c echo.Context, who auth.Identity) error {
	ask, err := askOf(c, who, "limit", "cursor", "vendor_id", "below_reorder")
	if err != nil {
		return err
	}
	vendor, err := one(c, "vendor_id", httpapi.ValidID)
	if err != nil {
		return err
	}
	below, err := one(c, "below_reorder", func(s string) bool { return s == "true" || s == "false" })
	if err != nil {
		return err
	}
	limit, err := httpapi.LimitParam(c, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	list, after := "stock "+vendor+" "+below, ""
	if err := q.openCursor(c, list, "tenant "+ask.tenant, &after); err != nil {
		return err
	}
	var page stockPage
	err = q.freshStock(c, ask.wanted, func(ctx context.Context) (int64, error) {
		var err error
		page, err = q.readStock(ctx, selectStockPage, ask.tenant, after, vendor, below == "true", limit+1)
		return page.seen, err
	})
	if err != nil {
		return err
	}
	next := ""
	if len(page.items) > limit {
		page.items = page.items[:limit]
		next = q.cfg.Cursor.Seal(list, "tenant "+ask.tenant, page.items[limit-1].SKU)
	}
	items := make([][]byte, len(page.items))
	for i := range page.items {
		if items[i], err = json.Marshal(page.items[i]); err != nil {
			return fmt.Errorf("encode stock: %w", err)
		}
	}
	return answer(c, page.seen, listBody(items, next))
}

// stockRoutes are the reads of the auxiliary system stock.
func (q *queries) stockRoutes() []httpapi.Route {
	parties := []auth.Kind{auth.KindUser, auth.KindAuxiliary}
	route := func(path string, class httpapi.Class, h httpapi.Handler) httpapi.Route {
		return httpapi.Route{Method: http.MethodGet, Path: path, Scope: auth.ScopeOrdersRead, Kinds: parties, Class: class, Handler: h}
	}
	return []httpapi.Route{
		route("/v1/stock", httpapi.ClassList, q.listStock),
		route("/v1/stock/watch", httpapi.ClassStream, q.watchStock),
		route("/v1/stock/:sku", httpapi.ClassRead, q.getStock),
		route("/v1/stock/:sku/watch", httpapi.ClassStream, q.watchStock),
		route("/v1/replenishment", httpapi.ClassList, q.getReplenishment),
	}
}
