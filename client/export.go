package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
)

// The formats of exports. NDJSON has the orders as the API answers them, one a line; CSV and Parquet have a row a line of an order, with the
// order's columns on each. All amounts are integers in minor units of the order's currency.
const (
	FormatNDJSON  = "ndjson"
	FormatCSV     = "csv"
	FormatParquet = "parquet"
)

// ErrCut says that an export ended before its end: what was read is not all.
var ErrCut = errors.New("the export was cut off")

// Export is all orders of a filter as they were at one position. It is read once and closed.
type Export struct {
	// Meta.Position is the position that all of it reflects.
	Meta Meta

	resp  *http.Response
	count int64
}

// ExportOrders begins to export the orders of a filter; PageSize of the filter does not count. Its beginning is tried again as every read is,
// a cut export is not: it ends with ErrCut. The store bounds an export to 15 minutes.
func (c *Client) ExportOrders(ctx context.Context, filter OrderFilter, format string) (*Export, error) {
	filter.PageSize = 0
	r := read("v1", "orders", "export")
	r.query = filter.query()
	r.query.Set("format", format)
	r.header.Set("Accept", "*/*")
	r.atLeast(filter.Position)
	var export *Export
	err := c.retry(ctx, func() error {
		resp, err := c.authorized(ctx, func() (*http.Request, error) { return c.newRequest(ctx, r) }) //nolint:bodyclose // Export.Close closes it
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			defer drain(resp.Body)
			return readProblem(resp, c.now())
		}
		export = &Export{Meta: readMeta(resp), resp: resp, count: -1}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("export orders: %w", err)
	}
	return export, nil
}

// Read reads the file. io.EOF means that it is whole; ErrCut that it is not.
func (e *Export) Read(p []byte) (int, error) {
	n, err := e.resp.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		// What is between may have dropped the trailer; that the answer ended as it should is enough then.
		if count, bad := strconv.ParseInt(e.resp.Trailer.Get("Order-Count"), 10, 64); bad == nil {
			e.count = count
		}
		return n, io.EOF
	case err != nil:
		return n, fmt.Errorf("%w: %w", ErrCut, err)
	}
	return n, nil
}

// Count is how many orders are in a file that was read to its end; -1 where that was not told.
func (e *Export) Count() int64 { return e.count }

// Close ends the export.
func (e *Export) Close() error { return e.resp.Body.Close() }

// ExportedOrders goes through all orders of a filter as they were at one position, in constant memory. It ends after the first error, which is
// ErrCut where orders are missing.
func (c *Client) ExportedOrders(ctx context.Context, filter OrderFilter) iter.Seq2[Order, error] {
	return func(yield func(Order, error) bool) {
		export, err := c.ExportOrders(ctx, filter, FormatNDJSON)
		if err != nil {
			yield(Order{}, err)
			return
		}
		defer func() { _ = export.Close() }()
		decoder := json.NewDecoder(bufio.NewReaderSize(export, 64<<10))
		for n := int64(0); ; n++ {
			order := Order{Meta: export.Meta}
			err := decoder.Decode(&order)
			if errors.Is(err, io.EOF) && export.count >= 0 && export.count != n {
				err = fmt.Errorf("%w: %d orders came of %d", ErrCut, n, export.count)
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(order, err) || err != nil {
				return
			}
		}
	}
}
