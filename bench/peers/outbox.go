package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

const outboxSchema = `
CREATE TABLE orders (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, external_ref text NOT NULL UNIQUE, body jsonb NOT NULL);
CREATE TABLE outbox (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, payload jsonb NOT NULL, sent_at timestamptz);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_at IS NULL;
CREATE TABLE order_view (number bigint PRIMARY KEY, body jsonb NOT NULL)`

const (
	relayEvery = 50 * time.Millisecond
	relayBatch = 500
)

// outbox is the usual pattern, as it is written by hand: a transaction for each order and its outbox row, a relay that polls and waits for
// each message's acknowledgement, and a projector that writes and acknowledges one message at a time.
type outbox struct {
	pool     *pgxpool.Pool
	js       jetstream.JetStream
	arrivals *arrivals
	stored   stored
	mu       sync.Mutex
	failures map[string]int64
}

func outboxTemplate(ctx context.Context, b *bench) (*report.Run, error) {
	pool, err := b.pool(ctx, "outbox", outboxSchema)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	_, js, stopBroker, err := b.broker(ctx, "outbox")
	if err != nil {
		return nil, err
	}
	defer stopBroker()
	o := &outbox{pool: pool, js: js, arrivals: newArrivals(), failures: map[string]int64{}}
	address, stopServer, err := serve(ctx, o.submit)
	if err != nil {
		return nil, err
	}
	defer stopServer()
	working, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer func() {
		stop()
		workers.Wait()
	}()
	projecting, err := o.project(working)
	if err != nil {
		return nil, err
	}
	defer projecting.Stop()
	workers.Go(func() { o.relay(working) })
	o.arrivals.begin(b.phases)
	got, err := b.postMarked(ctx, address, &o.stored)
	if err != nil {
		return nil, err
	}
	run, err := b.conclude(ctx, fmt.Sprintf("outbox by hand, with HTTP and a view, %d connections", b.connections), got, o.arrivals, &o.stored, "sent -> in the view")
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for why, n := range o.failures {
		run.Errors[why] += n
	}
	return run, nil
}

// markHeader carries an order's number and its connection's.
const markHeader = "Bench-Mark"

// postMarked submits orders by HTTP that tell their number and connection.
func (b *bench) postMarked(ctx context.Context, address string, done *stored) (*load.Outcome, error) {
	connections := 0
	return b.post(ctx, address, b.connections, func() func(*load.Slot, int64) {
		connections++
		connection := connections
		return func(slot *load.Slot, n int64) { slot.SetHeader(markHeader, fmt.Sprint(n, connection)) }
	}, done.add)
}

func (o *outbox) submit(c echo.Context) error {
	placed, err := decode(c)
	if err != nil {
		return err
	}
	body, err := json.Marshal(placed)
	if err != nil {
		return err
	}
	m := mark{Sent: time.Now().UnixNano()}
	if _, err := fmt.Sscan(c.Request().Header.Get(markHeader), &m.Number, &m.Connection); err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, err.Error())
	}
	payload, err := json.Marshal(envelope{m, body})
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	err = pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO orders (external_ref, body) VALUES ($1, $2)`, placed.ExternalRef, body); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO outbox (payload) VALUES ($1)`, payload)
		return err
	})
	if err != nil {
		return err
	}
	return c.JSONBlob(http.StatusCreated, body)
}

// relay publishes what is unsent, oldest first, until the context ends.
func (o *outbox) relay(ctx context.Context) {
	ticker := time.NewTicker(relayEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		n, err := o.relayBatch(ctx)
		if err != nil && ctx.Err() == nil {
			o.failed("relay: " + err.Error())
		}
		if n == relayBatch {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

func (o *outbox) relayBatch(ctx context.Context) (int, error) {
	var ids []int64
	err := pgx.BeginFunc(ctx, o.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, payload FROM outbox WHERE sent_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`, relayBatch)
		if err != nil {
			return err
		}
		var id int64
		var payload []byte
		var payloads [][]byte
		_, err = pgx.ForEachRow(rows, []any{&id, &payload}, func() error {
			ids, payloads = append(ids, id), append(payloads, payload)
			payload = nil
			return nil
		})
		if err != nil {
			return err
		}
		for i, payload := range payloads {
			msg := &nats.Msg{Subject: subject, Data: payload}
			if _, err := o.js.PublishMsg(ctx, msg, jetstream.WithMsgID(strconv.FormatInt(ids[i], 10))); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		_, err = tx.Exec(ctx, `UPDATE outbox SET sent_at = now() WHERE id = ANY($1)`, ids)
		return err
	})
	return len(ids), err
}

// project writes each message into the view and acknowledges it.
func (o *outbox) project(ctx context.Context) (jetstream.ConsumeContext, error) {
	consumer, err := o.js.CreateConsumer(ctx, subject, jetstream.ConsumerConfig{Durable: "view", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	return consumer.Consume(func(msg jetstream.Msg) {
		var e envelope
		if err := json.Unmarshal(msg.Data(), &e); err != nil {
			o.failed("decode: " + err.Error())
			return
		}
		_, err := o.pool.Exec(ctx, `INSERT INTO order_view VALUES ($1, $2) ON CONFLICT (number) DO UPDATE SET body = EXCLUDED.body`, e.Mark.Number, e.Order)
		if err != nil {
			if ctx.Err() == nil {
				o.failed("project: " + err.Error())
			}
			return
		}
		o.arrivals.note(e.Mark)
		_ = msg.Ack() // what is not acknowledged comes again, and counts as a duplicate
	})
}

func (o *outbox) failed(why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failures[why]++
}
