package command

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/orderstore/orderstore/events"
	"github.com/orderstore/orderstore/internal/fault"
	"github.com/orderstore/orderstore/internal/pgtest"
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

// rows is a tail that a copy of the log's rows stands for.
type rows struct {
	log   *stream.Log
	after int64
	to    int64
	spoil func(*stream.Record)
}

func (r *rows) Next(ctx context.Context, limit int) ([]stream.Record, error) {
	n := min(int64(limit), r.to-r.after)
	if n <= 0 {
		return nil, nil
	}
	records, err := r.log.Read(ctx, r.after, int(n))
	for i := range records {
		if r.spoil != nil {
			r.spoil(&records[i])
		}
		r.after = records[i].Position
	}
	return records, err
}

// live does some of everything that the log can tell of.
func (b *bench) live() {
	b.register("acme", "retail.erp")
	submit := func(c Command) Answer {
		b.t.Helper()
		answer, err := b.committer.Submit(b.t.Context(), c, nil)
		require.NoError(b.t, err)
		return answer
	}
	submit(&Register{Kind: kindTenant, ID: "demo", Type: events.TenantChanged, Tenant: "demo", Document: &events.Tenant{ID: "demo"}})
	submit(&Register{
		Kind: kindRoute, ID: "retail.erp", Type: events.RouteChanged, BusinessType: "retail.erp",
		Document: &events.Route{BusinessType: "retail.erp", Policy: events.PolicyAll, AcceptWithin: 60, CompleteIn: 3600, MaxAttempts: 2, Regions: []string{}},
	})
	submit(&Register{
		Kind: kindProduct, ID: catalogID("demo", "A-1"), Type: events.ProductChanged, Tenant: "demo",
		Document: &events.Product{SKU: "A-1", Tenant: "demo", VendorID: "v-1"},
	})
	adjust, err := AdjustStock("demo", &events.StockAdjustment{AdjustmentID: "count-1", Lines: []events.AdjustedStock{{SKU: "A-1", Delta: 5}}}, "")
	require.NoError(b.t, err)
	submit(adjust)
	for _, ref := range []string{"r-1", "r-2", "r-3", "r-4"} {
		_, o := b.place(ref)
		task := o.Tasks[0].ID
		switch ref {
		case "r-1":
			submit(result(b.t, "acme", task, `{"result_id":"1","outcome":"completed"}`))
		case "r-2":
			submit(&AcceptTask{onTask: onTask{Provider: "acme", TaskID: task}})
		case "r-3":
			submit(&RejectTask{onTask: onTask{Provider: "acme", TaskID: task}, Rejection: events.Rejection{ReasonCode: "busy", Blocking: true}})
		}
	}
}

// kept are all rows of the tables that follow from the log, in an order of their own. What is left out is not known from it.
func kept(t *testing.T, pool *pgxpool.Pool) map[string][]map[string]any {
	t.Helper()
	all := map[string][]map[string]any{}
	for table, columns := range map[string]string{
		"log_head": "*", "orders": "*", "tasks": "*", "results": "provider, result_id, task_id", "registry": "*", "facts": "*",
		"provider_load": "*", "deadlines": "*", "order_events": "position, subject, event, digest",
	} {
		found, err := pool.Query(t.Context(), "SELECT "+columns+" FROM "+table+" AS t ORDER BY t::text")
		require.NoError(t, err)
		all[table], err = pgx.CollectRows(found, pgx.RowToMap)
		require.NoError(t, err)
		require.NotEmpty(t, all[table], table)
	}
	return all
}

// A log that was restored to any older point gets back what it had, and all that the write side keeps beside it.
func TestRecoveredLogIsTheLogThatWasLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.live()
	end := b.tip.Position()
	want := kept(t, b.pool)
	for _, restored := range []int64{0, 1, end / 2, end - 1, end} {
		pool := pgtest.Database(t, migrations.Write, "write")
		back := func(to int64) *Recovered {
			t.Helper()
			position, _, err := End(t.Context(), pool)
			require.NoError(t, err)
			done, err := Recover(t.Context(), pool, &rows{log: stream.NewLog(b.pool), after: position, to: to}, func(int64) {})
			require.NoError(t, err)
			return done
		}
		back(restored) // what the backup had
		done := back(end)
		require.Equal(t, Recovered{From: restored, To: end, Digest: done.Digest, Orders: done.Orders}, *done)
		require.Equal(t, want, kept(t, pool), "restored to %d", restored)

		other := &bench{t: t, pool: pool}
		other.tip, other.committer = other.node()
		require.Equal(t, end, other.verified().Position)
		again, _ := other.place("r-1")
		require.Equal(t, 200, again.Status, "the order is known")
		_, err := other.committer.Submit(t.Context(), submission(t, "demo", `{"channel":"web","external_ref":"r-1","business_type":"retail.erp",
			"currency":"EUR","lines":[{"sku":"A-1","quantity":4,"unit_price":250}]}`), nil)
		require.Equal(t, fault.OrderConflict, fault.CodeOf(err), "and so is what was submitted")
		_, fresh := other.place("r-9")
		require.Equal(t, int64(2), fresh.Version)
		require.Positive(t, other.verified().Orders)
	}
}

// What does not fold stores nothing, and neither does a log that grows meanwhile.
func TestRecoveryThatCannotGoOnChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.live()
	end := b.tip.Position()
	pool := pgtest.Database(t, migrations.Write, "write")
	spoil := func(r *stream.Record) {
		if r.Position == end {
			r.Body = []byte(`{"type":"order.unheard_of"}`)
		}
	}
	_, err := Recover(t.Context(), pool, &rows{log: stream.NewLog(b.pool), to: end, spoil: spoil}, func(int64) {})
	require.ErrorIs(t, err, events.ErrUnknown)
	position, _, err := End(t.Context(), pool)
	require.NoError(t, err)
	require.Zero(t, position)

	meanwhile := func(r *stream.Record) {
		if r.Position == end {
			_, err := pool.Exec(t.Context(), `UPDATE log_head SET position = 1`)
			require.NoError(t, err)
		}
	}
	_, err = Recover(t.Context(), pool, &rows{log: stream.NewLog(b.pool), to: end, spoil: meanwhile}, func(int64) {})
	require.ErrorIs(t, err, ErrWritten)
}

// A copy that is ahead of the log keeps all commands out, until the log is where the copy is. A copy that cannot be asked does at the
// start, and never later.
func TestNothingIsWrittenWhileACopyIsAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.place("r-1")
	end := b.tip.Position()
	var ahead atomic.Int64
	var away atomic.Bool
	ahead.Store(end + 3)
	c := NewCommitter(Config{
		Pool: b.pool, Tip: &stream.Tip{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Ahead: func(_ context.Context, position int64) (int64, error) {
			if away.Load() {
				return 0, errors.New("no answer")
			}
			if ahead.Load() > position {
				return ahead.Load(), nil
			}
			return 0, nil
		},
	})
	run(t, c)
	_, err := c.Submit(t.Context(), submission(t, "demo", order("r-2")), nil)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err))
	require.Contains(t, c.Lost(), "orderstore recover")
	_, err = c.Submit(t.Context(), submission(t, "demo", order("r-1")), nil)
	require.Equal(t, fault.Unavailable, fault.CodeOf(err), "what is known may be old as well")

	for _, ref := range []string{"r-3", "r-4", "r-5"} {
		b.place(ref) // as recover would
	}
	answer, err := c.Submit(t.Context(), submission(t, "demo", order("r-6")), nil)
	require.NoError(t, err)
	require.Equal(t, 201, answer.Status)
	require.Empty(t, c.Lost())

	away.Store(true)
	_, err = c.Submit(t.Context(), submission(t, "demo", order("r-7")), nil)
	require.NoError(t, err, "the broker is not needed to write")
	b.verified()
}
