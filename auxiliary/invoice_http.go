package auxiliary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	"github.com/munnerz/goautoneg"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

const (
	mediaJSON = "application/json"
	mediaHTML = "text/html"
	mediaPDF  = "application/pdf"

	// A page of text and figures: nothing in it runs or is fetched.
	invoicePolicy = "default-src 'none'; style-src 'unsafe-inline'"

	reachedWait = 2 * time.Second
	reachedLook = 25 * time.Millisecond
)

// invoiceRoutes are the routes by which users read invoices.
func invoiceRoutes(deps RouteDeps) []httpapi.Route {
	printer := &invoicePrinter{RouteDeps: deps, faces: loadTypefaces(), page: sync.OnceValues(parseInvoiceTemplate)}
	route := func(path, record string) httpapi.Route {
		return httpapi.Route{
			Method: http.MethodGet, Path: path, Scope: auth.ScopeOrdersRead, Kinds: []auth.Kind{auth.KindUser},
			Handler: func(c echo.Context, who auth.Identity) error { return printer.answer(c, who, record) },
		}
	}
	return []httpapi.Route{
		route("/v1/orders/:id/invoice", invoiceRecord),
		route("/v1/orders/:id/credit-note", creditRecord),
	}
}

// invoicePrinter gives invoices in the form that is asked for. HTML and PDF are made anew each time: they follow from the record.
type invoicePrinter struct {
	RouteDeps
	faces func() (typefaces, error)
	page  func() (*template.Template, error)
}

// Of several credit notes it is the last, unless one is asked for by its number.
const selectInvoice = `
SELECT payload, position FROM records
WHERE order_id = $1 AND system = $2 AND kind = $3 AND tenant = $4 AND ($5 = '' OR convert_from(payload, 'UTF8')::jsonb ->> 'number' = $5)
ORDER BY position DESC LIMIT 1`

func (p *invoicePrinter) answer(c echo.Context, who auth.Identity, record string) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := reached(c, p.RouteDeps, InvoiceName); err != nil {
		return err
	}
	payload, position, err := p.find(ctx, id, record, who.Tenant, c.QueryParam("number"))
	if err != nil {
		return err
	}
	httpapi.SetPosition(c, position)
	media := acceptable(c.Request(), mediaJSON, mediaHTML, mediaPDF)
	head := c.Response().Header()
	head.Set("Vary", "Accept")
	head.Set("Cache-Control", "private, no-cache")
	sum := sha256.Sum256(append([]byte(media+"\n"), payload...))
	if httpapi.NotModified(c, `"`+hex.EncodeToString(sum[:12])+`"`) {
		return nil
	}
	if media == mediaJSON {
		return c.JSONBlob(http.StatusOK, payload)
	}
	v, err := decodeInvoice(payload)
	if err != nil {
		return err
	}
	if media == mediaHTML {
		head.Set("Content-Security-Policy", invoicePolicy)
		t, err := p.page()
		if err != nil {
			return err
		}
		page, err := htmlOf(t, v)
		if err != nil {
			return err
		}
		return c.HTMLBlob(http.StatusOK, page)
	}
	faces, err := p.faces()
	if err != nil {
		return err
	}
	document, err := pdfOf(v, faces)
	if err != nil {
		return err
	}
	head.Set("Content-Disposition", `inline; filename="`+v.Number+`.pdf"`)
	return c.Blob(http.StatusOK, mediaPDF, document)
}

// find reads an order's invoice or credit note. Another tenant's order, none, and one without are the same.
func (p *invoicePrinter) find(ctx context.Context, id uuid.UUID, record, tenant, number string) (payload []byte, position int64, err error) {
	err = p.Pool.QueryRow(ctx, selectInvoice, id, InvoiceName, record, tenant, number).Scan(&payload, &position)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, 0, fault.New(fault.NotFound, "there is no such %s", strings.ReplaceAll(record, "_", " "))
	case err != nil:
		return nil, 0, storeFault(fmt.Errorf("read %s: %w", record, err))
	}
	payload, became := p.Keys.Open(ctx, payload)
	if became == customerkeys.Away {
		return nil, 0, fault.Wrap(errKeysAway, fault.Unavailable, "the customer's name cannot be read at the moment").Retry(reachedWait)
	}
	return payload, position, nil
}

// acceptable gives what the caller likes best of what there is; the first where it does not say or likes nothing.
func acceptable(r *http.Request, media ...string) string {
	wanted := strings.Join(r.Header.Values("Accept"), ",")
	if wanted == "" {
		return media[0]
	}
	if best := goautoneg.Negotiate(wanted, media); best != "" {
		return best
	}
	return media[0]
}

// reached waits until a system is where the caller wants the answer to be.
func reached(c echo.Context, deps RouteDeps, system string) error {
	wanted, err := httpapi.PositionParam(c)
	if err != nil || wanted == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), reachedWait)
	defer cancel()
	for {
		cp, err := scanCheckpoint(deps.Pool.QueryRow(ctx, selectCheckpoint, system))
		switch {
		case err == nil && cp.position >= wanted:
			return nil
		case err != nil && !errors.Is(err, pgx.ErrNoRows) && ctx.Err() == nil:
			return storeFault(fmt.Errorf("read position: %w", err))
		}
		if pause(ctx, reachedLook); ctx.Err() != nil {
			return fault.New(fault.NotReached, "%s has not reached position %d", system, wanted).Retry(time.Second)
		}
	}
}
