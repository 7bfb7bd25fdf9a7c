package query

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// replenishment is the form: what is to be bought, by vendor.
type replenishment struct {
	Position int64               `json:"position"`
	Vendors  []replenishedVendor `json:"vendors"`
}

type replenishedVendor struct {
	VendorID string            `json:"vendor_id"`
	Name     string            `json:"name"`
	Lines    []replenishedLine `json:"lines"`
}

type replenishedLine struct {
	SKU          string `json:"sku" db:"sku"`
	Name         string `json:"name" db:"name"`
	Available    int64  `json:"available" db:"available"`
	OnOrder      int64  `json:"on_order" db:"on_order"`
	ReorderLevel int64  `json:"reorder_level" db:"reorder_level"`
	TargetLevel  int64  `json:"target_level" db:"target_level"`
	Quantity     int64  `json:"quantity" db:"quantity"`
}

type replenishedRow struct {
	Checkpoint int64  `db:"checkpoint"`
	Found      bool   `db:"found"`
	VendorID   string `db:"vendor_id"`
	Vendor     string `db:"vendor"`
	replenishedLine
}

// A target that is below what there is would make the quantity negative: nothing is to be bought then.
const selectReplenishment = `
SELECT c.position AS checkpoint, s.sku IS NOT NULL AS found, coalesce(s.vendor_id, '') AS vendor_id, coalesce(v.name, '') AS vendor,
    coalesce(s.sku, '') AS sku, coalesce(s.name, '') AS name, coalesce(s.on_hand - s.reserved, 0) AS available,
    coalesce(s.on_order, 0) AS on_order, coalesce(s.reorder_level, 0) AS reorder_level, coalesce(s.target_level, 0) AS target_level,
    coalesce(greatest(s.target_level - (s.on_hand - s.reserved + s.on_order), 0), 0) AS quantity
FROM (SELECT coalesce((SELECT position FROM checkpoints WHERE system = '` + stockSystem + `'), 0) AS position) c
LEFT JOIN stock s ON s.tenant = $1 AND s.listed AND NOT s.discontinued AND s.on_hand - s.reserved + s.on_order <= s.reorder_level
    AND ($2 = '' OR s.vendor_id = $2)
LEFT JOIN LATERAL (
    SELECT name FROM stock_vendors v WHERE v.vendor_id = s.vendor_id AND v.tenant IN (s.tenant, '') ORDER BY v.tenant DESC LIMIT 1
) v ON true
ORDER BY s.vendor_id, s.sku`

func (q *queries) readReplenishment(ctx context.Context, tenant, vendor string) (replenishment, error) {
	form := replenishment{Vendors: []replenishedVendor{}}
	if q.auxiliary.db == nil {
		return form, stockAway(errNoAuxiliary)
	}
	var rows []replenishedRow
	if err := sqlx.SelectContext(ctx, q.auxiliary.db, &rows, selectReplenishment, tenant, vendor); err != nil {
		return form, fmt.Errorf("read replenishment: %w", err)
	}
	for i := range rows {
		row := &rows[i]
		form.Position = row.Checkpoint
		if !row.Found {
			continue
		}
		if n := len(form.Vendors); n == 0 || form.Vendors[n-1].VendorID != row.VendorID {
			form.Vendors = append(form.Vendors, replenishedVendor{VendorID: row.VendorID, Name: row.Vendor})
		}
		last := &form.Vendors[len(form.Vendors)-1]
		last.Lines = append(last.Lines, row.replenishedLine)
	}
	return form, nil
}

func (q *queries) getReplenishment(c echo.Context, who auth.Identity) error {
	ask, err := askOf(c, who, "vendor_id")
	if err != nil {
		return err
	}
	vendor, err := one(c, "vendor_id", httpapi.ValidID)
	if err != nil {
		return err
	}
	var form replenishment
	err = q.freshStock(c, ask.wanted, func(ctx context.Context) (int64, error) {
		var err error
		form, err = q.readReplenishment(ctx, ask.tenant, vendor)
		return form.Position, err
	})
	if err != nil {
		return err
	}
	kind := accepted(c.Request().Header.Values("Accept"))
	body, err := form.as(kind)
	if err != nil {
		return err
	}
	header(c, form.Position)
	c.Response().Header().Set("Vary", "Authorization, Accept")
	if kind == mimeCSV {
		c.Response().Header().Set("Content-Disposition", `attachment; filename="replenishment.csv"`)
	}
	if kind != echo.MIMEApplicationJSON {
		kind += "; charset=utf-8"
	}
	return c.Blob(http.StatusOK, kind, body)
}

const mimeCSV = "text/csv"

// accepted is the best of the form's three faces by the Accept header: JSON unless another is liked better.
func accepted(headers []string) string {
	best, liked := echo.MIMEApplicationJSON, 0.0
	for _, header := range headers {
		for wanted := range strings.SplitSeq(header, ",") {
			kind, params, err := mime.ParseMediaType(wanted)
			if err != nil {
				continue
			}
			quality := 1.0
			if given, ok := params["q"]; ok {
				if quality, err = strconv.ParseFloat(given, 64); err != nil {
					continue
				}
			}
			switch kind {
			case echo.MIMEApplicationJSON, mimeCSV, echo.MIMETextHTML:
				if quality > liked {
					best, liked = kind, quality
				}
			}
		}
	}
	return best
}

func (f *replenishment) as(kind string) ([]byte, error) {
	var b bytes.Buffer
	var err error
	switch kind {
	case mimeCSV:
		err = f.csv(&b)
	case echo.MIMETextHTML:
		err = replenishmentPage.Execute(&b, f)
	default:
		return json.Marshal(f)
	}
	if err != nil {
		return nil, fmt.Errorf("write replenishment: %w", err)
	}
	return b.Bytes(), nil
}

// csv is RFC 4180, a line a product.
func (f *replenishment) csv(b *bytes.Buffer) error {
	w := csv.NewWriter(b)
	w.UseCRLF = true
	rows := [][]string{{
		"vendor_id", "vendor", "sku", "name", "available", "on_order", "reorder_level", "target_level", "quantity",
	}}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, v := range f.Vendors {
		for _, l := range v.Lines {
			rows = append(rows, []string{
				inert(v.VendorID), inert(v.Name), inert(l.SKU), inert(l.Name), number(l.Available), number(l.OnOrder),
				number(l.ReorderLevel), number(l.TargetLevel), number(l.Quantity),
			})
		}
	}
	return w.WriteAll(rows)
}

// inert keeps a spreadsheet from taking text for a formula.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

//nolint:gochecknoglobals // a template that nothing changes
var replenishmentPage = template.Must(template.New("replenishment").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Replenishment at {{.Position}}</title>
<style>
body { font: 14px/1.4 system-ui, "Noto Sans", "Noto Sans CJK SC", "Noto Naskh Arabic", sans-serif; margin: 2rem; color: #111; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; } thead { display: table-header-group; }
th, td { border-bottom: 1px solid #bbb; padding: .25rem .5rem; text-align: start; vertical-align: top; overflow-wrap: anywhere; }
.n { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; } .q { font-weight: 700; }
tr { break-inside: avoid; } section { break-inside: auto; }
@page { margin: 15mm; } @media print { body { margin: 0; font-size: 11px; } }
</style>
</head>
<body>
<h1>Replenishment</h1>
<p>As of position {{.Position}}.{{if not .Vendors}} Nothing is to be bought.{{end}}</p>
{{range .Vendors}}<section>
<h2><bdi>{{if .Name}}{{.Name}}{{else if .VendorID}}{{.VendorID}}{{else}}Without a vendor{{end}}</bdi></h2>
{{if and .Name .VendorID}}<p>Vendor <bdi>{{.VendorID}}</bdi></p>{{end}}
<table>
<thead><tr><th>SKU</th><th>Name</th><th class="n">Available</th><th class="n">On order</th><th class="n">Reorder level</th><th class="n">Target level</th><th class="n">Quantity</th></tr></thead>
<tbody>
{{range .Lines}}<tr><td><bdi>{{.SKU}}</bdi></td><td><bdi>{{.Name}}</bdi></td><td class="n">{{.Available}}</td><td class="n">{{.OnOrder}}</td><td class="n">{{.ReorderLevel}}</td><td class="n">{{.TargetLevel}}</td><td class="n q">{{.Quantity}}</td></tr>
{{end}}</tbody>
</table>
</section>
{{end}}</body>
</html>
`))
