package broadcast

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/postgres"
	"github.com/orderstore/orderstore/internal/stream"
)

// BenchmarkRefill copies a log of 100,000 events into the empty stream of an embedded server, as after the loss of its store: one
// message at a time, in atomic batches, and with a server that flushes everything to disk before it acknowledges it. The last has the
// stream deleted while readers are connected that have read all of it.
func BenchmarkRefill(b *testing.B) {
	const size = 100_000
	log := setup(b)
	log.bulk(size, 200)
	for _, c := range []struct {
		name   string
		flush  flush
		always bool
	}{
		{name: "single"},
		{name: "atomic", flush: flush{slow: true}},
		{name: "flushed", always: true},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				server, err := stream.StartServer(stream.ServerConfig{Dir: b.TempDir(), SyncAlways: c.always, Log: discard()})
				require.NoError(b, err)
				r, err := NewRelay(RelayConfig{NATS: natstest.Connect(b, server), Pool: log.pool, Logger: discard()})
				require.NoError(b, err)
				r.flush = c.flush
				b.StartTimer()
				stop := log.run(r)
				require.NoError(b, r.Published().Wait(b.Context(), size))
				b.StopTimer()
				stop()
				server.Shutdown()
				b.StartTimer()
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	b.Run("connected", func(b *testing.B) {
		server := natstest.Run(b)
		t := &bench{t: b, pool: log.pool, tip: log.tip, digest: log.digest, dial: func() *nats.Conn { return natstest.Connect(b, server) }}
		t.js = t.jetStream()
		t.relay()
		rs := t.connect()
		rs.reach()
		for b.Loop() {
			require.NoError(b, stream.Drop(b.Context(), t.js))
			t.refilledTo(size)
		}
		b.StopTimer()
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		t.bulk(100, 200)
		rs.reach()
	})
}

// refilledTo waits until the stream itself says that it is at a position.
func (b *bench) refilledTo(position int64) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		bounds, err := stream.BoundsOf(b.t.Context(), b.js)
		return err == nil && bounds.First == 1 && bounds.Last == position
	}, 5*time.Minute, 10*time.Millisecond)
}

// bulk adds events to the log, faster than append. Each holds so many bytes that do not compress well, and about 300 more.
func (b *bench) bulk(n, size int) {
	b.t.Helper()
	from := b.tip.Position()
	now, random := time.Now(), rand.NewChaCha8([32]byte{byte(size)})
	noise := make([]byte, size/2)
	err := postgres.InTx(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		i := int64(0)
		rows := pgx.CopyFromFunc(func() ([]any, error) {
			if i == int64(n) {
				return nil, nil
			}
			i++
			_, _ = random.Read(noise) // never fails
			e := events.New(events.OrderRejected, now, &events.Closed{Reason: hex.EncodeToString(noise)})
			e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = "demo", "retail.erp", uuid.NewString(), 1
			body, err := e.Encode()
			if err != nil {
				return nil, err
			}
			b.digest = b.digest.Next(from+i, body)
			return []any{from + i, now, e.Subject(), body, append([]byte(nil), b.digest[:]...)}, nil
		})
		columns := []string{"position", "recorded_at", "subject", "event", "digest"}
		if _, err := tx.CopyFrom(b.t.Context(), pgx.Identifier{"order_events"}, columns, rows); err != nil {
			return err
		}
		_, err := tx.Exec(b.t.Context(), `SELECT advance_log_head(1::smallint, $1, $2, $3)`, from, from+int64(n), b.digest[:])
		return err
	})
	require.NoError(b.t, err)
	b.tip.Advance(from + int64(n))
}
