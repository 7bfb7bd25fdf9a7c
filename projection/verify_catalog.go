package projection

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

// register notes what an event says of the catalog, as far as the view is. facts hold headers alone.
func (v *verifier) register(f *fact) {
	view := v.views[Catalog]
	if !changesCatalog(f.event.Type) || f.Position > view.Position || v.skips[Catalog][f.Position] {
		return
	}
	e, err := events.Decode(f.Position, f.Body)
	if err != nil {
		view.differs(f.Position, "event %d cannot be read: %v", f.Position, err)
		return
	}
	key, row, ok, err := catalogRowOf(f.Position, &e)
	switch {
	case err != nil:
		view.differs(f.Position, "event %d cannot be kept: %v", f.Position, err)
	case ok:
		v.catalog[key] = row
	}
}

const selectCatalogRows = `SELECT kind, tenant, id, vendor_id, position, document FROM catalog`

// compareCatalog compares the catalog, both ways. It is small: all of it is held.
func (v *verifier) compareCatalog(ctx context.Context) error {
	view := v.views[Catalog]
	rows, err := v.tx.Query(ctx, selectCatalogRows)
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	var key catalogKey
	var have catalogRow
	var document []byte
	_, err = pgx.ForEachRow(rows, []any{&key.kind, &key.tenant, &key.id, &have.vendor, &have.position, &document}, func() error {
		have.document = string(document)
		want, ok := v.catalog[key]
		delete(v.catalog, key)
		switch {
		case !ok:
			view.differs(have.position, "%s %s of %q is there, and the log has nothing of it", key.kind, key.id, key.tenant)
		case have != want:
			view.differs(want.position, "%s %s of %q is not what event %d says", key.kind, key.id, key.tenant, want.position)
		default:
			view.Rows++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	for key, want := range v.catalog {
		view.differs(want.position, "%s %s of %q is missing", key.kind, key.id, key.tenant)
	}
	return nil
}
