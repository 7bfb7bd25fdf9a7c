package auxiliary

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	gomail "github.com/wneessen/go-mail"

	"github.com/orderstore/orderstore/events"
)

func TestRecordsEqualAFoldOfTheLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := someOrders(1, 200)
	h.append(all...)
	r := h.runner(quick(), h.notices(h.folder()))
	start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()

	report := h.verified()
	assert.Equal(t, h.position, report.Position)
	assert.EqualValues(t, 200, report.Orders)
	assert.EqualValues(t, wanted(all), report.Sent)
	assert.Len(t, h.mails(), wanted(all))
	assert.Equal(t, 200, h.count(`SELECT count(*) FROM records WHERE system = 'notices' AND tenant = 'demo'`), "every order has its record")
	assert.Zero(t, h.count(`SELECT count(*) FROM outbox WHERE payload IS NOT NULL`), "what was sent keeps no personal data")

	more := someOrders(2, 20)
	h.append(more...)
	h.reached(r, NoticesName, h.position)
	h.drained()
	assert.EqualValues(t, wanted(all)+wanted(more), h.verified().Sent)
}

func TestRecordTellsWhatBecameOfEachNotice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	told, quiet := placed(&events.Customer{Name: "Carol", Email: "carol@example.com"}), placed(nil)
	h.append(told, quiet, closing(told, events.OrderCompleted, ""), closing(quiet, events.OrderRejected, "sold out"))
	r := h.runner(quick(), h.notices(h.folder()))
	start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()

	assert.JSONEq(t, `{"notices":[
		{"event":"order.placed","position":1,"to":"c***@example.com","state":"sent","at":"2026-03-01T12:00:00Z"},
		{"event":"order.completed","position":3,"to":"c***@example.com","state":"sent","at":"2026-03-01T12:01:00Z"}]}`,
		h.record(told.OrderID))
	assert.JSONEq(t, `{"notices":[
		{"event":"order.placed","position":2,"state":"quiet","reason":"no_address","at":"2026-03-01T12:00:00Z"},
		{"event":"order.rejected","position":4,"state":"quiet","reason":"no_address","at":"2026-03-01T12:01:00Z"}]}`,
		h.record(quiet.OrderID))
	assert.Equal(t, 3, h.count(`SELECT position FROM records WHERE order_id = $1`, told.OrderID))
	assert.Equal(t, 4, h.count(`SELECT position FROM records WHERE order_id = $1`, quiet.OrderID))
}

func (h *house) record(orderID string) string {
	h.t.Helper()
	var kind, recordID string
	var payload []byte
	err := h.aux.QueryRow(h.t.Context(), `SELECT kind, record_id, payload FROM records WHERE order_id = $1 AND system = 'notices'`, orderID).
		Scan(&kind, &recordID, &payload)
	require.NoError(h.t, err)
	require.Equal(h.t, "notice_log notices", kind+" "+recordID)
	return string(payload)
}

// target counts what is delivered and passes it on; before may refuse or interfere.
type target struct {
	Target
	before func(position int64) error
	after  func(position int64) error

	mu    sync.Mutex
	count map[int64]int
}

func (c *target) Deliver(ctx context.Context, position int64, msg *gomail.Msg) error {
	if c.before != nil {
		if err := c.before(position); err != nil {
			return err
		}
	}
	if err := c.Target.Deliver(ctx, position, msg); err != nil {
		return err
	}
	c.mu.Lock()
	if c.count == nil {
		c.count = map[int64]int{}
	}
	c.count[position]++
	c.mu.Unlock()
	if c.after != nil {
		return c.after(position)
	}
	return nil
}

// A runner that is asked to stop at any point, again and again, sends each mail once.
func TestStopsAndStartsInTheMiddle(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := someOrders(3, 150)
	h.append(all...)
	to := &target{Target: h.folder()}
	for round := 0; ; round++ {
		require.Less(t, round, 1000, "it gets on")
		ctx, cancel := context.WithCancel(t.Context())
		var made atomic.Int64
		to.before = func(int64) error {
			if made.Add(1) == 7 {
				cancel() // between the commit that queued the rest and their sending
			}
			return nil
		}
		r := h.runner(Pace{Batch: 20, Linger: time.Microsecond, Look: time.Millisecond, Senders: 2}, h.notices(to))
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		if round%3 == 0 { // between two batches
			_ = r.Reached(ctx, NoticesName, min(int64(round*20), h.position)) // or it was stopped while sending
			cancel()
		}
		waitFor(t, ctx, func() bool { return r.Status()[0].Position == h.position && h.queued() == 0 })
		cancel()
		require.NoError(t, <-ended)
		if h.count(`SELECT count(*) FROM checkpoints WHERE position = $1`, h.position) == 1 && h.queued() == 0 {
			break
		}
	}
	h.verified()
	assert.Len(t, h.mails(), wanted(all))
	assert.Len(t, to.count, wanted(all))
	for position, n := range to.count {
		assert.Equal(t, 1, n, "mail of event %d", position)
	}
}

func (h *house) queued() int { return h.count(`SELECT count(*) FROM outbox WHERE state = 'queued'`) }

// waitFor polls until the condition holds or ctx ends.
func waitFor(t testing.TB, ctx context.Context, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(testWithin)
	for !condition() && ctx.Err() == nil {
		require.True(t, time.Now().Before(deadline), "waited for too long")
		pause(ctx, 2*time.Millisecond)
	}
}

// What a sender had in hand when its process vanished is sent by the next one, once its claim has run out.
func TestTakesOverFromAVanishedSender(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	order := placed(&events.Customer{Email: "a@example.com"})
	h.append(order)
	var now atomic.Int64
	now.Store(noon().UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()) }

	r := h.runnerOn(h.aux, clock, quick(), &silent{h.notices(h.folder())})
	stop := start(t, r)
	h.reached(r, NoticesName, 1)
	stop()
	later := clock().Add(time.Second) // it may have been tried, and would be again
	// The process that claims this never comes back. A connection that was cut while the runner stopped may hold the row for
	// another moment.
	require.Eventually(t, func() bool {
		gone, err := claim(t.Context(), h.aux, NoticesName, "", later, clock().Add(time.Minute), 10)
		return err == nil && len(gone) == 1
	}, testWithin, time.Millisecond)

	other := h.runnerOn(h.aux, clock, quick(), h.notices(h.folder()))
	start(t, other)
	h.reached(other, NoticesName, 1)
	h.append(placed(&events.Customer{Email: "b@example.com"}))
	h.eventually("the mail that nobody claims is sent", nil, `SELECT state = 'sent' FROM outbox WHERE position = 2`)
	assert.Equal(t, []string{"2.eml"}, h.mails())
	now.Add(int64(time.Minute))
	h.drained()
	assert.Equal(t, []string{"1.eml", "2.eml"}, h.mails())
	h.verified()
}

// silent is a system without its outside effects.
type silent struct{ *Notices }

func (s *silent) Send(context.Context, Effect) error { return errors.New("not now") }

func TestTwoRunnersBesideEachOther(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	to := &target{Target: h.folder()}
	a, b := h.runner(quick(), h.notices(to)), h.runner(quick(), h.notices(to))
	start(t, a)
	start(t, b)
	all := someOrders(4, 150)
	for len(all) > 0 {
		n := min(40, len(all))
		h.append(all[:n]...)
		all = all[n:]
	}
	h.eventually("both together reach the end", []any{h.position}, `SELECT position = $1 FROM checkpoints`)
	h.drained()
	report := h.verified()
	assert.Len(t, to.count, int(report.Sent))
	for position, n := range to.count {
		assert.Equal(t, 1, n, "mail of event %d", position)
	}
}

// picky cannot handle one event until it is healed.
type picky struct {
	name   string
	at     int64
	how    func() error
	healed atomic.Bool
	seen   []int64 // what was committed; the last batch may not be yet
}

func (s *picky) Name() string { return s.name }

func (s *picky) Apply(ctx context.Context, tx pgx.Tx, batch Batch) error {
	if err := s.takeBack(ctx, tx, batch); err != nil {
		return err
	}
	for _, e := range batch.Events {
		if e.Position == s.at && !s.healed.Load() {
			return s.how()
		}
	}
	for _, e := range batch.Events {
		s.seen = append(s.seen, e.Position)
	}
	return nil
}

// takeBack forgets what was seen in a transaction that was not committed, because of another system in it.
func (s *picky) takeBack(ctx context.Context, tx pgx.Tx, batch Batch) error {
	var at int64
	if err := tx.QueryRow(ctx, `SELECT position FROM checkpoints WHERE system = $1`, s.name).Scan(&at); err != nil {
		return err
	}
	for n := len(s.seen); batch.QuietTo == 0 && n > 0 && s.seen[n-1] > at; n-- {
		s.seen = s.seen[:n-1]
	}
	return nil
}

func (s *picky) Reset(context.Context, pgx.Tx) error { return nil }

func TestAStoppedSystemStopsAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.append(someOrders(5, 30)...)
	failing := &picky{name: "failing", at: 17, how: func() error { return errors.New("it has no such thing") }}
	panicking := &picky{name: "panicking", at: 5, how: func() error { panic("oops") }}
	r := h.runner(quick(), failing, panicking, h.notices(h.folder()))
	stop := start(t, r)
	h.reached(r, NoticesName, h.position)
	h.drained()
	h.verified()
	h.eventually("it stands before the event", nil, `SELECT position = 16 AND stopped LIKE 'event 17 (%): it has no such thing' FROM checkpoints WHERE system = 'failing'`)
	h.eventually("it stands before the event", nil, `SELECT position = 4 AND stopped LIKE 'event 5 (%): panic: oops' FROM checkpoints WHERE system = 'panicking'`)
	status := r.Status()
	assert.Contains(t, status[0].Stopped, "it has no such thing")
	assert.EqualValues(t, 16, status[0].Position)
	assert.Contains(t, status[1].Stopped, "oops")
	assert.Empty(t, status[2].Stopped)

	failing.healed.Store(true)
	h.reached(r, "failing", h.position)
	assert.Empty(t, r.Status()[0].Stopped)
	stop()
	require.Len(t, failing.seen, int(h.position))
	for i, position := range failing.seen {
		require.EqualValues(t, i+1, position)
	}
	assert.Equal(t, 0, h.count(`SELECT count(*) FROM checkpoints WHERE system = 'failing' AND stopped <> ''`))
}

func TestStopsAtAnEventOfANewerVersion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	before := placed(&events.Customer{Email: "a@example.com"})
	unknown := closing(before, "order.teleported", "")
	unknown.Version = 1
	h.append(before, unknown, closing(before, events.OrderCompleted, ""))
	r := h.runner(quick(), h.notices(h.folder()))
	start(t, r)
	h.eventually("it stands before the event", nil,
		`SELECT position = 1 AND stopped LIKE 'event 2 (order.teleported): %unknown type or version%' FROM checkpoints`)
	h.drained()
	assert.Equal(t, []string{"1.eml"}, h.mails())
}

func TestDatabaseAwayAndBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	allow := databaseDoor(t, h.write, h.aux)
	all := someOrders(6, 60)
	h.append(all...)
	r := h.runner(quick(), h.notices(h.folder()))
	start(t, r)
	h.reached(r, NoticesName, 1)

	more := someOrders(7, 60)
	allow(false)
	h.append(more...)
	waitFor(t, t.Context(), func() bool { return r.Status()[0].Waiting != "" })
	assert.Empty(t, r.Status()[0].Stopped, "it waits and has not stopped")
	allow(true)
	h.reached(r, NoticesName, h.position)
	h.drained()
	h.verified()
	assert.Len(t, h.mails(), wanted(all)+wanted(more))
}

func (h *house) records() map[string]noticeLog {
	h.t.Helper()
	rows, err := h.aux.Query(h.t.Context(), `SELECT order_id::text, payload FROM records WHERE system = 'notices'`)
	require.NoError(h.t, err)
	defer rows.Close()
	all := map[string]noticeLog{}
	for rows.Next() {
		var id string
		var payload []byte
		var l noticeLog
		require.NoError(h.t, rows.Scan(&id, &payload))
		require.NoError(h.t, json.Unmarshal(payload, &l))
		all[id] = l
	}
	require.NoError(h.t, rows.Err())
	return all
}
