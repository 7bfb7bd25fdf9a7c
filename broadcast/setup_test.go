package broadcast

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// bench is a log, a broker, and nothing between them yet.
type bench struct {
	t      testing.TB
	pool   *pgxpool.Pool
	server *stream.Server
	js     jetstream.JetStream
	tip    *stream.Tip
	digest events.Digest
	dial   func() *nats.Conn
}

func setup(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, pool: pgtest.Database(t, migrations.Write, "write"), server: natstest.Run(t), tip: &stream.Tip{}}
	b.dial = func() *nats.Conn { return natstest.Connect(t, b.server) }
	var err error
	b.js, err = jetstream.New(natstest.Connect(t, b.server))
	require.NoError(t, err)
	return b
}

// append adds events to the log in one transaction, as the committer does.
func (b *bench) append(n int) {
	b.t.Helper()
	from := b.tip.Position()
	require.NoError(b.t, b.appendTx(b.t.Context(), from, n))
	b.tip.Advance(from + int64(n))
}

// appendTx is the transaction of append.
func (b *bench) appendTx(ctx context.Context, from int64, n int) error {
	return postgres.InTx(ctx, b.pool, func(tx pgx.Tx) error {
		for i := range n {
			e := events.New(events.OrderRejected, time.Now(), &events.Closed{Reason: fmt.Sprint("event ", from+int64(i)+1)})
			e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = "demo", "retail.erp", uuid.NewString(), 1
			body, err := e.Encode()
			if err != nil {
				return err
			}
			position := from + int64(i) + 1
			b.digest = b.digest.Next(position, body)
			_, err = tx.Exec(ctx, `INSERT INTO order_events (position, recorded_at, subject, event, digest) VALUES ($1, now(), $2, $3, $4)`,
				position, e.Subject(), body, b.digest[:])
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `SELECT advance_log_head(1::smallint, $1, $2, $3)`, from, from+int64(n), b.digest[:])
		return err
	})
}

// relay starts a relay, as another process would; the returned function stops it.
func (b *bench) relay() (*Relay, func()) {
	b.t.Helper()
	return b.relayWith(stream.Limits{}, usualPacing())
}

func (b *bench) relayWith(limits stream.Limits, pace pacing) (*Relay, func()) {
	b.t.Helper()
	r := b.idleRelay(limits, pace)
	return r, b.run(r)
}

// idleRelay makes a relay and does not start it.
func (b *bench) idleRelay(limits stream.Limits, pace pacing) *Relay {
	b.t.Helper()
	r, err := NewRelay(RelayConfig{
		NATS: b.dial(), Pool: b.pool, Waker: b.tip, Limits: limits, Logger: discard(), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(b.t, err)
	r.pace = pace
	return r
}

func (b *bench) run(w interface {
	Run(ctx context.Context) error
},
) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Run(ctx) }()
	stop := func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

// copied waits until the stream is at the log's end and compares both, byte for byte.
func (b *bench) copied(r *Relay) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(b.t, r.Published().Wait(ctx, b.tip.Position()))
	// The relay has a connection of its own, which may be back before this one.
	require.Eventually(b.t, b.js.Conn().IsConnected, 10*time.Second, time.Millisecond)
	v := b.verify()
	require.Empty(b.t, v.Difference)
	require.Equal(b.t, b.tip.Position(), v.Bounds.Last)
}

func (b *bench) verify() *Verification {
	b.t.Helper()
	v, err := Verify(b.t.Context(), b.js, stream.NewLog(b.pool), b.tip.Position(), func(int64) {})
	require.NoError(b.t, err)
	return v
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
