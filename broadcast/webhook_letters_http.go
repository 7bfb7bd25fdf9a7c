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

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// letterAnswer is an event that is parked, was given up, or is to be sent again.
type letterAnswer struct {
	SubscriptionID uuid.UUID    `json:"subscription_id"`
	Subscription   string       `json:"subscription"` // its name
	Party          *partyAnswer `json:"party,omitempty"`
	Position       int64        `json:"position"`
	OrderID        string       `json:"order_id,omitempty"`
	Type           string       `json:"type"`
	DeliveryID     uuid.UUID    `json:"delivery_id"`
	State          string       `json:"state"`
	Replay         bool         `json:"replay"`
	Attempts       int          `json:"attempts"`
	NextAt         *time.Time   `json:"next_at,omitempty"`
	Reason         string       `json:"reason,omitempty"`
	CreatedAt      time.Time    `json:"created_at"`
	UpdatedAt      time.Time    `json:"updated_at"`
}

// partyAnswer is whose a subscription is.
type partyAnswer struct {
	Kind     auth.Kind `json:"kind"`
	Tenant   string    `json:"tenant,omitempty"`
	Provider string    `json:"provider,omitempty"`
	System   string    `json:"system,omitempty"`
}

const selectLetters = `SELECT d.subscription_id, s.name, s.kind, s.tenant, s.provider, s.system, d.position, d.order_id, d.event_type, d.delivery_id, d.state,
	d.replay, d.attempts, d.next_at, d.reason, d.created_at, d.updated_at
FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id WHERE true`

// letterCursor is where a list of dead letters goes on.
type letterCursor struct {
	Subscription uuid.UUID `json:"subscription"`
	Position     int64     `json:"position"`
}

// listDeadLetters lists what is parked or given up of a subscription, by position.
func (a *api) listDeadLetters(c echo.Context, s *Subscription) error {
	q := &search{}
	q.sql.WriteString(selectLetters)
	if err := q.knownParams(c, "order_id", "state"); err != nil {
		return err
	}
	q.and("d.subscription_id = ?", s.ID)
	return a.letters(c, q, s.ID.String(), false)
}

// adminDeadLetters lists what is parked or given up of all parties, or of one.
func (a *api) adminDeadLetters(c echo.Context, _ auth.Identity) error {
	q := &search{}
	q.sql.WriteString(selectLetters)
	if err := q.knownParams(c, "order_id", "state", "tenant", "provider", "system", "subscription"); err != nil {
		return err
	}
	for _, name := range []string{"tenant", "provider", "system"} {
		if v := c.QueryParam(name); v != "" {
			q.and("s."+name+" = ?", v)
		}
	}
	if raw := c.QueryParam("subscription"); raw != "" {
		id, err := uuid.Parse(raw)
		if err != nil {
			return fault.New(fault.BadParameter, "subscription must be a subscription's id")
		}
		q.and("d.subscription_id = ?", id)
	}
	return a.letters(c, q, "operator", true)
}

func (a *api) letters(c echo.Context, q *search, owner string, parties bool) error {
	limit, err := httpapi.LimitParam(c, listDefault, listMost)
	if err != nil {
		return err
	}
	if err := letterFilter(c, q); err != nil {
		return err
	}
	list := "dead letters " + strings.Join(q.key, "&")
	var from letterCursor
	if sealed := c.QueryParam("cursor"); sealed != "" {
		if err := a.cursor.Open(list, owner, sealed, &from); err != nil {
			return err
		}
		q.and("d.subscription_id >= ?", from.Subscription)
		q.and("(d.subscription_id > ?", from.Subscription)
		q.sql.WriteString(" OR d.position > $" + strconv.Itoa(len(q.args)+1) + ")")
		q.args = append(q.args, from.Position)
	}
	q.sql.WriteString(" ORDER BY d.subscription_id, d.position LIMIT " + strconv.Itoa(limit+1))
	rows, err := a.log.Query(c.Request().Context(), q.sql.String(), q.args...)
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (letterAnswer, error) { return scanLetter(row, parties) })
	if err != nil {
		return fmt.Errorf("read dead letters: %w", err)
	}
	page := struct {
		Items []letterAnswer `json:"items"`
		Next  string         `json:"next,omitempty"`
	}{Items: all}
	if len(all) > limit {
		page.Items = all[:limit]
		last := &all[limit-1]
		page.Next = a.cursor.Seal(list, owner, letterCursor{Subscription: last.SubscriptionID, Position: last.Position})
	}
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.JSON(http.StatusOK, page)
}

// letterFilter reads which states and which order are meant; replays are not dead letters unless they are asked for.
func letterFilter(c echo.Context, q *search) error {
	if raw := c.QueryParam("order_id"); raw != "" {
		q.and("d.order_id = ?", raw)
	}
	states := []string{stateRetrying, stateWaiting, stateDead}
	if raw := c.QueryParam("state"); raw != "" {
		if raw != stateReplay && !slices.Contains(states, raw) {
			return fault.New(fault.BadParameter, "state must be one of %s, %s", strings.Join(states, ", "), stateReplay)
		}
		states = []string{raw}
	}
	q.and("d.state = ANY (?)", states)
	return nil
}

func scanLetter(row pgx.CollectableRow, parties bool) (letterAnswer, error) {
	var v letterAnswer
	var p partyAnswer
	err := row.Scan(&v.SubscriptionID, &v.Subscription, &p.Kind, &p.Tenant, &p.Provider, &p.System, &v.Position, &v.OrderID, &v.Type, &v.DeliveryID,
		&v.State, &v.Replay, &v.Attempts, &v.NextAt, &v.Reason, &v.CreatedAt, &v.UpdatedAt)
	if parties {
		v.Party = &p
	}
	v.CreatedAt, v.UpdatedAt = v.CreatedAt.UTC(), v.UpdatedAt.UTC()
	if v.NextAt != nil {
		v.NextAt = timeAnswer(*v.NextAt)
	}
	return v, err
}
