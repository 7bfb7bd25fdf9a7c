package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/events"
)

const (
	selectCheckpoint = `SELECT coalesce(min(position), 0) FROM checkpoints`
	selectOrderView  = `
SELECT id::text, tenant, channel || '/' || external_ref, status, fulfillment_status, total, version, position, document FROM order_view ORDER BY id`
	selectOrders = `
SELECT id::text, tenant, channel || '/' || external_ref, status, '', 0::bigint, version, position, state FROM orders ORDER BY id`
	selectTasks    = `SELECT id::text, provider, tenant, order_id::text, status, position FROM task_inbox ORDER BY id`
	selectTimeline = `SELECT position, coalesce(tenant, ''), coalesce(provider, ''), event FROM timeline ORDER BY position`
)

// views saves what each read node has, in one state of its database.
func (c *collector) views(ctx context.Context, urls []string) {
	for i, url := range urls {
		node := "read-" + strconv.Itoa(i+1)
		view := Copy{Kind: kindView, Name: "view " + node, Within: -1}
		err := c.view(ctx, url, node, &view)
		c.note(view, err)
	}
}

func (c *collector) view(ctx context.Context, url, node string, view *Copy) error {
	conn, err := c.connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	position := func(ctx context.Context) (at int64, err error) {
		err = conn.QueryRow(ctx, selectCheckpoint).Scan(&at)
		return at, err
	}
	if view.Position, view.Within, err = c.reached(ctx, position); err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	return snapshot(ctx, conn, func(tx pgx.Tx) error {
		if view.Position, err = position(ctx); err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		file := "view-" + node
		if view.Rows, err = saveOrders(ctx, tx, c.dir, file, selectOrderView); err != nil {
			return err
		}
		view.File = file
		tasks := Copy{Kind: kindTasks, Name: "inbox " + node, File: "inbox-" + node, Position: view.Position}
		if tasks.Rows, err = saveTasks(ctx, tx, c.dir, tasks.File); err != nil {
			return err
		}
		timeline := Copy{Kind: kindTime, Name: "timeline " + node, File: "timeline-" + node, Position: view.Position}
		if timeline.Rows, err = saveTimeline(ctx, tx, c.dir, timeline.File); err != nil {
			return err
		}
		c.meta.Copies = append(c.meta.Copies, tasks, timeline)
		return nil
	})
}

// saveOrders saves rows of orders, whose last column is the document.
func saveOrders(ctx context.Context, tx pgx.Tx, dir, file, sql string) (int64, error) {
	n, err := save(dir, file, func(add func(any) error) error {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		var o order
		var document []byte
		into := []any{&o.ID, &o.Tenant, &o.Ref, &o.Status, &o.Fulfillment, &o.Total, &o.Version, &o.Position, &document}
		_, err = pgx.ForEachRow(rows, into, func() error {
			if err := o.read(document); err != nil {
				return fmt.Errorf("order %s: %w", o.ID, err)
			}
			return add(&o)
		})
		return err
	})
	if err != nil {
		return n, fmt.Errorf("read orders: %w", err)
	}
	return n, nil
}

// written is the part of an order's document that is told from the log.
type written struct {
	ID                string `json:"id"`
	Tenant            string `json:"tenant"`
	Channel           string `json:"channel"`
	ExternalRef       string `json:"external_ref"`
	Status            string `json:"status"`
	FulfillmentStatus string `json:"fulfillment_status"`
	Total             int64  `json:"total"`
	Version           int64  `json:"version"`
	Lines             []struct {
		LineID     string            `json:"line_id"`
		Quantities events.Quantities `json:"quantities"`
	} `json:"lines"`
	Customer *struct {
		Key    string `json:"key"`
		Sealed string `json:"sealed"`
	} `json:"customer"`
	Results []struct{} `json:"results"`
}

// read takes over what the document says. Where columns beside it say the same, both have to be right: the document's is what counts where the
// two differ from each other, and the difference is kept by taking the column's first.
func (o *order) read(document []byte) error {
	var w written
	if err := json.Unmarshal(document, &w); err != nil {
		return fmt.Errorf("decode document: %w", err)
	}
	if o.Fulfillment == "" && o.Total == 0 { // the write side has no columns for these
		o.Fulfillment, o.Total = w.FulfillmentStatus, w.Total
	}
	if o.Status != w.Status || o.Version != w.Version || o.Total != w.Total || o.Fulfillment != w.FulfillmentStatus {
		o.Status += " (document: " + w.Status + " version " + strconv.FormatInt(w.Version, 10) + ")"
	}
	o.Quantities, o.Customer, o.Results = w.quantities(), "", len(w.Results)
	if w.Customer != nil && w.Customer.Sealed != "" {
		o.Customer = sealedOf(w.Customer.Key, w.Customer.Sealed)
	}
	return nil
}

// sealedOf tells a sealed customer from another.
func sealedOf(key, sealed string) string { return key + " " + sumOf([]byte(sealed))[:16] }

// quantities writes down what is counted of each line: ordered, fulfilled, rejected, cancelled, returned.
func (w *written) quantities() string {
	var b strings.Builder
	for i := range w.Lines {
		q := &w.Lines[i].Quantities
		writeQuantities(&b, w.Lines[i].LineID, q.Ordered, q.Fulfilled, q.Rejected, q.Cancelled, q.Returned)
	}
	return b.String()
}

func writeQuantities(b *strings.Builder, line string, counts ...int64) {
	b.WriteString(line)
	for _, n := range counts {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(n, 10))
	}
	b.WriteByte(';')
}

func saveTasks(ctx context.Context, tx pgx.Tx, dir, file string) (int64, error) {
	n, err := save(dir, file, func(add func(any) error) error {
		rows, err := tx.Query(ctx, selectTasks)
		if err != nil {
			return err
		}
		var t task
		_, err = pgx.ForEachRow(rows, []any{&t.ID, &t.Provider, &t.Tenant, &t.Order, &t.Status, &t.Position}, func() error { return add(&t) })
		return err
	})
	if err != nil {
		return n, fmt.Errorf("read inbox: %w", err)
	}
	return n, nil
}

func saveTimeline(ctx context.Context, tx pgx.Tx, dir, file string) (int64, error) {
	n, err := save(dir, file, func(add func(any) error) error {
		rows, err := tx.Query(ctx, selectTimeline)
		if err != nil {
			return err
		}
		var l link
		var body []byte
		_, err = pgx.ForEachRow(rows, []any{&l.Position, &l.Tenant, &l.Provider, &body}, func() error {
			l.Sum = sumOf(body)
			return add(&l)
		})
		return err
	})
	if err != nil {
		return n, fmt.Errorf("read timeline: %w", err)
	}
	return n, nil
}
