package check

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/orderstore/orderstore/client"
	"github.com/orderstore/orderstore/internal/chaos"
	"github.com/orderstore/orderstore/internal/chaos/workload"
)

// http saves what each read node answers to each tenant of the run: all of its orders.
func (c *collector) http(ctx context.Context, at chaos.Endpoints) {
	world, err := workload.ReadWorld(c.dir)
	if err != nil {
		c.note(Copy{Kind: kindHTTP, Name: "http"}, err)
		return
	}
	for i, node := range at.Direct.Read {
		made := Copy{Kind: kindHTTP, Name: "http read-" + strconv.Itoa(i+1), Position: c.head}
		file := "http-read-" + strconv.Itoa(i+1)
		var err error
		made.Rows, err = save(c.dir, file, func(add func(any) error) error {
			for _, tenant := range world.Tenants {
				if err := c.listAll(ctx, node, at.Direct.Write[0], tenant, add); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			made.File = file
		}
		c.note(made, err)
	}
}

// listAll goes through all orders of a tenant, as of the log's end.
func (c *collector) listAll(ctx context.Context, node, tokens string, who chaos.Login, add func(any) error) error {
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	defer transport.CloseIdleConnections()
	asker, err := client.New(client.Config{
		BaseURL: tokens, ReadURLs: []string{node}, AllowOlder: true, ClientID: who.ClientID, ClientSecret: who.Secret,
		HTTPClient: &http.Client{Transport: transport}, RetryFor: time.Until(c.until) + 10*time.Second,
	})
	if err != nil {
		return err
	}
	filter := client.OrderFilter{Position: c.head, PageSize: 200, Fields: []string{
		"id", "tenant", "channel", "external_ref", "status", "fulfillment_status", "total", "version", "lines.line_id", "lines.quantities", "results.result_id",
	}}
	for o, err := range asker.ListOrders(ctx, filter) {
		if err != nil {
			return err
		}
		seen := listedOrder{For: who.Tenant, AsOf: o.Meta.Position, order: order{
			ID: o.ID, Tenant: o.Tenant, Ref: workload.RefOf(o.Channel, o.ExternalRef), Status: o.Status, Fulfillment: o.FulfillmentStatus,
			Total: o.Total, Version: o.Version, Results: len(o.Results), Quantities: listedQuantities(o.Lines),
		}}
		if err := add(&seen); err != nil {
			return err
		}
	}
	return nil
}

const (
	selectAuxiliary = `SELECT coalesce(min(position), 0) FROM checkpoints WHERE NOT paused`
	selectStockAt   = `SELECT coalesce(min(position), 0) FROM checkpoints WHERE system = 'stock'`
	selectStock     = `SELECT tenant, sku, on_hand, reserved, sold, received, on_order, position FROM stock ORDER BY tenant, sku`
	selectRecords   = `SELECT order_id::text, system, record_id, tenant, revision FROM records ORDER BY order_id, system, record_id`
)

// auxiliary saves the stock and the records of auxiliary systems, in one state of their database.
func (c *collector) auxiliary(ctx context.Context, at string) {
	if at == "" {
		return
	}
	stock := Copy{Kind: kindStock, Name: "auxiliary stock", Within: -1}
	records := Copy{Kind: kindRecords, Name: "auxiliary records"}
	err := c.auxiliaries(ctx, at, &stock, &records)
	c.note(stock, err)
	c.note(records, err)
}

func (c *collector) auxiliaries(ctx context.Context, at string, stock, records *Copy) error {
	conn, err := c.connect(ctx, at)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	stock.Position, stock.Within, err = c.reached(ctx, func(ctx context.Context) (at int64, err error) {
		err = conn.QueryRow(ctx, selectAuxiliary).Scan(&at)
		return at, err
	})
	if err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	return snapshot(ctx, conn, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, selectStockAt).Scan(&stock.Position); err != nil {
			return fmt.Errorf("read checkpoints: %w", err)
		}
		n, err := save(c.dir, "stock", func(add func(any) error) error {
			rows, err := tx.Query(ctx, selectStock)
			if err != nil {
				return err
			}
			var i item
			into := []any{&i.Tenant, &i.SKU, &i.OnHand, &i.Reserved, &i.Sold, &i.Received, &i.OnOrder, &i.Position}
			_, err = pgx.ForEachRow(rows, into, func() error { return add(&i) })
			return err
		})
		if err != nil {
			return fmt.Errorf("read stock: %w", err)
		}
		stock.File, stock.Rows = "stock", n
		records.Rows, err = save(c.dir, "records", func(add func(any) error) error {
			rows, err := tx.Query(ctx, selectRecords)
			if err != nil {
				return err
			}
			var r record
			_, err = pgx.ForEachRow(rows, []any{&r.Order, &r.System, &r.ID, &r.Tenant, &r.Revision}, func() error { return add(&r) })
			return err
		})
		if err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		records.File = "records"
		return nil
	})
}

func listedQuantities(lines []client.Line) string {
	var b strings.Builder
	for i := range lines {
		q := &lines[i].Quantities
		writeQuantities(&b, lines[i].LineID, q.Ordered, q.Fulfilled, q.Rejected, q.Cancelled, q.Returned)
	}
	return b.String()
}
