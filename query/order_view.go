package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/customerkeys"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// orderRow is an order, or the lack of one, with the position at which that was so.
type orderRow struct {
	Checkpoint int64      `db:"checkpoint"`
	Tenant     *string    `db:"tenant"`
	Version    *int64     `db:"version"` // nil: there is no such order
	Position   *int64     `db:"position"`
	UpdatedAt  *time.Time `db:"updated_at"`
	Document   []byte     `db:"document"`
}

const selectOrder = `
SELECT c.position AS checkpoint, v.tenant, v.version, v.position, v.updated_at, v.document
FROM checkpoints c LEFT JOIN order_view v ON v.id = $1
WHERE c.view = 'order_view'`

// order is an order as the caller may see it, with what was asked to be included.
type order struct {
	found     bool
	seen      int64 // the position that all of it reflects
	version   int64
	position  int64 // of the order's last event
	updatedAt time.Time
	document  []byte
	whole     bool // the document is the stored one: its version alone identifies it
	timeline  []event
	more      bool // there are more events than were included
	catalog   []byte
}

// include is what an order's answer has besides the order.
type include struct {
	timeline, auxiliary, catalog bool
	fields                       disclose.Fields // of all of it; nil: everything
}

// stored says that the answer may be the stored document as it is.
func (i include) stored() bool {
	return !i.timeline && !i.auxiliary && !i.catalog && i.fields == nil
}

// views are those that the answer is made from. Whether a provider sees an order at all, the timeline says.
func (i include) views(s scope) []string {
	views := []string{viewOrders}
	if i.timeline || s.provider != "" {
		views = append(views, viewTimeline)
	}
	if i.catalog {
		views = append(views, viewCatalog)
	}
	return views
}

func includeOf(c echo.Context, s scope) (include, error) {
	var i include
	if c.Request().URL.RawQuery == "" {
		return i, nil
	}
	for name := range strings.SplitSeq(c.QueryParam("include"), ",") {
		switch name {
		case "":
		case "timeline":
			i.timeline = true
		case "auxiliary":
			i.auxiliary = true
		case "catalog":
			i.catalog = true
		default:
			return i, fault.New(fault.BadParameter, "include must be of timeline, auxiliary, catalog")
		}
	}
	if i.auxiliary && s.provider != "" {
		return i, fault.New(fault.Forbidden, "the records of auxiliary systems are not for providers")
	}
	if i.catalog && s.provider != "" {
		return i, fault.New(fault.Forbidden, "a tenant's catalog is not for providers")
	}
	var err error
	i.fields, err = fieldsOf(c)
	return i, err
}

// notFound is the same for what does not exist and for what belongs to somebody else.
func notFound() error { return fault.New(fault.NotFound, "there is no such order") }

func (q *queries) getOrder(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	if err := onlyKnown(c, "", "include", "fields"); err != nil {
		return err
	}
	s, err := scopeOf(who)
	if err != nil {
		return err
	}
	with, err := includeOf(c, s)
	if err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	o, err := q.keptOrder(id, s, with, w)
	if err != nil {
		return err
	}
	if o.found {
		return q.answerOrder(c, id, &o, s, with)
	}
	read := func(ctx context.Context) (int64, error) {
		var err error
		if o, err = q.readOrder(ctx, id, s, with); err != nil && away(err) {
			q.cfg.Cache.doubt()
		}
		return o.seen, err
	}
	if err := q.fresh(c, w, readTimeout, with.views(s), read); err != nil {
		return err
	}
	if !o.found {
		if err := q.certain(c, w, readTimeout, with.views(s), read); err != nil {
			return err
		}
	}
	if !o.found {
		header(c, o.seen)
		return notFound()
	}
	return q.answerOrder(c, id, &o, s, with)
}

// answerOrder answers the stored bytes where nothing was cut or added, and puts the answer together otherwise.
func (q *queries) answerOrder(c echo.Context, id uuid.UUID, o *order, s scope, with include) error {
	header(c, o.seen)
	var became customerkeys.Opened
	if o.document, became = q.cfg.Keys.Open(c.Request().Context(), o.document); became != customerkeys.Whole {
		o.whole = false // the version does not tell it from the order with its customer
	}
	body, suffix := o.document, ""
	same := body // is the same for as long as nothing of the order changes
	if !with.stored() {
		var err error
		if body, same, err = q.compose(c.Request().Context(), id, o, s, with); err != nil {
			return err
		}
		both := [][]byte{body, same} // records of auxiliary systems may name the customer too
		q.cfg.Keys.OpenAll(c.Request().Context(), both)
		body, same = both[0], both[1]
	}
	if !o.whole || !with.stored() {
		sum := sha256.Sum256(same)
		suffix = hex.EncodeToString(sum[:8])
	}
	if httpapi.NotModified(c, httpapi.ETag(o.version, suffix)) {
		return nil
	}
	return answer(c, o.seen, body)
}

// keptOrder is an order that is in memory, as fresh as is wanted. It is not found where only the database can tell.
func (q *queries) keptOrder(id uuid.UUID, s scope, with include, w wanted) (order, error) {
	if with.timeline || with.catalog {
		return order{}, nil
	}
	kept, seen, ok := q.cfg.Cache.get(id, w.position)
	if !ok {
		return order{}, nil
	}
	o := kept.order
	o.seen = seen
	return o.as(id, kept.tenant, s)
}

func (q *queries) readOrder(ctx context.Context, id uuid.UUID, s scope, with include) (order, error) {
	o, err := q.readOrderWith(ctx, id, s, with)
	if err != nil || !with.catalog || !o.found {
		return o, err
	}
	var seen int64
	o.catalog, seen, err = q.catalogOf(ctx, q.db, o.document)
	o.seen = min(o.seen, seen)
	return o, err
}

func (q *queries) readOrderWith(ctx context.Context, id uuid.UUID, s scope, with include) (order, error) {
	if with.timeline {
		return q.readWithTimeline(ctx, id, s)
	}
	epoch := q.cfg.Cache.epoch()
	var row orderRow
	err := q.cfg.Read.QueryRow(ctx, selectOrder, [16]byte(id)).
		Scan(&row.Checkpoint, &row.Tenant, &row.Version, &row.Position, &row.UpdatedAt, &row.Document)
	if err != nil {
		return order{}, fmt.Errorf("read order: %w", err)
	}
	o := row.order()
	q.cfg.Cache.read(o.seen)
	if !o.found {
		return o, nil
	}
	q.cfg.Cache.keep(epoch, id, *row.Tenant, o)
	return o.as(id, *row.Tenant, s)
}

func (q *queries) readWithTimeline(ctx context.Context, id uuid.UUID, s scope) (order, error) {
	var o order
	err := q.snapshot(ctx, func(tx *sqlx.Tx) error {
		var row orderRow
		if err := sqlx.GetContext(ctx, tx, &row, selectOrder, id.String()); err != nil {
			return fmt.Errorf("read order: %w", err)
		}
		o = row.order()
		if o.found {
			var err error
			if o, err = o.as(id, *row.Tenant, s); err != nil {
				return err
			}
		}
		page, err := readTimeline(ctx, tx, timelineQuery{order: id, scope: s, until: o.seen, limit: maxIncluded})
		if err != nil {
			return err
		}
		o.seen, o.timeline, o.more = min(o.seen, page.seen), page.events, page.more
		q.cfg.Cache.read(o.seen)
		return nil
	})
	return o, err
}

// order is what is stored, whoever asks.
func (r *orderRow) order() order {
	o := order{seen: r.Checkpoint}
	if r.Version == nil {
		return o
	}
	o.found, o.whole = true, true
	o.version, o.position, o.updatedAt, o.document = *r.Version, *r.Position, *r.UpdatedAt, r.Document
	return o
}

// as is a stored order as a caller may see it: not at all, whole, or a part of it.
func (o order) as(id uuid.UUID, tenant string, s scope) (order, error) {
	if s.tenant != "" && s.tenant != tenant {
		return order{seen: o.seen}, nil
	}
	if s.provider == "" {
		return o, nil
	}
	cut, ok, err := disclose.Order(o.document, s.provider)
	if err != nil {
		return order{}, fmt.Errorf("cut order %s: %w", id, err)
	}
	o.found, o.whole, o.document = ok, false, cut
	return o, nil
}

// compose adds to the document what was asked for, as its last members, and leaves out what was not asked for. Of same the order's
// entity tag is made: it has no ages.
func (q *queries) compose(ctx context.Context, id uuid.UUID, o *order, s scope, with include) (body, same []byte, err error) {
	body, same, err = q.composeWhole(ctx, id, o, s, with)
	if err != nil {
		return nil, nil, err
	}
	if body, err = disclose.Select(body, with.fields); err != nil {
		return nil, nil, err
	}
	same, err = disclose.Select(same, with.fields)
	return body, same, err
}

func (q *queries) composeWhole(ctx context.Context, id uuid.UUID, o *order, s scope, with include) (body, same []byte, err error) {
	members, err := disclose.Members(o.document)
	if err != nil {
		return nil, nil, fmt.Errorf("order %s: %w", id, err)
	}
	if with.timeline {
		members = append(members, disclose.Member{Name: "timeline", Value: disclose.Array(notices(o.timeline))})
		if o.more {
			next := q.cfg.Cursor.Seal(timelineList(id), s.owner(), o.timeline[len(o.timeline)-1].Position)
			members = append(members, disclose.Member{Name: "timeline_next", Value: quote(next)})
		}
	}
	if with.catalog {
		members = append(members, disclose.Member{Name: "catalog", Value: o.catalog})
	}
	if !with.auxiliary {
		body = disclose.Object(members)
		return body, body, nil
	}
	found, err := q.auxiliary.of(ctx, id)
	if err == nil && q.cfg.Outside != nil {
		found.outside = q.cfg.Outside(ctx, tenantOfOrder(members))
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, err
		}
		members = append(degraded(members), disclose.Member{Name: "auxiliary", Value: []byte("[]")})
		body = disclose.Object(members)
		return body, body, nil
	}
	i := slices.IndexFunc(members, func(m disclose.Member) bool { return m.Name == "sync_status" })
	if i >= 0 {
		if members[i].Value, err = withSyncStatus(members[i].Value, found.syncStatus(o)); err != nil {
			return nil, nil, fmt.Errorf("order %s: %w", id, err)
		}
	}
	members = append(members, disclose.Member{Name: "auxiliary", Value: disclose.Array(found.documents(false))})
	same = disclose.Object(members)
	members[len(members)-1].Value = disclose.Array(found.documents(true))
	return disclose.Object(members), same, nil
}

// degraded says that the records of auxiliary systems are missing, beside what is missing already.
func degraded(members []disclose.Member) []disclose.Member {
	i := slices.IndexFunc(members, func(m disclose.Member) bool { return m.Name == "degraded" })
	if i < 0 {
		return append(members, disclose.Member{Name: "degraded", Value: []byte(`["auxiliary"]`)})
	}
	members[i].Value = []byte(`["customer","auxiliary"]`)
	return members
}

// tenantOfOrder reads whose the order is.
func tenantOfOrder(members []disclose.Member) string {
	i := slices.IndexFunc(members, func(m disclose.Member) bool { return m.Name == "tenant" })
	var tenant string
	if i >= 0 {
		_ = json.Unmarshal(members[i].Value, &tenant) // the projection wrote it as text
	}
	return tenant
}

// Cut gives the part of an order document that a caller may see; none where it may see nothing of it.
func Cut(document []byte, who auth.Identity) ([]byte, error) {
	s, err := scopeOf(who)
	if err != nil {
		return nil, err
	}
	if s.provider != "" {
		cut, _, err := disclose.Order(document, s.provider)
		return cut, err
	}
	if s.tenant == "" {
		return document, nil
	}
	var of struct {
		Tenant string `json:"tenant"`
	}
	if err := json.Unmarshal(document, &of); err != nil {
		return nil, fmt.Errorf("order tenant: %w", err)
	}
	if of.Tenant != s.tenant {
		return nil, nil
	}
	return document, nil
}
