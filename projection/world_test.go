package projection

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// patience is how long a test waits for what has to come.
const patience = 60 * time.Second

// smallBatch is how many events the tests' projections put in one transaction, so that few events are many batches.
const smallBatch = 100

// world is a primary with its log, a stream and a read database.
type world struct {
	t       testing.TB
	write   *pgxpool.Pool
	read    *pgxpool.Pool
	js      jetstream.JetStream
	log     *stream.Log
	rng     *rand.Rand
	records []stream.Record // the log, as it was appended
	orders  []*events.Order // what its events fold into
	now     time.Time
	batch   int
}

func setup(t testing.TB) *world {
	t.Helper()
	nc := natstest.Connect(t, natstest.Run(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = stream.Ensure(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	write := pgtest.Database(t, migrations.Write, "write")
	url := pgtest.URL(t, migrations.Read, "read")
	read, err := postgres.Open(t.Context(), url, postgres.PoolConfig{Name: "test-read", AsyncCommit: true, MaxConns: 20})
	require.NoError(t, err)
	t.Cleanup(read.Close)
	return &world{
		t: t, write: write, read: read, js: js, log: stream.NewLog(write), rng: rand.New(rand.NewPCG(1, 2)),
		now: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), batch: smallBatch,
	}
}

func (w *world) config() Config {
	return Config{
		Pool: w.read,
		NewFollower: func(after int64, digest [32]byte) Follower {
			return stream.NewFollower(stream.FollowerConfig{
				JS: w.js, Log: w.log, After: after, Digest: digest, Name: "test", Logger: slog.New(slog.DiscardHandler),
			})
		},
		Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	}
}

// run starts a projection that is stopped by the returned function, at the latest when the test ends.
func (w *world) run(cfg Config) (*Projection, func()) {
	w.t.Helper()
	return w.runWith(cfg, func(*Projection) {})
}

// runWith is run for a projection that is other than New makes it.
func (w *world) runWith(cfg Config, change func(*Projection)) (*Projection, func()) {
	w.t.Helper()
	p := New(cfg)
	p.maxBatch = w.batch
	change(p)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.t.Errorf("Run returned %v", err)
		}
	}
	w.t.Cleanup(stop)
	return p, stop
}

func (w *world) wait(p *Projection, position int64, views ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for _, view := range views {
		if err := p.Tip(view).Wait(ctx, position); err != nil {
			w.t.Fatalf("view %s is at %d, not at %d: %+v", view, p.Tip(view).Position(), position, p.Status())
		}
	}
}

// until looks again and again, whenever something may have changed, until a condition holds.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for !holds() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			w.t.Fatalf("never came: %s", what)
		}
	}
}

func (w *world) head() int64 { return int64(len(w.records)) }

// add puts an event at the end of what append will write, with the position it will get.
func (w *world) add(e events.Event) {
	w.t.Helper()
	e.Position = w.head() + 1
	body, err := e.Encode()
	require.NoError(w.t, err)
	w.addRaw(e.Subject(), body)
}

func (w *world) addRaw(subject string, body []byte) {
	position := w.head() + 1
	var digest [32]byte
	if position > 1 {
		digest = w.records[position-2].Digest
	}
	w.records = append(w.records, stream.Record{
		Position: position, Digest: stream.Chain(digest, position, body), Subject: subject, Body: body,
	})
}

// commit writes what was added since a position to the log.
func (w *world) commit(after int64) {
	w.t.Helper()
	ctx := w.t.Context()
	rows := w.records[after:]
	require.NoError(w.t, postgres.InTx(ctx, w.write, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"order_events"}, []string{"position", "recorded_at", "subject", "event", "digest"},
			pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
				return []any{rows[i].Position, w.now, rows[i].Subject, rows[i].Body, rows[i].Digest[:]}, nil
			}))
		if err != nil {
			return err
		}
		last := rows[len(rows)-1]
		_, err = tx.Exec(ctx, `SELECT advance_log_head(1::smallint, $1, $2, $3)`, after, last.Position, last.Digest[:])
		return err
	}))
}

// publish copies the log after a position to the stream, as the relay does.
func (w *world) publish(after int64) {
	w.t.Helper()
	// More than the client lets wait would make it give up when the machine is busy.
	for records := range slices.Chunk(w.records[after:], 1000) {
		w.publishSome(records)
	}
	bounds, err := stream.BoundsOf(w.t.Context(), w.js)
	require.NoError(w.t, err)
	require.Equal(w.t, w.head(), bounds.Last)
}

func (w *world) publishSome(records []stream.Record) {
	w.t.Helper()
	for _, r := range records {
		msg := nats.NewMsg(r.Subject)
		msg.Data = r.Body
		msg.Header.Set(stream.HeaderDigest, hex.EncodeToString(r.Digest[:]))
		msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatInt(r.Position-1, 10))
		_, err := w.js.PublishMsgAsync(msg)
		require.NoError(w.t, err)
	}
	select {
	case <-w.js.PublishAsyncComplete():
	case <-time.After(patience):
		w.t.Fatal("the stream takes no messages")
	}
}

// grow makes n more events happen, random but always ones that can follow, and writes them to log and stream.
func (w *world) grow(n int) {
	w.t.Helper()
	after := w.head()
	w.happen(n)
	w.commit(after)
	w.publish(after)
}

// happen adds n or a few more random events that can follow.
func (w *world) happen(n int) {
	w.t.Helper()
	for end := w.head() + int64(n); w.head() < end; {
		w.now = w.now.Add(time.Duration(w.rng.IntN(2_000_000)) * time.Microsecond)
		open := w.openTask()
		switch roll := w.rng.IntN(100); {
		case roll < 2:
			w.add(events.Event{
				Cell: 1, Type: events.ProviderChanged, Version: 1, Time: w.now, Provider: w.pick("acme", "beta"),
				Data: &events.Provider{ID: "acme", BusinessTypes: []string{"hotel"}, Regions: []string{}},
			})
		case roll < 4:
			w.register()
		case roll < 45 || open == nil:
			w.placeOrder(1 + w.rng.IntN(4))
		case roll < 52:
			w.rewrite(open)
		case roll < 56:
			w.offerAgain(open)
		default:
			w.progress(open)
		}
	}
}

func (w *world) pick(choices ...string) string { return choices[w.rng.IntN(len(choices))] }

func (w *world) id() string {
	at := w.now.UnixMilli()
	var id uuid.UUID
	for i := range 6 {
		id[i] = byte(at >> (40 - 8*i))
	}
	for i := 6; i < 16; i++ {
		id[i] = byte(w.rng.Uint32())
	}
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id.String()
}

// fold books an event on the order and adds it to the log.
func (w *world) fold(o *events.Order, e events.Event) *events.Order {
	w.t.Helper()
	e.Position = w.head() + 1
	folded, err := events.Apply(o, &e)
	require.NoError(w.t, err)
	w.add(e)
	return folded
}

// placeOrder adds order.placed and one task.offered.
func (w *world) placeOrder(lines int) *events.Order {
	w.t.Helper()
	placed := &events.Placed{
		Channel: w.pick("web", "app", "pos"), ExternalRef: fmt.Sprintf("R-%06d", len(w.orders)), Region: "default",
		Currency: w.pick("EUR", "JPY"), Attributes: []byte(`{"note":"bitte läuten 请按铃","gift":true,"n":1.50}`),
		Customer: &events.Customer{Name: "名前 O'Neill", Email: "x@example.com"},
	}
	offered := &events.Offered{Attempt: 1, Routing: events.Routing{
		Policy: events.PolicyAll, Why: "only candidate", Candidates: []events.Candidate{{Provider: "acme", Chosen: true}},
	}}
	for i := range lines {
		line := events.PlacedLine{
			LineID: strconv.Itoa(i + 1), SKU: fmt.Sprintf("SKU-%04d", w.rng.IntN(500)), Name: w.pick("Stuhl", "机械键盘", "كرسي", "Tea 🍵"),
			Quantity: 1 + w.rng.Int64N(5), UnitPrice: 100 * w.rng.Int64N(1000),
		}
		line.Total = line.Quantity * line.UnitPrice
		placed.Total += line.Total
		placed.Lines = append(placed.Lines, line)
		offered.Lines = append(offered.Lines, events.TaskQuantity{LineID: line.LineID, Quantity: line.Quantity})
	}
	e := events.New(events.OrderPlaced, w.now, placed)
	e.OrderID, e.OrderVersion, e.Tenant, e.BusinessType = w.id(), 1, w.pick("demo", "other"), w.pick("hotel", "retail.erp")
	e.Status, e.FulfillmentStatus = events.OrderRouted, events.Unfulfilled
	order := w.fold(nil, e)
	offer := w.about(order, events.TaskOffered, offered)
	offer.TaskID, offer.Provider = w.id(), w.pick("acme", "beta")
	order = w.fold(order, offer)
	w.orders = append(w.orders, order)
	return order
}

func (w *world) about(o *events.Order, kind events.Type, data any) events.Event {
	e := events.New(kind, w.now, data)
	e.OrderID, e.OrderVersion, e.Tenant, e.BusinessType = o.ID, o.Version+1, o.Tenant, o.BusinessType
	return e
}

// openTask finds an order that a provider can still work on, among the last and the first.
func (w *world) openTask() *events.Order {
	if len(w.orders) == 0 {
		return nil
	}
	start := w.rng.IntN(len(w.orders))
	for i := range min(len(w.orders), 50) {
		if o := w.orders[(start+i)%len(w.orders)]; o.Tasks[0].Status.Open() {
			return o
		}
	}
	return nil
}

// progress makes the next thing happen to the order's task.
func (w *world) progress(o *events.Order) {
	w.t.Helper()
	task := &o.Tasks[0]
	actions := task.Status.Actions()
	var e events.Event
	switch actions[w.rng.IntN(len(actions))] {
	case events.ActionAccept:
		e = w.about(o, events.TaskAccepted, &events.Accepted{})
		e.Status = events.OrderProcessing
	case events.ActionReject:
		e = w.about(o, events.TaskRejected, &events.Rejection{ReasonCode: "no_stock", Message: "nichts da"})
		e.Status = events.OrderActionRequired
	default:
		e = w.about(o, events.TaskResultPosted, w.result(task))
		e.Status, e.FulfillmentStatus = events.OrderStatusCompleted, events.Fulfilled
	}
	e.TaskID, e.Provider = task.ID, task.Provider
	i := slices.Index(w.orders, o)
	w.orders[i] = w.fold(o, e)
}

func (w *world) result(task *events.Task) *events.ResultPosted {
	data := &events.ResultPosted{
		ResultID: w.id(), Outcome: events.OutcomeCompleted, TaskStatus: events.TaskStatusCompleted, OccurredAt: w.now,
		Payload: []byte(`{"pnr":"X7","list":[1,2]}`), Tracking: []events.Tracking{{Carrier: "DHL", Number: "1"}},
	}
	for _, line := range task.Lines {
		data.Lines = append(data.Lines, events.ResultLine{LineID: line.LineID, Quantity: line.Open(), Outcome: events.LineFulfilled})
	}
	return data
}

// text runs a query that gives one text.
func (w *world) text(sql string, args ...any) string {
	w.t.Helper()
	var s string
	require.NoError(w.t, w.read.QueryRow(w.t.Context(), sql, args...).Scan(&s))
	return s
}
