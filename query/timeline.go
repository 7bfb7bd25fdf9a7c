package query

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/internal/auth"
	"github.com/orderstore/orderstore/internal/disclose"
	"github.com/orderstore/orderstore/internal/httpapi"
)

// maxIncluded is how many events come with an order at most; the rest has a page of its own.
const maxIncluded = 500

// timelineRow is a row of the timeline, or the lack of one, with the position at which that was so.
type timelineRow struct {
	Checkpoint int64  `db:"checkpoint"`
	Position   *int64 `db:"position"`
	Event      []byte `db:"event"`
}

const selectTimeline = `
SELECT c.position AS checkpoint, t.position, t.event
FROM checkpoints c LEFT JOIN LATERAL (
    SELECT t.position, t.event FROM timeline t
    WHERE t.order_id = $1 AND t.position > $2 AND t.position <= $3
        AND ($4 = '' OR t.tenant = $4) AND ($5 = '' OR t.provider = $5)
    ORDER BY t.position LIMIT $6
) t ON true
WHERE c.view = 'timeline' ORDER BY t.position`

// timelineQuery is which events of an order are read.
type timelineQuery struct {
	order uuid.UUID
	scope scope
	after int64
	until int64
	limit int
}

// event is an event as it is answered.
type event struct {
	Position int64
	notice   []byte
}

// timelinePage is a part of an order's events.
type timelinePage struct {
	seen   int64
	events []event
	more   bool
}

// farthest is a position that no log reaches.
const farthest = int64(1) << 62

func readTimeline(ctx context.Context, db sqlx.QueryerContext, t timelineQuery) (timelinePage, error) {
	var rows []timelineRow
	err := sqlx.SelectContext(ctx, db, &rows, selectTimeline, t.order.String(), t.after, t.until, t.scope.tenant, t.scope.provider, t.limit+1)
	if err != nil {
		return timelinePage{}, fmt.Errorf("read timeline: %w", err)
	}
	var page timelinePage
	for _, row := range rows {
		page.seen = row.Checkpoint
		if row.Position == nil {
			continue
		}
		if len(page.events) == t.limit {
			page.more = true
			break
		}
		notice, err := noticeOf(*row.Position, row.Event, t.scope.provider)
		if err != nil {
			return page, fmt.Errorf("event %d: %w", *row.Position, err)
		}
		page.events = append(page.events, event{Position: *row.Position, notice: notice})
	}
	return page, nil
}

func (q *queries) getTimeline(c echo.Context, who auth.Identity) error {
	id, err := httpapi.UUIDParam(c, "id")
	if err != nil {
		return err
	}
	if err := onlyKnown(c, "", "limit", "cursor"); err != nil {
		return err
	}
	t := timelineQuery{order: id, until: farthest}
	if t.scope, err = scopeOf(who); err != nil {
		return err
	}
	if t.limit, err = httpapi.LimitParam(c, defaultLimit, maxLimit); err != nil {
		return err
	}
	if err := q.openCursor(c, timelineList(id), t.scope.owner(), &t.after); err != nil {
		return err
	}
	w, err := wantedOf(c)
	if err != nil {
		return err
	}
	var page timelinePage
	read := func(ctx context.Context) (int64, error) {
		var err error
		page, err = readTimeline(ctx, q.db, t)
		return page.seen, err
	}
	if err := q.fresh(c, w, listTimeout, []string{viewTimeline}, read); err != nil {
		return err
	}
	first := t.after == 0
	if first && len(page.events) == 0 {
		if err := q.certain(c, w, listTimeout, []string{viewTimeline}, read); err != nil {
			return err
		}
	}
	header(c, page.seen)
	if first && len(page.events) == 0 {
		return notFound()
	}
	next := ""
	if page.more {
		next = q.cfg.Cursor.Seal(timelineList(id), t.scope.owner(), page.events[len(page.events)-1].Position)
	}
	return answerPage(c, page.seen, listBody(notices(page.events), next))
}

func timelineList(id uuid.UUID) string { return "timeline " + id.String() }

func notices(events []event) [][]byte {
	out := make([][]byte, len(events))
	for i := range events {
		out[i] = events[i].notice
	}
	return out
}

// storedEvent is what is read of an event's JSON.
type storedEvent struct {
	Type         string          `json:"type"`
	Time         time.Time       `json:"time"`
	Tenant       string          `json:"tenant"`
	BusinessType string          `json:"business_type"`
	Provider     string          `json:"provider"`
	OrderID      string          `json:"order_id"`
	OrderVersion int64           `json:"order_version"`
	TaskID       string          `json:"task_id"`
	Traceparent  string          `json:"traceparent"`
	Data         json.RawMessage `json:"data"`
}

// notice is an event as parties see it: a CloudEvent 1.0 in JSON.
type notice struct {
	SpecVersion  string          `json:"specversion"`
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Source       string          `json:"source"`
	Subject      string          `json:"subject,omitempty"`
	Time         time.Time       `json:"time"`
	Position     int64           `json:"position"`
	Tenant       string          `json:"tenant,omitempty"`
	BusinessType string          `json:"businesstype,omitempty"`
	TaskID       string          `json:"taskid,omitempty"`
	Provider     string          `json:"provider,omitempty"`
	OrderVersion int64           `json:"orderversion,omitempty"`
	Traceparent  string          `json:"traceparent,omitempty"`
	DataRef      string          `json:"dataref,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
}

// noticeOf makes an event's notice with its payload. A provider sees of it what is about itself.
func noticeOf(position int64, stored []byte, provider string) ([]byte, error) {
	var e storedEvent
	if err := json.Unmarshal(stored, &e); err != nil {
		return nil, err
	}
	if provider != "" && len(e.Data) > 0 && e.Data[0] == '{' {
		cut, err := disclose.Task(e.Data, provider)
		if err != nil {
			return nil, err
		}
		e.Data = cut
	}
	n := notice{
		SpecVersion: "1.0", ID: strconv.FormatInt(position, 10), Type: e.Type, Source: "/orderstore", Subject: e.OrderID, Time: e.Time,
		Position: position, Tenant: e.Tenant, BusinessType: e.BusinessType, TaskID: e.TaskID, Provider: e.Provider,
		OrderVersion: e.OrderVersion, Traceparent: e.Traceparent, Data: e.Data,
	}
	if e.OrderID != "" {
		n.DataRef = fmt.Sprintf("/v1/orders/%s?position=%d", e.OrderID, position)
	}
	return json.Marshal(n)
}
