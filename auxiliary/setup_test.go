package auxiliary

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	"github.com/orderstore/orderstore/internal/stream"
	"github.com/orderstore/orderstore/migrations"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

// testWithin bounds everything a test waits for.
const testWithin = 60 * time.Second

// house is a log with its stream, and an auxiliary database.
type house struct {
	t    testing.TB
	aux  *pgxpool.Pool
	log  *stream.Log
	js   jetstream.JetStream
	mail string // folder

	write    *pgxpool.Pool
	position int64
	digest   [32]byte
}

func newHouse(t testing.TB) *house {
	t.Helper()
	write := pgtest.Database(t, migrations.Write, "write")
	js, err := jetstream.New(natstest.Connect(t, natstest.Run(t)))
	require.NoError(t, err)
	_, err = stream.Ensure(t.Context(), js, stream.Limits{})
	require.NoError(t, err)
	return &house{
		t: t, aux: pgtest.Database(t, migrations.Auxiliary, "auxiliary"), write: write, log: stream.NewLog(write), js: js,
		mail: filepath.Join(t.TempDir(), "mail"),
	}
}

// append writes events to the log and to the stream, as the committer and the relay do.
func (h *house) append(all ...events.Event) {
	h.t.Helper()
	var rows [][]any
	for i := range all {
		e := &all[i]
		body, err := e.Encode()
		require.NoError(h.t, err)
		h.position++
		h.digest = stream.Chain(h.digest, h.position, body)
		rows = append(rows, []any{h.position, e.Time, e.Subject(), body, h.digest[:]})
		msg := nats.NewMsg(e.Subject())
		msg.Data = body
		msg.Header.Set(stream.HeaderDigest, hex.EncodeToString(h.digest[:]))
		_, err = h.js.PublishMsgAsync(msg, jetstream.WithExpectLastSequence(uint64(h.position-1)))
		require.NoError(h.t, err)
	}
	columns := []string{"position", "recorded_at", "subject", "event", "digest"}
	// CopyFrom keeps the slices: each row needs its own digest.
	for i := range rows {
		d, _ := rows[i][4].([]byte)
		rows[i][4] = append([]byte(nil), d...)
	}
	_, err := h.write.CopyFrom(h.t.Context(), pgx.Identifier{"order_events"}, columns, pgx.CopyFromRows(rows))
	require.NoError(h.t, err)
	select {
	case <-h.js.PublishAsyncComplete():
	case <-time.After(testWithin):
		h.t.Fatal("the stream did not take the events")
	}
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// customer of an order that is placed; nil for none.
func placed(customer *events.Customer) events.Event {
	id := uuid.Must(uuid.NewV7()).String()
	e := events.New(events.OrderPlaced, noon(), &events.Placed{
		Channel: "web", ExternalRef: "ref-" + id[24:], Region: "default", Currency: "USD", Total: 2599, Shipping: 599,
		Lines:    []events.PlacedLine{{LineID: "1", SKU: "cup", Name: "Cup", Quantity: 2, UnitPrice: 1000, Total: 2000}},
		Customer: customer,
	})
	e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion, e.Status = "demo", "retail", id, 1, events.OrderRouted
	return e
}

func closing(order events.Event, typ events.Type, reason string) events.Event {
	e := events.New(typ, order.Time.Add(time.Minute), &events.Closed{Reason: reason})
	e.Tenant, e.BusinessType, e.OrderID, e.OrderVersion = order.Tenant, order.BusinessType, order.OrderID, order.OrderVersion+1
	return e
}

// broughtBack is the return of one of an order's two cups.
func broughtBack(order events.Event) events.Event {
	e := closing(order, events.OrderReturned, "")
	e.Data = &events.OrderReturn{
		ReturnID: "r", Reason: "chipped", Lines: []events.ReturnedLine{{LineID: "1", SKU: "cup", Quantity: 1, Total: 1000}},
	}
	return e
}

// someOrders makes events of orders that run beside each other, with everything that notices have to pass over.
func someOrders(seed uint64, orders int) []events.Event {
	r := rand.New(rand.NewPCG(seed, 1))
	var all, open []events.Event
	for made := 0; made < orders || len(open) > 0; {
		switch pick := r.IntN(4); {
		case pick < 2 && made < orders:
			made++
			e := placed(someCustomer(r, made))
			all, open = append(all, e), append(open, e)
		case pick == 2:
			all = append(all, events.New(events.TenantChanged, noon(), &events.Tenant{ID: "demo"}))
		case len(open) > 0:
			i := r.IntN(len(open))
			order := open[i]
			open = append(open[:i], open[i+1:]...)
			switch r.IntN(5) {
			case 0: // stays open
			case 2:
				e := closing(order, events.OrderCancelled, "")
				e.Data = &events.OrderCancellation{Reason: "changed my mind"}
				all = append(all, e)
			case 1:
				all = append(all, closing(order, events.OrderRejected, "no provider took it"))
			default:
				all = append(all, closing(order, events.OrderCompleted, ""))
				if r.IntN(3) == 0 {
					all = append(all, broughtBack(order))
				}
			}
		}
	}
	return all
}

func someCustomer(r *rand.Rand, n int) *events.Customer {
	switch r.IntN(5) {
	case 0:
		return nil
	case 1:
		return &events.Customer{Name: "Nobody"}
	case 2:
		return &events.Customer{Name: "Broken", Email: "not an address"}
	case 3:
		return &events.Customer{Name: "王小明 🎁", Email: fmt.Sprintf("kunde%d@例え.jp", n)}
	}
	return &events.Customer{Name: "Ann Onym", Email: fmt.Sprintf("ann%d@example.com", n)}
}

// quick is the pace of tests: nothing has to wait for long, and attempts are few.
func quick() Pace {
	ms := time.Millisecond
	return Pace{
		Batch: 50, Linger: ms, Retry: Backoff{First: ms, Most: 20 * ms}, StoppedWait: 20 * ms, Senders: 3, Attempts: 3,
		Resend: Backoff{First: ms, Most: 5 * ms}, TargetRetry: Backoff{First: ms, Most: 10 * ms}, Claim: testWithin, Look: 10 * ms,
	}
}

// runner makes a runner of some systems on the house.
func (h *house) runner(pace Pace, systems ...System) *Runner {
	h.t.Helper()
	return h.runnerOn(h.aux, time.Now, pace, systems...)
}

func (h *house) runnerOn(pool *pgxpool.Pool, clock func() time.Time, pace Pace, systems ...System) *Runner {
	h.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	r, err := New(Config{
		Pool: pool, Systems: systems, Logger: logger, Clock: clock, Pace: pace,
		NewFollower: func(system string, after int64, digest [32]byte) Source {
			return stream.NewFollower(stream.FollowerConfig{
				JS: h.js, Log: h.log, After: after, Digest: digest, Name: system, Logger: logger,
			})
		},
	})
	require.NoError(h.t, err)
	return r
}

// start runs a runner until the test ends or stop is called, which waits for its end.
func start(t testing.TB, r *Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(testWithin):
			t.Error("the runner did not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

func (h *house) reached(r *Runner, system string, position int64) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), testWithin)
	defer cancel()
	require.NoError(h.t, r.Reached(ctx, system, position), "status %+v", r.Status())
}

// eventually waits for a state of the database that is not announced.
func (h *house) eventually(what string, args []any, sql string) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		var yes bool
		err := h.aux.QueryRow(h.t.Context(), sql, args...).Scan(&yes)
		return err == nil && yes
	}, testWithin, 5*time.Millisecond, what)
}

func (h *house) drained() {
	h.t.Helper()
	h.eventually("the outbox is empty", nil, `SELECT NOT EXISTS (SELECT FROM outbox WHERE state = 'queued')`)
}

func (h *house) count(sql string, args ...any) int {
	h.t.Helper()
	var n int
	require.NoError(h.t, h.aux.QueryRow(h.t.Context(), sql, args...).Scan(&n))
	return n
}

// verified checks the records against the log and gives the report.
func (h *house) verified() Report {
	h.t.Helper()
	report, err := Verify(h.t.Context(), h.aux, h.log, nil)
	require.NoError(h.t, err)
	require.True(h.t, report.Clean(), strings.Join(report.Details, "\n"))
	return report
}

func (h *house) notices(to Target) *Notices {
	h.t.Helper()
	s, err := NewNotices(NoticesConfig{From: `"Shop" <orders@shop.example>`, To: to, Pool: h.aux})
	require.NoError(h.t, err)
	return s
}

func (h *house) folder() *MailDir {
	h.t.Helper()
	d, err := NewMailDir(h.mail)
	require.NoError(h.t, err)
	return d
}

// mails lists the folder's files.
func (h *house) mails() []string {
	h.t.Helper()
	entries, err := os.ReadDir(h.mail)
	require.NoError(h.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// wanted counts the mails that events ask for, independently of the code that makes them.
func wanted(all []events.Event) int {
	told := map[string]bool{}
	n := 0
	for i := range all {
		e := &all[i]
		if p, ok := e.Data.(*events.Placed); ok && p.Customer != nil && strings.Contains(p.Customer.Email, "@") {
			told[e.OrderID] = true
		}
		_, cancelled := e.Data.(*events.OrderCancellation)
		_, returned := e.Data.(*events.OrderReturn)
		if _, closed := e.Data.(*events.Closed); (closed || cancelled || returned || e.Type == events.OrderPlaced) && told[e.OrderID] {
			n++
		}
	}
	return n
}

// databaseDoor closes a pool's database to everybody, ending the connections there are, and opens it again. It works from a
// connection to another database.
func databaseDoor(t testing.TB, from, pool *pgxpool.Pool) (allow func(bool)) {
	t.Helper()
	var name string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT current_database()`).Scan(&name))
	return func(open bool) {
		_, err := from.Exec(t.Context(), fmt.Sprintf(`ALTER DATABASE %s ALLOW_CONNECTIONS %t`, name, open))
		require.NoError(t, err)
		if open {
			return
		}
		_, err = from.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, name)
		require.NoError(t, err)
	}
}

// mailOf reads the mail of an event.
func (h *house) mailOf(position int64) readMail {
	h.t.Helper()
	raw, err := os.ReadFile(filepath.Join(h.mail, fmt.Sprintf("%d.eml", position)))
	require.NoError(h.t, err)
	return parseMail(h.t, raw)
}
