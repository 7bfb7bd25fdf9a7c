package broadcast

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
	"github.com/orderstore/orderstore/internal/webhook"
)

// attemptAnswer is a recorded attempt.
type attemptAnswer struct {
	ID        uuid.UUID `json:"id"`
	Position  int64     `json:"position,omitempty"`
	OrderID   string    `json:"order_id,omitempty"`
	Type      string    `json:"type"`
	Attempt   int       `json:"attempt"`
	Replay    bool      `json:"replay"`
	AttemptAt time.Time `json:"at"`
	outcomeAnswer
}

const (
	selectAttempts = `SELECT id, at, position, delivery_id, order_id, event_type, attempt, replay, outcome, status, latency_us, reason, answer
FROM delivery_attempts WHERE subscription_id = $1`
	newestFirst    = ` ORDER BY id DESC LIMIT `
	ordersPosition = `SELECT position FROM timeline WHERE order_id = $1 ORDER BY position DESC LIMIT 10000`
)

// search is a statement that is put together from what was asked for. Values are bound.
type search struct {
	sql  strings.Builder
	args []any
	key  []string // what was asked for, which a cursor is bound to
}

func (q *search) and(condition string, value any) {
	q.args = append(q.args, value)
	q.sql.WriteString(" AND ")
	q.sql.WriteString(strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(q.args))))
}

// attemptKinds are the outcomes that can be searched for.
func attemptKinds() []string {
	var all []string
	for _, k := range []webhook.Kind{
		webhook.Delivered, webhook.Gone, webhook.Throttled, webhook.Redirected, webhook.Rejected, webhook.Failed, webhook.Blocked, webhook.TimedOut,
		webhook.Refused, webhook.Untrusted, webhook.Unreachable, webhook.Unsendable,
	} {
		all = append(all, string(k))
	}
	return all
}

// knownParams refuses parameters that a list does not have, and keeps those that say what it lists.
func (q *search) knownParams(c echo.Context, names ...string) error {
	for name := range c.QueryParams() {
		if name == "limit" || name == "cursor" {
			continue
		}
		if !slices.Contains(names, name) {
			return fault.New(fault.BadParameter, "%q is not a parameter here", name)
		}
	}
	for _, name := range names {
		if v := c.QueryParam(name); v != "" {
			q.key = append(q.key, name+"="+v)
		}
	}
	return nil
}

// attemptSearch reads what is asked for of a subscription's attempts.
func (a *api) attemptSearch(c echo.Context, s *Subscription) (*search, error) {
	q := &search{args: []any{s.ID}}
	q.sql.WriteString(selectAttempts)
	if err := q.knownParams(c, "position", "order_id", "outcome", "status", "from", "to"); err != nil {
		return nil, err
	}
	for _, name := range []string{"position", "status"} {
		if raw := c.QueryParam(name); raw != "" {
			n, err := strconv.ParseInt(raw, 10, 64)
			if err != nil || n < 0 {
				return nil, fault.New(fault.BadParameter, "%s must be an integer from 0", name)
			}
			q.and(name+" = ?", n)
		}
	}
	if raw := c.QueryParam("outcome"); raw != "" {
		if !slices.Contains(attemptKinds(), raw) {
			return nil, fault.New(fault.BadParameter, "outcome must be one of %s", strings.Join(attemptKinds(), ", "))
		}
		q.and("outcome = ?", raw)
		if raw != string(webhook.Delivered) {
			q.sql.WriteString(" AND outcome <> 'delivered'") // what the index of failures has
		}
	}
	for _, bound := range []struct{ name, condition string }{{"from", "at >= ?"}, {"to", "at < ?"}} {
		if raw := c.QueryParam(bound.name); raw != "" {
			at, err := time.Parse(time.RFC3339, raw)
			if err != nil {
				return nil, fault.New(fault.BadParameter, "%s must be an RFC 3339 time such as 2026-01-31T12:00:00Z", bound.name)
			}
			q.and(bound.condition, at)
		}
	}
	return q, a.ofOrder(c, q)
}

// ofOrder limits a search of attempts to an order: by the positions of its events, since attempts have no index by order.
func (a *api) ofOrder(c echo.Context, q *search) error {
	raw := c.QueryParam("order_id")
	if raw == "" {
		return nil
	}
	id, err := uuid.Parse(raw)
	if err != nil {
		return fault.New(fault.BadParameter, "order_id must be an order's id")
	}
	rows, err := a.reader.pool.Query(c.Request().Context(), ordersPosition, id)
	if err != nil {
		return fmt.Errorf("read positions of order: %w", err)
	}
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("read positions of order: %w", err)
	}
	q.and("position = ANY (?)", positions)
	return nil
}

// listAttempts searches the attempts of a subscription, newest first.
func (a *api) listAttempts(c echo.Context, s *Subscription) error {
	limit, err := httpapi.LimitParam(c, listDefault, listMost)
	if err != nil {
		return err
	}
	q, err := a.attemptSearch(c, s)
	if err != nil {
		return err
	}
	list := "attempts " + strings.Join(q.key, "&")
	var from listCursor
	if sealed := c.QueryParam("cursor"); sealed != "" {
		if err := a.cursor.Open(list, s.ID.String(), sealed, &from); err != nil {
			return err
		}
		q.and("id < ?", from.After)
	}
	q.sql.WriteString(newestFirst + strconv.Itoa(limit+1))
	rows, err := a.log.Query(c.Request().Context(), q.sql.String(), q.args...)
	if err != nil {
		return fmt.Errorf("read attempts: %w", err)
	}
	all, err := pgx.CollectRows(rows, scanAttempt)
	if err != nil {
		return fmt.Errorf("read attempts: %w", err)
	}
	page := struct {
		Items []attemptAnswer `json:"items"`
		Next  string          `json:"next,omitempty"`
	}{Items: all}
	if len(all) > limit {
		page.Items = all[:limit]
		page.Next = a.cursor.Seal(list, s.ID.String(), listCursor{After: all[limit-1].ID})
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, page)
}

func scanAttempt(row pgx.CollectableRow) (attemptAnswer, error) {
	var v attemptAnswer
	var took int64
	err := row.Scan(&v.ID, &v.AttemptAt, &v.Position, &v.DeliveryID, &v.OrderID, &v.Type, &v.Attempt, &v.Replay, &v.Outcome, &v.Status, &took,
		&v.Reason, &v.Answer)
	v.AttemptAt, v.LatencyMS = v.AttemptAt.UTC(), milliseconds(time.Duration(took)*time.Microsecond)
	return v, err
}
