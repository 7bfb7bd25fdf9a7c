package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

const (
	// batchRows is how many rows a transaction of the Postgres ceiling has: as many as the store's committer takes at most.
	batchRows = 512
	// batchWriters is how many connections insert: one writes while the other's commit is flushed.
	batchWriters = 2
)

const ceilingSchema = `CREATE TABLE log (position bigint PRIMARY KEY, event bytea NOT NULL)`

// postgresCeiling inserts rows as large as orders, many a transaction: no event can be stored faster.
func postgresCeiling(ctx context.Context, b *bench) (*report.Run, error) {
	pool, err := b.pool(ctx, "postgres", ceilingSchema)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	mix := b.mix()
	got := load.Closed(ctx, batchWriters, b.phases, &atomic.Int64{}, func() load.Operation {
		draw := mix.Draw()
		positions, rows := make([]int64, batchRows), make([][]byte, batchRows)
		return func(ctx context.Context, n int64, _ time.Time) string {
			for i := range rows {
				positions[i] = n*batchRows + int64(i)
				rows[i] = draw.Append(rows[i][:0], positions[i])
			}
			// One statement is a transaction of its own.
			_, err := pool.Exec(ctx, `INSERT INTO log SELECT * FROM unnest($1::bigint[], $2::bytea[])`, positions, rows)
			return reason(err)
		}
	})
	run := report.FromOutcome(fmt.Sprintf("ceiling: Postgres, %d rows a transaction", batchRows), got, "a transaction")
	run.Stored *= batchRows
	run.Events, run.Rate = run.Rate*batchRows, 0
	return run, nil
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// order is a submitted order as a peer's handler decodes it.
type order struct {
	Channel      string         `json:"channel"`
	ExternalRef  string         `json:"external_ref"`
	BusinessType string         `json:"business_type"`
	Currency     string         `json:"currency"`
	Lines        []line         `json:"lines"`
	Shipping     int64          `json:"shipping,omitempty"`
	Customer     *customer      `json:"customer,omitempty"`
	Attributes   map[string]any `json:"attributes,omitempty"`
	Total        int64          `json:"total,omitempty"`
}

type line struct {
	SKU       string `json:"sku"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
	Discount  int64  `json:"discount,omitempty"`
	Tax       int64  `json:"tax"`
}

type customer struct {
	Name    string            `json:"name"`
	Email   string            `json:"email"`
	Address map[string]string `json:"address,omitempty"`
}

func decode(c echo.Context) (*order, error) {
	var o order
	decoder := json.NewDecoder(c.Request().Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return nil, echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	return &o, nil
}

// echoCeiling answers each order with itself: no HTTP service made with echo is faster.
func echoCeiling(ctx context.Context, b *bench) (*report.Run, error) {
	address, stop, err := serve(ctx, func(c echo.Context) error {
		o, err := decode(c)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusCreated, o)
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	got, err := b.post(ctx, address, 4*b.connections, unmarked, func(int64) {})
	if err != nil {
		return nil, err
	}
	return report.FromOutcome(fmt.Sprintf("ceiling: echo, JSON decoded and encoded, %d connections", 4*b.connections), got, "sent -> answer"), nil
}

func unmarked() func(*load.Slot, int64) { return func(*load.Slot, int64) {} }

// serve runs a handler of POST /v1/orders on a free port.
func serve(ctx context.Context, handler echo.HandlerFunc) (string, func(), error) {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.POST("/v1/orders", handler)
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // ends with Close
	return "http://" + listener.Addr().String() + "/v1/orders", func() {
		_ = server.Close()
		serving.Wait()
	}, nil
}

// post submits orders by HTTP, in a closed loop.
func (b *bench) post(ctx context.Context, address string, connections int, prepare func() func(*load.Slot, int64), answered func(n int64)) (*load.Outcome, error) {
	sender, err := load.NewSender(address, connections, nil)
	if err != nil {
		return nil, err
	}
	mix := b.mix()
	return load.Closed(ctx, connections, b.phases, &atomic.Int64{}, func() load.Operation {
		slot, draw, mark := sender.Slot(), mix.Draw(), prepare()
		return func(_ context.Context, n int64, _ time.Time) string {
			slot.Body = draw.Append(slot.Body[:0], n)
			mark(slot, n)
			why := slot.Post()
			if why == "" {
				answered(n)
			}
			return why
		}
	}), nil
}
