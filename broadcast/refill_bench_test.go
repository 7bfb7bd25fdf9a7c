package broadcast

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/natstest"
	"github.com/orderstore/orderstore/internal/postgres"
)

// BenchmarkRefill copies a log of 200,000 events into the empty stream of an embedded server, as after the loss of its store.
func BenchmarkRefill(b *testing.B) {
	const size = 200_000
	log := setup(b)
	log.bulk(size)
	for b.Loop() {
		b.StopTimer()
		log.server = natstest.Run(b)
		b.StartTimer()
		r, stop := log.relay()
		require.NoError(b, r.Published().Wait(b.Context(), size))
		b.StopTimer()
		stop()
		log.server.Shutdown()
		b.StartTimer()
	}
	b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// bulk adds events of half a kilobyte to the log, faster than append.
func (b *bench) bulk(n int) {
	b.t.Helper()
	from := b.tip.Position()
	now, reason := time.Now(), strings.Repeat("a reason of some length ", 8)
	err := postgres.InTx(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		i := int64(0)
		rows := pgx.CopyFromFunc(func() ([]any, error) {
			if i == int64(n) {
				return nil, nil
			}
			i++
			e := events.New(events.OrderRejected, now, &events.Closed{Reason: fmt.Sprint(reason, from+i)})
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
