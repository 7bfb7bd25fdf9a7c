package auxiliary

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/webhook"
)

const (
	maxPayload    = 64 << 10 // bytes of JSON without white space
	maxRecordBody = 4 * maxPayload
	maxRevision   = 1<<53 - 1 // what every JSON reader holds exactly
	maxSchema     = 1<<31 - 1
)

// Orders looks up an order that a record is about.
type Orders interface {
	// Lookup gives the order's tenant and position; fault.NotFound where there is none or where tenant, unless it is empty, is
	// not the order's.
	Lookup(ctx context.Context, id uuid.UUID, tenant string) (owner string, position int64, err error)
}

// RouteDeps is what the routes work with.
type RouteDeps struct {
	Pool   *pgxpool.Pool // the auxiliary database
	Orders Orders
	Guard  *webhook.Guard // says where webhooks may go
	Now    func() time.Time
	Keys   *customerkeys.Keys // open what is sealed in invoices; nil: nothing is
}

// Routes are the routes by which outside systems store their records, and users read what our own systems made.
func Routes(deps RouteDeps) []httpapi.Route {
	return slices.Concat(recordRoutes(deps), invoiceRoutes(deps), customerRoutes(deps), stockWebhookRoutes(deps), scheduleRoutes(deps))
}

func recordRoutes(deps RouteDeps) []httpapi.Route {
	return []httpapi.Route{{
		Method: http.MethodPut, Path: "/v1/orders/:id/auxiliary/:system/:record_id",
		Scope: auth.ScopeAuxiliaryWrite, Kinds: []auth.Kind{auth.KindAuxiliary},
		MaxBody: maxRecordBody, Handler: deps.putRecord,
	}}
}

func (d RouteDeps) putRecord(c echo.Context, who auth.Identity) error {
	record, err := readRecord(c, who)
	if err != nil {
		return err
	}
	if record.expected, err = expectedRevision(c); err != nil {
		return err
	}
	ctx := c.Request().Context()
	record.tenant, record.Position, err = d.Orders.Lookup(ctx, record.OrderID, who.Tenant)
	if err != nil {
		return err
	}
	record.UpdatedAt = d.Now().UTC().Truncate(time.Microsecond)
	stored, created, err := put(ctx, d.Pool, record)
	if err != nil {
		return storeFault(err)
	}
	body, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	httpapi.SetPosition(c, stored.Position)
	c.Response().Header().Set("ETag", httpapi.ETag(stored.Revision, ""))
	if !created {
		return c.JSONBlob(http.StatusOK, body)
	}
	c.Response().Header().Set("Location", c.Request().URL.EscapedPath())
	return c.JSONBlob(http.StatusCreated, body)
}

// expectedRevision reads If-Match: the entity tag of a record is its revision.
func expectedRevision(c echo.Context) (int64, error) {
	version, present, err := httpapi.IfMatch(c)
	switch {
	case err != nil || !present:
		return 0, err
	case version == httpapi.AnyVersion:
		return anyRevision, nil
	}
	return version, nil
}

// storeFault says what the caller may know. A record that may have been stored is safe to send again: it is the same revision.
func storeFault(err error) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, postgres.ErrOutcomeUnknown):
		return fault.Wrap(err, fault.OutcomeUnknown, "the record may have been stored, send it again").Retry(time.Second)
	case databaseAway(err):
		return fault.Wrap(err, fault.Unavailable, "the auxiliary database is away").Retry(time.Second)
	}
	return err
}

// readRecord reads path and body. The system is the token's: that a record of another cannot be written is said before any
// order is looked at, so it tells nothing of orders.
func readRecord(c echo.Context, who auth.Identity) (Record, error) {
	r := Record{SchemaVersion: 1}
	var err error
	if r.System = c.Param("system"); r.System != who.System || Reserved(r.System) {
		return r, fault.New(fault.Forbidden, "the token does not write for this system")
	}
	if r.OrderID, err = httpapi.UUIDParam(c, "id"); err != nil {
		return r, err
	}
	if r.RecordID, err = httpapi.IDParam(c, "record_id"); err != nil {
		return r, err
	}
	body, err := httpapi.ReadJSON(c, maxRecordBody)
	if err != nil {
		return r, err
	}
	var payload jsontext.Value
	d := httpapi.NewReader(body)
	given := map[string]bool{}
	d.Object(func(name string) {
		given[name] = true
		switch name {
		case "kind":
			d.Name(&r.Kind)
		case "revision":
			d.Int(&r.Revision, 1, maxRevision)
		case "schema_version":
			d.Int(&r.SchemaVersion, 1, maxSchema)
		case "payload":
			d.RawObject(&payload, maxPayload)
		default:
			d.Unknown()
		}
	})
	for _, name := range []string{"kind", "revision", "payload"} {
		d.Require(name, given[name])
	}
	if err := d.Finish(); err != nil {
		return r, err
	}
	r.Payload = payload
	// The order of members and the spelling of strings say nothing; numbers are left as they are, with all their digits.
	if err := r.Payload.Format(jsontext.ReorderRawObjects(true)); err != nil {
		return r, fmt.Errorf("normalise payload: %w", err)
	}
	return r, nil
}
