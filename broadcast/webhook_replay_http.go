package broadcast

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/postgres"
)

const (
	mostReplays = 100_000   // events of one request
	mostScanned = 2_000_000 // events of the party that are looked at for one request
)

// replayRequest says which events are to be sent again.
type replayRequest struct {
	order        string
	letters      bool
	from, to     int64 // positions, both included
	since, until time.Time
	dry          bool
}

// readReplay reads it. Exactly one way of naming the events is given.
func readReplay(body []byte) (*replayRequest, error) {
	q := &replayRequest{to: math.MaxInt64}
	given := map[string]bool{}
	r := httpapi.NewReader(body)
	r.Object(func(name string) {
		given[name] = true
		switch name {
		case "position":
			r.Int(&q.from, 1, math.MaxInt64)
			q.to = q.from
		case "order_id":
			r.String(&q.order, 1, maxName)
		case "dead_letters":
			r.Bool(&q.letters)
		case "from_position":
			r.Int(&q.from, 0, math.MaxInt64)
		case "to_position":
			r.Int(&q.to, 0, math.MaxInt64)
		case "from_time":
			r.Time(&q.since)
		case "to_time":
			r.Time(&q.until)
		case "dry_run":
			r.Bool(&q.dry)
		default:
			r.Unknown()
		}
	})
	ways := 0
	for _, way := range [][]string{{"position"}, {"order_id"}, {"dead_letters"}, {"from_position", "to_position"}, {"from_time", "to_time"}} {
		for _, name := range way {
			if given[name] {
				ways++
				break
			}
		}
	}
	switch {
	case ways != 1:
		r.InvalidAt("", "one of position, order_id, dead_letters, from_position and to_position, from_time and to_time is needed")
	case given["dead_letters"] && !q.letters:
		r.InvalidAt("/dead_letters", "must be true")
	case given["from_position"] != given["to_position"]:
		r.InvalidAt("", "from_position and to_position are needed together")
	case given["from_time"] != given["to_time"]:
		r.InvalidAt("", "from_time and to_time are needed together")
	}
	return q, r.Finish()
}

// replaySubscription queues events to be sent again, or only counts them.
func (a *api) replaySubscription(c echo.Context, s *Subscription) error {
	body, err := httpapi.ReadJSON(c, httpapi.DefaultMaxBody)
	if err != nil {
		return err
	}
	q, err := readReplay(body)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	matched, err := a.replay(ctx, s, q)
	if err != nil {
		return err
	}
	if !q.dry && matched > 0 {
		a.changed()
	}
	return c.JSON(http.StatusOK, struct {
		Matched int64 `json:"matched"`
		DryRun  bool  `json:"dry_run"`
	}{matched, q.dry})
}

const (
	countLetters  = `SELECT count(*) FROM deliveries WHERE subscription_id = $1 AND state = 'dead'`
	replayLetters = `UPDATE deliveries SET state = 'replay', replay = true, attempts = 0, next_at = NULL, updated_at = $2
WHERE subscription_id = $1 AND state = 'dead'`
	// What is parked keeps its place in its order, and is tried now.
	queueReplays = `
INSERT INTO deliveries AS d (subscription_id, position, order_id, event_type, delivery_id, state, replay, created_at, updated_at)
SELECT $1, u.position, u.order_id, u.event_type, u.delivery_id, 'replay', true, $6, $6
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::uuid[]) AS u (position, order_id, event_type, delivery_id)
ON CONFLICT (subscription_id, position) DO UPDATE SET
	state = CASE d.state WHEN 'dead' THEN 'replay' ELSE d.state END,
	attempts = CASE d.state WHEN 'dead' THEN 0 ELSE d.attempts END,
	replay = true, next_at = NULL, updated_at = excluded.updated_at`
	askDispatcher = `UPDATE subscription_health SET requests = requests + 1 WHERE subscription_id = $1`
)

func (a *api) replay(ctx context.Context, s *Subscription, q *replayRequest) (int64, error) {
	if q.letters {
		return a.replayLetters(ctx, s, q.dry)
	}
	if !q.since.IsZero() {
		before, err := positionBefore(ctx, a.log, q.since)
		if err != nil {
			return 0, err
		}
		last, err := positionBefore(ctx, a.log, q.until)
		if err != nil {
			return 0, err
		}
		q.from, q.to = before+1, last
	}
	found, err := a.replayable(ctx, s, q)
	if err != nil || q.dry || len(found) == 0 {
		return int64(len(found)), err
	}
	var positions []int64
	var orders, kinds []string
	var deliveries []uuid.UUID
	for _, n := range found {
		positions, orders, kinds = append(positions, n.position), append(orders, n.order), append(kinds, n.kind)
		deliveries = append(deliveries, deliveryID(s.ID, n.position))
	}
	return int64(len(found)), a.queue(ctx, s, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, queueReplays, s.ID, positions, orders, kinds, deliveries, a.now())
		return err
	})
}

func (a *api) replayLetters(ctx context.Context, s *Subscription, dry bool) (matched int64, err error) {
	if dry {
		err = a.log.QueryRow(ctx, countLetters, s.ID).Scan(&matched)
		return matched, err
	}
	err = a.queue(ctx, s, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, replayLetters, s.ID, a.now())
		matched = tag.RowsAffected()
		return err
	})
	return matched, err
}

// queue changes deliveries and tells whoever delivers the subscription.
func (a *api) queue(ctx context.Context, s *Subscription, change func(pgx.Tx) error) error {
	return postgres.InTx(ctx, a.log, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockSubscription, s.ID); err != nil {
			return fmt.Errorf("lock subscription: %w", err)
		}
		if err := change(tx); err != nil {
			return fmt.Errorf("queue replays: %w", err)
		}
		if _, err := tx.Exec(ctx, askDispatcher, s.ID); err != nil {
			return fmt.Errorf("ask for replays: %w", err)
		}
		return nil
	})
}

// replayable is what is kept of an event that was found.
type replayableEvent struct {
	position    int64
	order, kind string
}

// replayable finds the events that a request means: those that the subscription wants and has come to already. What comes later will be
// delivered by its turn.
func (a *api) replayable(ctx context.Context, s *Subscription, q *replayRequest) ([]replayableEvent, error) {
	var found []replayableEvent
	whose := partyOf(identityOf(s.Owner))
	last := min(q.to, s.Position)
	add := func(batch []*told) error {
		for _, one := range batch {
			n := &one.notice
			if n.Position > last || !whose.hears(n) || !s.Filter.Matches(n.Type, n.BusinessType) {
				continue
			}
			found = append(found, replayableEvent{n.Position, n.Subject, string(n.Type)})
		}
		if len(found) > mostReplays {
			return fault.New(fault.Invalid, "more than %d events match: ask for fewer at a time", mostReplays)
		}
		return nil
	}
	if q.order != "" {
		batch, err := a.ordersEvents(ctx, a.reader.pool, q.order)
		if err != nil {
			return nil, err
		}
		err = add(batch)
		return found, err
	}
	after := max(q.from-1, 0)
	for scanned := 0; after < last; {
		batch, reached, err := a.reader.scan(ctx, whose, after)
		if err != nil {
			return nil, err
		}
		if err := add(batch); err != nil {
			return nil, err
		}
		if len(batch) < scanBatch {
			break
		}
		after = reached
		if scanned += len(batch); scanned > mostScanned {
			return nil, fault.New(fault.Invalid, "more than %d events would have to be looked at: ask for a shorter range", mostScanned)
		}
	}
	return found, nil
}

const selectOrdersEvents = `SELECT position, event FROM timeline WHERE order_id = $1 ORDER BY position`

func (a *api) ordersEvents(ctx context.Context, pool *pgxpool.Pool, order string) ([]*told, error) {
	id, err := uuid.Parse(order)
	if err != nil {
		return nil, fault.InvalidFields([]fault.Field{{Pointer: "/order_id", Detail: "must be an order's id"}})
	}
	return tellRows(ctx, pool, selectOrdersEvents, id)
}
