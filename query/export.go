package query

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	exportWithin  = 15 * time.Minute // of a whole export, during which its snapshot lives
	exportsAtOnce = 2                // on one node: each has a connection to the read database for as long as it lasts
)

// exportFormat is a form in which orders are exported.
type exportFormat struct {
	name, mediaType string
	encode          func(w io.Writer) (orderEncoder, error)
}

// orderEncoder writes order documents in a format. Close ends the file, and must not be called after an error.
type orderEncoder interface {
	Encode(document []byte) error
	Close() error
}

func exportFormats() []exportFormat {
	return []exportFormat{
		{"ndjson", "application/x-ndjson", newNDJSON},
		{"csv", "text/csv; charset=utf-8", newCSV},
		{"parquet", "application/vnd.apache.parquet", newParquet},
	}
}

// formatOf reads ?format=, or the first format that Accept names; NDJSON where neither says.
func formatOf(c echo.Context) (exportFormat, error) {
	formats := exportFormats()
	if c.QueryParams().Has("format") {
		for _, f := range formats {
			if f.name == c.QueryParam("format") {
				return f, nil
			}
		}
		return exportFormat{}, fault.New(fault.BadParameter, "format must be ndjson, csv or parquet")
	}
	for _, header := range c.Request().Header.Values("Accept") {
		for accepted := range strings.SplitSeq(header, ",") {
			accepted, _, err := mime.ParseMediaType(accepted)
			if err != nil {
				continue
			}
			for _, f := range formats {
				if of, _, _ := strings.Cut(f.mediaType, ";"); of == accepted {
					return f, nil
				}
			}
		}
	}
	return formats[0], nil
}

// exportOrders streams all orders of a filter as they are at one position.
func (q *queries) exportOrders(c echo.Context, who auth.Identity) error {
	format, err := formatOf(c)
	if err != nil {
		return err
	}
	f, err := filterFor(c, who, "sort", "format")
	if err != nil {
		return err
	}
	f = q.marked(f)
	s, err := sortingOf(c)
	if err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	select {
	case q.exports <- struct{}{}:
		defer func() { <-q.exports }()
	default:
		return fault.New(fault.Overloaded, "this node is busy with other exports").Retry(exportRetry)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), exportWithin)
	defer cancel()
	return httpapi.CutOff(q.export(ctx, c, format, f, s, w))
}

// exportRetry is when somebody who met two exports may ask again.
const exportRetry = 10 * time.Second

func (q *queries) export(ctx context.Context, c echo.Context, format exportFormat, f filter, s sorting, w wanted) error {
	var snap *frozen
	defer func() { snap.end() }()
	err := q.fresh(c, w, listTimeout, f.views(), func(context.Context) (int64, error) {
		snap.end()
		var err error
		if snap, err = q.freeze(ctx, f.views()); err != nil {
			return 0, err
		}
		return snap.position, nil
	})
	if err != nil {
		return err
	}
	header(c, snap.position)
	out, err := httpapi.StartDownload(c, format.mediaType, fmt.Sprintf("orders-%d.%s", snap.position, format.name))
	if err != nil {
		return err
	}
	encoder, err := format.encode(out)
	if err != nil {
		return err
	}
	count := int64(0)
	err = snap.orders(ctx, f, s, func(document []byte) error {
		count++
		return encoder.Encode(document)
	})
	if err != nil {
		return unavailable(c.Request().Context(), err)
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	return out.Finish(count)
}

// exportRoute is the route of exports.
func (q *queries) exportRoute(kinds []auth.Kind) httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/orders/export", Scope: auth.ScopeOrdersRead, Kinds: kinds, Class: httpapi.ClassExport, Handler: q.exportOrders,
	}
}
