package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// viewDocuments takes orders from order_view. It serves a reader that writes order_view itself: then the view is at the
// reader's position.
type viewDocuments struct{ pool *pgxpool.Pool }

const selectDocuments = `SELECT id::text, document FROM order_view WHERE id = ANY ($1::uuid[])`

func (d viewDocuments) load(ctx context.Context, ids []string) (map[string]*events.Order, error) {
	rows, err := d.pool.Query(ctx, selectDocuments, ids)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*events.Order, len(ids))
	var id string
	var document pgtype.DriverBytes // valid until the next row; decoding copies
	_, err = pgx.ForEachRow(rows, []any{&id, &document}, func() error {
		order, err := events.DecodeOrder(document)
		found[id] = order
		return err
	})
	return found, err
}

// errTimelineBehind says that the timeline is not as far as what is made from it.
var errTimelineBehind = errors.New("the timeline is behind")

// timelineDocuments folds orders anew from the timeline, up to the reader's position. It serves a reader that builds
// task_inbox while order_view is somewhere else. The timeline has to be at least as far, and is waited for.
type timelineDocuments struct {
	pool *pgxpool.Pool
	tip  *stream.Tip
	at   func() int64
	// views are what is built: an event that they skip is skipped here.
	views []view
}

const selectOrderEvents = `
SELECT order_id::text, position, event FROM timeline
WHERE order_id = ANY ($1::uuid[]) AND position <= $2 ORDER BY position`

const selectTimelinePosition = `SELECT coalesce(max(position), 0) FROM checkpoints WHERE view = 'timeline'`

func (d timelineDocuments) load(ctx context.Context, ids []string) (map[string]*events.Order, error) {
	at := d.at()
	if err := d.tip.Wait(ctx, at); err != nil {
		return nil, err
	}
	var found map[string]*events.Order
	err := postgres.InSnapshot(ctx, d.pool, func(tx pgx.Tx) error {
		if err := holdTables(ctx, tx, Timeline); err != nil {
			return err
		}
		var reached int64
		if err := tx.QueryRow(ctx, selectTimelinePosition).Scan(&reached); err != nil {
			return err
		}
		if reached < at {
			return fmt.Errorf("the timeline is at %d, not at %d: %w: %w", reached, at, errTimelineBehind, errMoved)
		}
		var err error
		passed, _ := foldSkips(d.views)
		found, err = foldTimeline(ctx, tx, ids, at, passed)
		return err
	})
	return found, err
}

func foldTimeline(ctx context.Context, tx pgx.Tx, ids []string, at int64, passed skips) (map[string]*events.Order, error) {
	rows, err := tx.Query(ctx, selectOrderEvents, ids, at)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*events.Order, len(ids))
	var id string
	var position int64
	var body pgtype.DriverBytes
	_, err = pgx.ForEachRow(rows, []any{&id, &position, &body}, func() error {
		if passed[position] {
			e, _, err := events.DecodeHeader(position, body)
			events.Pass(found[id], &e)
			return err
		}
		e, err := events.Decode(position, body)
		if err != nil {
			return err
		}
		order, err := events.Apply(found[id], &e)
		if err != nil {
			return fmt.Errorf("fold order %s: %w", id, err)
		}
		found[id] = order
		return nil
	})
	return found, err
}
