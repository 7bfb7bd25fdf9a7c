package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// A tenant sees its own products, its own vendors and those that are every tenant's. A vendor of its own hides one of the same id that is
// every tenant's.
const (
	selectProducts = `
SELECT c.position AS checkpoint, k.id, k.document FROM checkpoints c LEFT JOIN LATERAL (
    SELECT id, document FROM catalog WHERE kind = 'product' AND tenant = $1 AND id > $2 AND ($3 = '' OR vendor_id = $3) ORDER BY id LIMIT $4
) k ON true WHERE c.view = 'catalog' ORDER BY k.id`
	selectVendors = `
SELECT c.position AS checkpoint, k.id, k.document FROM checkpoints c LEFT JOIN LATERAL (
    SELECT DISTINCT ON (id) id, document FROM (
        (SELECT id, tenant, document FROM catalog WHERE kind = 'vendor' AND tenant = $1 AND id > $2 ORDER BY id LIMIT $4)
        UNION ALL
        (SELECT id, tenant, document FROM catalog WHERE kind = 'vendor' AND tenant = '' AND id > $2 ORDER BY id LIMIT $4)
    ) both_kinds WHERE $3 = '' ORDER BY id, tenant DESC LIMIT $4
) k ON true WHERE c.view = 'catalog' ORDER BY k.id`
	selectProduct = `
SELECT c.position AS checkpoint, k.id, k.document FROM checkpoints c
LEFT JOIN catalog k ON k.kind = 'product' AND k.tenant = $1 AND k.id = $2 WHERE c.view = 'catalog'`
	selectVendor = `
SELECT c.position AS checkpoint, k.id, k.document FROM checkpoints c LEFT JOIN LATERAL (
    SELECT id, document FROM catalog WHERE kind = 'vendor' AND tenant IN ($1, '') AND id = $2 ORDER BY tenant DESC LIMIT 1
) k ON true WHERE c.view = 'catalog'`
	// The products of an order's lines, their vendors as they are now, and those that the lines name.
	selectOrderCatalog = `
WITH p AS (SELECT id, vendor_id, document FROM catalog WHERE kind = 'product' AND tenant = $1 AND id = ANY ($2::text[])),
v AS (
    SELECT DISTINCT ON (id) id, document FROM catalog WHERE kind = 'vendor' AND tenant IN ($1, '')
        AND id IN (SELECT vendor_id FROM p UNION SELECT unnest($3::text[])) ORDER BY id, tenant DESC
)
SELECT c.position AS checkpoint, k.kind, k.id, k.document FROM checkpoints c
LEFT JOIN (SELECT 'products' AS kind, id, document FROM p UNION ALL SELECT 'vendors', id, document FROM v) k ON true
WHERE c.view = 'catalog' ORDER BY k.kind, k.id`
)

// catalogRow is a product or a vendor, or the lack of one, with the position at which that was so.
type catalogRow struct {
	Checkpoint int64   `db:"checkpoint"`
	Kind       *string `db:"kind"`
	ID         *string `db:"id"`
	Document   []byte  `db:"document"`
}

// catalogPart is one of the two parts of the catalog.
type catalogPart struct {
	name      string
	list, one string // SQL
	param     string // of the path
}

func products() catalogPart { return catalogPart{"products", selectProducts, selectProduct, "sku"} }
func vendors() catalogPart  { return catalogPart{"vendors", selectVendors, selectVendor, "vendor_id"} }

func (q *queries) catalogRoutes(kinds []auth.Kind) []httpapi.Route {
	var routes []httpapi.Route
	for _, part := range []catalogPart{products(), vendors()} {
		path := "/v1/catalog/" + part.name
		routes = append(routes,
			httpapi.Route{Method: http.MethodGet, Path: path, Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassList, Handler: q.listCatalog(part)},
			httpapi.Route{Method: http.MethodGet, Path: path + "/:" + part.param, Scope: auth.ScopeOrdersRead, Kinds: kinds, Handler: q.getCatalog(part)})
	}
	return routes
}

// catalogTenant is whose catalog is read.
func catalogTenant(c echo.Context, who auth.Identity) (string, error) {
	own, err := scopeOf(who)
	if err != nil {
		return "", err
	}
	return tenantOf(c, own)
}

func (q *queries) listCatalog(part catalogPart) func(echo.Context, auth.Identity) error {
	return func(c echo.Context, who auth.Identity) error {
		known := []string{"tenant", "limit", "cursor"}
		if part.name == "products" {
			known = append(known, "vendor_id")
		}
		if err := onlyKnown(c, "", known...); err != nil {
			return err
		}
		tenant, err := catalogTenant(c, who)
		if err != nil {
			return err
		}
		vendor, err := one(c, "vendor_id", httpapi.ValidID)
		if err != nil {
			return err
		}
		limit, err := httpapi.LimitParam(c, defaultLimit, maxLimit)
		if err != nil {
			return err
		}
		list, owner, after := "catalog "+part.name+" "+vendor, scope{tenant: tenant}.owner(), ""
		if err := q.openCursor(c, list, owner, &after); err != nil {
			return err
		}
		w, err := wantedOf(c)
		if err != nil {
			return err
		}
		var rows []catalogRow
		seen, err := q.readCatalog(c, w, listTimeout, &rows, part.list, tenant, after, vendor, limit+1)
		if err != nil {
			return err
		}
		items, next := [][]byte{}, ""
		for _, row := range rows {
			switch {
			case row.ID == nil:
			case len(items) == limit:
				next = q.cfg.Cursor.Seal(list, owner, after)
			default:
				items, after = append(items, row.Document), *row.ID
			}
		}
		return answerTagged(c, seen, listBody(items, next))
	}
}

// readCatalog reads rows once the catalog is where the request wants it.
func (q *queries) readCatalog(c echo.Context, w wanted, limit time.Duration, rows *[]catalogRow, sql string, args ...any) (int64, error) {
	seen := int64(0)
	err := q.fresh(c, w, limit, []string{viewCatalog}, q.catalogRead(&seen, rows, sql, args...))
	return seen, err
}

func (q *queries) catalogRead(seen *int64, rows *[]catalogRow, sql string, args ...any) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		*rows = nil
		if err := sqlx.SelectContext(ctx, q.db, rows, sql, args...); err != nil {
			return 0, fmt.Errorf("read catalog: %w", err)
		}
		if len(*rows) > 0 {
			*seen = (*rows)[0].Checkpoint
		}
		return *seen, nil
	}
}

// answerTagged answers a body with a tag made of it, or 304 where the client has it.
func answerTagged(c echo.Context, seen int64, body []byte) error {
	header(c, seen)
	sum := sha256.Sum256(body)
	if httpapi.NotModified(c, `"`+hex.EncodeToString(sum[:12])+`"`) {
		return nil
	}
	return answer(c, seen, body)
}

func (q *queries) getCatalog(part catalogPart) func(echo.Context, auth.Identity) error {
	return func(c echo.Context, who auth.Identity) error {
		if err := onlyKnown(c, "", "tenant"); err != nil {
			return err
		}
		id, err := url.PathUnescape(c.Param(part.param))
		if err != nil {
			return noEntry()
		}
		tenant, err := catalogTenant(c, who)
		if err != nil {
			return err
		}
		w, err := wantedOf(c)
		if err != nil {
			return err
		}
		var rows []catalogRow
		var seen int64
		read := q.catalogRead(&seen, &rows, part.one, tenant, id)
		views := []string{viewCatalog}
		if err := q.fresh(c, w, readTimeout, views, read); err != nil {
			return err
		}
		missing := func() bool { return !slices.ContainsFunc(rows, func(r catalogRow) bool { return r.ID != nil }) }
		if missing() {
			if err := q.certain(c, w, readTimeout, views, read); err != nil {
				return err
			}
		}
		header(c, seen)
		if missing() {
			return noEntry()
		}
		return answerTagged(c, seen, rows[0].Document)
	}
}

func noEntry() error { return fault.New(fault.NotFound, "there is no such entry in the catalog") }

// orderParts is what of an order the catalog is asked for.
type orderParts struct {
	Tenant string `json:"tenant"`
	Lines  []struct {
		SKU      string `json:"sku"`
		VendorID string `json:"vendor_id"`
	} `json:"lines"`
}

// catalogOf gives what the catalog has of an order's lines: {"products":{sku:{…}},"vendors":{id:{…}}}, and the position of that.
func (q *queries) catalogOf(ctx context.Context, db sqlx.QueryerContext, document []byte) ([]byte, int64, error) {
	var of orderParts
	if err := json.Unmarshal(document, &of); err != nil {
		return nil, 0, fmt.Errorf("lines of the order: %w", err)
	}
	skus, named := make([]string, 0, len(of.Lines)), []string{}
	for _, line := range of.Lines {
		skus = append(skus, line.SKU)
		if line.VendorID != "" {
			named = append(named, line.VendorID)
		}
	}
	var rows []catalogRow
	if err := sqlx.SelectContext(ctx, db, &rows, selectOrderCatalog, of.Tenant, skus, named); err != nil {
		return nil, 0, fmt.Errorf("read catalog: %w", err)
	}
	seen := int64(0)
	parts := map[string][]disclose.Member{}
	for _, row := range rows {
		seen = row.Checkpoint
		if row.ID != nil {
			parts[*row.Kind] = append(parts[*row.Kind], disclose.Member{Name: *row.ID, Value: row.Document})
		}
	}
	return disclose.Object([]disclose.Member{
		{Name: "products", Value: disclose.Object(parts["products"])}, {Name: "vendors", Value: disclose.Object(parts["vendors"])},
	}), seen, nil
}
