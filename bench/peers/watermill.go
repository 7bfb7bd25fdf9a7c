package main

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	"github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/orderstore/orderstore/bench/load"
	"github.com/orderstore/orderstore/bench/report"
)

const watermillSchema = `CREATE TABLE orders (external_ref text PRIMARY KEY, body jsonb NOT NULL)`

const (
	forwarderTopic = "events_to_forward"
	// forwarderBatch and forwarderPoll are in favour of Watermill: its defaults of 100 messages a query, and a second between empty ones, slow it down.
	forwarderBatch = 500
	forwarderPoll  = 10 * time.Millisecond
)

// watermillForwarder publishes in the order's transaction, and lets Watermill's forwarder carry the messages to JetStream. There is
// neither HTTP nor a view: only what an outbox does.
func watermillForwarder(ctx context.Context, b *bench) (*report.Run, error) {
	pool, err := b.pool(ctx, "watermill", watermillSchema)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	db.SetMaxIdleConns(0)
	defer func() { _ = db.Close() }()
	nc, js, stopBroker, err := b.broker(ctx, "watermill")
	if err != nil {
		return nil, err
	}
	defer stopBroker()
	out, err := wmnats.NewPublisher(wmnats.PublisherConfig{Conn: nc, Logger: watermill.NopLogger{}})
	if err != nil {
		return nil, fmt.Errorf("make publisher: %w", err)
	}
	stopForwarder, err := forward(ctx, db, out)
	if err != nil {
		return nil, err
	}
	defer stopForwarder()
	a := newArrivals()
	listening, err := listen(ctx, js, a)
	if err != nil {
		return nil, err
	}
	defer listening.Stop()
	a.begin(b.phases)
	var done stored
	got := b.transactions(ctx, &done, func(ctx context.Context, m mark, body []byte) error { return publishInTx(ctx, db, m, body) })
	name := fmt.Sprintf("Watermill's outbox forwarder, neither HTTP nor a view, %d connections", b.connections)
	return b.conclude(ctx, name, got, a, &done, "sent -> heard on NATS")
}

func forward(ctx context.Context, db *stdsql.DB, out message.Publisher) (func(), error) {
	in, err := sql.NewSubscriber(db, sql.SubscriberConfig{
		SchemaAdapter:    sql.DefaultPostgreSQLSchema{SubscribeBatchSize: forwarderBatch},
		OffsetsAdapter:   sql.DefaultPostgreSQLOffsetsAdapter{},
		PollInterval:     forwarderPoll,
		InitializeSchema: true,
	}, watermill.NopLogger{})
	if err != nil {
		return nil, fmt.Errorf("make subscriber: %w", err)
	}
	if err := in.SubscribeInitialize(forwarderTopic); err != nil {
		return nil, fmt.Errorf("make outbox: %w", err)
	}
	f, err := forwarder.NewForwarder(in, out, watermill.NopLogger{}, forwarder.Config{ForwarderTopic: forwarderTopic, CloseTimeout: 5 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("make forwarder: %w", err)
	}
	var running sync.WaitGroup
	failed := make(chan error, 1)
	running.Go(func() { failed <- f.Run(ctx) })
	select {
	case <-f.Running():
	case err := <-failed:
		return nil, fmt.Errorf("run forwarder: %w", err)
	}
	return func() {
		_ = f.Close()
		running.Wait()
	}, nil
}

// listen notes what arrives on the stream.
func listen(ctx context.Context, js jetstream.JetStream, a *arrivals) (jetstream.ConsumeContext, error) {
	consumer, err := js.OrderedConsumer(ctx, subject, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("make consumer: %w", err)
	}
	return consumer.Consume(func(msg jetstream.Msg) {
		var e struct{ Mark mark }
		if json.Unmarshal(msg.Data(), &e) == nil {
			a.note(e.Mark) // what cannot be read counts as not arrived
		}
	})
}

func publishInTx(ctx context.Context, db *stdsql.DB, m mark, body []byte) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders VALUES ($1, $2)`, fmt.Sprint(m.Number), body); err != nil {
		return fmt.Errorf("insert order: %w", err)
	}
	inner, err := sql.NewPublisher(tx, sql.PublisherConfig{SchemaAdapter: sql.DefaultPostgreSQLSchema{}}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make publisher: %w", err)
	}
	publisher := forwarder.NewPublisher(inner, forwarder.PublisherConfig{ForwarderTopic: forwarderTopic})
	payload, err := json.Marshal(envelope{m, body})
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if err := publisher.Publish(subject, message.NewMessage(watermill.NewUUID(), payload)); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return tx.Commit()
}

// transactions stores orders without HTTP: each connection does one after the other.
func (b *bench) transactions(ctx context.Context, done *stored, do func(ctx context.Context, m mark, body []byte) error) *load.Outcome {
	mix := b.mix()
	var connections atomic.Int64
	return load.Closed(ctx, b.connections, b.phases, &atomic.Int64{}, func() load.Operation {
		draw, connection := mix.Draw(), int(connections.Add(1))
		var body []byte
		return func(ctx context.Context, n int64, _ time.Time) string {
			body = draw.Append(body[:0], n)
			err := do(ctx, mark{Number: n, Connection: connection, Sent: time.Now().UnixNano()}, body)
			if err == nil {
				done.add(n)
			}
			return reason(err)
		}
	})
}
